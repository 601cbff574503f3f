//! Reads acknowledged entries back, in order, for shipping.
//!
//! On failure: [`ReadError`]; the position stays where it was, and what was read before the damage is given first.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use super::{Link, Shared, segment_path};
use crate::{
    record::{Entry, EntryHash},
    segment,
};

/// Most bytes read at a time.
const CHUNK: u64 = 1 << 20;

/// An entry with the bytes it was hashed as.
#[derive(Debug, Clone)]
pub(crate) struct Spooled {
    pub(crate) entry: Entry,
    pub(crate) bytes: Vec<u8>,
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

    /// The next entries, `most` at most; none when all were taken.
    pub(crate) fn read(&mut self, most: usize) -> Result<Vec<Spooled>, ReadError> {
        let mut taken = Vec::new();
        let durable = *self.shared.durable.borrow();
        while taken.len() < most && self.link.sequence < durable.link.sequence {
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
            match self.take(number, offset, end, most, &mut taken) {
                Ok(place) => self.place = Some(place),
                Err(e) if taken.is_empty() => return Err(e),
                Err(_) => break,
            }
        }
        Ok(taken)
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
        most: usize,
        taken: &mut Vec<Spooled>,
    ) -> Result<(u64, u64), ReadError> {
        let io = |source| ReadError::Io {
            segment: number,
            source,
        };
        let damaged = |offset| ReadError::Damaged {
            segment: number,
            offset,
        };
        let file = File::open(segment_path(&self.shared.dir, number)).map_err(io)?;
        let mut part = vec![0; usize::try_from((end - offset).min(CHUNK)).unwrap_or(0)];
        file.read_exact_at(&mut part, offset).map_err(io)?;
        let mut at = 0;
        while at < part.len() && taken.len() < most {
            let here = offset + at as u64;
            let Some(frame) = segment::frame_at(&part, offset, at, number) else {
                // A frame that the chunk cuts is read whole the next time; one at its start is damaged.
                if at > 0 && here < end && offset + (part.len() as u64) < end {
                    break;
                }
                return Err(damaged(here));
            };
            at = frame.end;
            let entry = Entry::parse(frame.bytes).map_err(|_| damaged(here))?;
            if entry.sequence <= self.link.sequence {
                continue;
            }
            if entry.sequence != self.link.sequence + 1 {
                return Err(damaged(here));
            }
            self.link = Link {
                sequence: entry.sequence,
                hash: EntryHash::of(frame.bytes),
            };
            self.place = Some((number, offset + at as u64));
            taken.push(Spooled {
                entry,
                bytes: frame.bytes.to_vec(),
            });
        }
        Ok((number, offset + at as u64))
    }
}
