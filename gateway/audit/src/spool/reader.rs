//! Reads acknowledged entries back, in order, for shipping.
//!
//! On failure: [`ReadError`]; the position stays where it was, and what was read before the damage is given first.

use std::{fmt, fs::File, io, os::unix::fs::FileExt, sync::Arc};

use super::{Link, Shared, segment_path};
use crate::{
    record::{Entry, EntryHash},
    segment::{self, MAX_WHOLE_BYTES},
};

/// Bytes read at a time; more only where one entry with its attachments is larger.
const CHUNK: u64 = 1 << 20;

/// An entry with the bytes it was hashed as.
#[derive(Clone)]
pub(crate) struct Spooled {
    pub(crate) entry: Entry,
    pub(crate) bytes: Vec<u8>,
    /// What was recorded with it and is no part of it, in the same order.
    pub(crate) attachments: Vec<Vec<u8>>,
}

impl fmt::Debug for Spooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spooled")
            .field("entry", &self.entry)
            .field("attachments", &self.attachments.len())
            .finish_non_exhaustive()
    }
}

/// What was acknowledged does not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("segment {segment} does not read: {source}")]
    Io { segment: u64, source: io::Error },
    #[error("segment {segment} is damaged at byte {offset}")]
    Damaged { segment: u64, offset: u64 },
    #[error("the spool no longer holds record {0}")]
    Gone(u64),
}

/// A place in the spool, behind the last entry that was taken.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    link: Link,
    place: Option<(u64, u64)>,
}

impl Reader {
    /// Goes on behind `link`.
    pub(crate) fn new(shared: Arc<Shared>, link: Link) -> Self {
        Self {
            shared,
            link,
            place: None,
        }
    }

    /// The next entries, `most.entries` at most and no more once they have `most.bytes`; none when all were taken.
    pub(crate) fn read(&mut self, most: Most) -> Result<Vec<Spooled>, ReadError> {
        let mut taken = Taken {
            entries: Vec::new(),
            bytes: 0,
            most,
        };
        let durable = *self.shared.durable.borrow();
        while !taken.is_full() && self.link.sequence < durable.link.sequence {
            let (number, offset) = match self.place {
                Some(place) => place,
                None => self.find()?,
            };
            let Some((end, next)) = self.extent(number, durable.segment, durable.offset) else {
                // The writer gave that segment up before anything in it counted.
                self.place = None;
                continue;
            };
            if offset >= end {
                let Some(next) = next else { break };
                self.place = Some(next);
                continue;
            }
            match self.take(number, offset, end, &mut taken) {
                Ok(place) => self.place = Some(place),
                Err(e) if taken.entries.is_empty() => return Err(e),
                Err(_) => break,
            }
        }
        Ok(taken.entries)
    }

    /// Where the segment that holds the next entry starts.
    fn find(&self) -> Result<(u64, u64), ReadError> {
        let wanted = self.link.sequence + 1;
        let segments = self.shared.segments();
        let found = segments
            .iter()
            .rev()
            .find(|(_, info)| info.first_sequence <= wanted);
        found
            .map(|(number, info)| (*number, info.body))
            .ok_or(ReadError::Gone(wanted))
    }

    /// Where the acknowledged part of a segment ends, and where the next one starts.
    fn extent(&self, number: u64, active: u64, active_end: u64) -> Option<(u64, Option<(u64, u64)>)> {
        let segments = self.shared.segments();
        let info = segments.get(&number)?;
        let end = if number == active {
            active_end
        } else {
            info.end.unwrap_or(info.body)
        };
        let next = segments
            .range(number + 1..)
            .next()
            .filter(|(next, _)| **next <= active);
        Some((end, next.map(|(number, info)| (*number, info.body))))
    }

    fn take(
        &mut self,
        number: u64,
        offset: u64,
        end: u64,
        taken: &mut Taken,
    ) -> Result<(u64, u64), ReadError> {
        let io = |source| ReadError::Io {
            segment: number,
            source,
        };
        let damaged = |offset| ReadError::Damaged {
            segment: number,
            offset,
        };
        // Whoever removes a file does not take what it holds.
        let held = self
            .shared
            .segments()
            .get(&number)
            .and_then(|info| info.handle.clone());
        let file = match held {
            Some(handle) => handle,
            None => Arc::new(File::open(segment_path(&self.shared.dir, number)).map_err(io)?),
        };
        let mut chunk = CHUNK;
        let part = loop {
            let mut part = vec![0; usize::try_from((end - offset).min(chunk)).unwrap_or(0)];
            file.read_exact_at(&mut part, offset).map_err(io)?;
            // Only one large entry does not fit at all.
            if segment::whole_at(&part, offset, 0, number).is_some() {
                break part;
            }
            if part.len() as u64 == end - offset || chunk >= MAX_WHOLE_BYTES {
                return Err(damaged(offset));
            }
            chunk *= 4;
        };
        let mut at = 0;
        while at < part.len() && !taken.is_full() {
            let here = offset + at as u64;
            let Some(whole) = segment::whole_at(&part, offset, at, number) else {
                // One that the chunk cuts is read whole the next time.
                if offset + (part.len() as u64) < end {
                    break;
                }
                return Err(damaged(here));
            };
            at = whole.end;
            let entry = Entry::parse(whole.record).map_err(|_| damaged(here))?;
            if entry.sequence <= self.link.sequence {
                continue;
            }
            // Whether the first continues what the store has is the shipper's question.
            let continues = taken.entries.is_empty() || entry.previous_hash == self.link.hash;
            if entry.sequence != self.link.sequence + 1 || !continues {
                return Err(damaged(here));
            }
            self.link = Link {
                sequence: entry.sequence,
                hash: EntryHash::of(whole.record),
            };
            self.place = Some((number, offset + at as u64));
            let attachments: Vec<_> = whole.attachments.iter().map(|a| a.to_vec()).collect();
            taken.bytes += whole.record.len() + attachments.iter().map(Vec::len).sum::<usize>();
            taken.entries.push(Spooled {
                entry,
                bytes: whole.record.to_vec(),
                attachments,
            });
        }
        Ok((number, offset + at as u64))
    }
}

/// How much to read at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) entries: usize,
    /// The last entry may go past it.
    pub(crate) bytes: usize,
}

struct Taken {
    entries: Vec<Spooled>,
    bytes: usize,
    most: Most,
}

impl Taken {
    fn is_full(&self) -> bool {
        self.entries.len() >= self.most.entries || self.bytes >= self.most.bytes
    }
}
