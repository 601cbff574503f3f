//! The form of a segment file, and reading one back.
//!
//! ```text
//! "CORDSPL1"                                   8 bytes
//! frame: header                                writer, number, first sequence, previous hash, open exchanges
//! frame: entry ...                             canonical bytes of one entry each
//! zeros                                        to the size reserved ahead
//!
//! frame = length word | crc32c | bytes         two little-endian u32, then the bytes
//! ```
//! The top bit of the length word marks the first frame of one write. The writer starts a write only after the
//! one before it is synced, so behind a torn write there is never another marked frame: if there is one, what
//! looks torn is damage to records that were acknowledged, and reading stops with an error.
//!
//! The checksum also covers the segment's number and the frame's offset. A frame is therefore valid in
//! its own place only, and segments can be recycled without wiping them: old frames no longer read.

use cordon_domain::ExchangeId;
use serde::{Deserialize, Serialize};

use crate::record::{EntryHash, WriterId, canonical};

const MAGIC: &[u8; 8] = b"CORDSPL1";
const FRAME_HEAD: usize = 8;
/// No chain gets there; it keeps arithmetic on what a file claims from overflowing.
pub(crate) const MAX_SEQUENCE: u64 = 1 << 53;
const FIRST_OF_WRITE: u32 = 1 << 31;

/// What a segment starts from; enough to go on from it without the segments before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentHeader {
    pub(crate) v: u64,
    pub(crate) writer: WriterId,
    /// Number of the segment, as in its file name.
    pub(crate) segment: u64,
    /// Sequence of the first entry to be written here. Entries of earlier segments with this or a later
    /// sequence were never acknowledged and do not count.
    pub(crate) first_sequence: u64,
    /// Hash of the entry before that.
    pub(crate) previous_hash: EntryHash,
    /// When it was made, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Exchanges that had been opened and not closed, so that recovery needs no older segment.
    pub(crate) open: Vec<ExchangeId>,
}

/// The bytes that a new segment starts with.
pub(crate) fn head(header: &SegmentHeader) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    push_frame(&mut out, 0, header.segment, true, &canonical(header));
    out
}

/// The space that a record of this length takes.
pub(crate) fn frame_bytes(record: usize) -> u64 {
    (FRAME_HEAD + record) as u64
}

/// The frames of one write that starts at `offset` of segment `number`.
pub(crate) fn frames(number: u64, offset: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(records.iter().map(|r| FRAME_HEAD + r.len()).sum());
    for (index, record) in records.iter().enumerate() {
        push_frame(&mut out, offset, number, index == 0, record);
    }
    out
}

/// Appends one frame to `out`, whose first byte lies at `base` of the segment.
fn push_frame(out: &mut Vec<u8>, base: u64, number: u64, first: bool, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).ok().filter(|l| *l < FIRST_OF_WRITE);
    let length = length.expect("entries and headers are far smaller than 2 GiB");
    let word = if first { length | FIRST_OF_WRITE } else { length };
    let crc = checksum(number, base + out.len() as u64, word, bytes);
    out.extend_from_slice(&word.to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn checksum(number: u64, offset: u64, word: u32, bytes: &[u8]) -> u32 {
    let mut place = [0; 20];
    place[..8].copy_from_slice(&number.to_le_bytes());
    place[8..16].copy_from_slice(&offset.to_le_bytes());
    place[16..].copy_from_slice(&word.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), bytes)
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) bytes: &'a [u8],
    /// Offset just behind it.
    pub(crate) end: usize,
    first: bool,
}

/// The frame at `offset` of the part of a segment that starts at `base`; none if what lies there is not a whole one.
pub(crate) fn frame_at(part: &[u8], base: u64, offset: usize, number: u64) -> Option<Frame<'_>> {
    let head = part.get(offset..offset.checked_add(FRAME_HEAD)?)?;
    let word = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let length = (word & !FIRST_OF_WRITE) as usize;
    if length == 0 {
        return None;
    }
    let start = offset + FRAME_HEAD;
    let bytes = part.get(start..start.checked_add(length)?)?;
    let valid = checksum(number, base + offset as u64, word, bytes) == crc;
    valid.then_some(Frame {
        bytes,
        end: start + length,
        first: word & FIRST_OF_WRITE != 0,
    })
}

/// A segment as read back.
#[derive(Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) header: SegmentHeader,
    /// Offset of the first entry's frame.
    pub(crate) body: usize,
    file: &'a [u8],
}

/// Why a segment cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It was never finished: no header, and no entry behind it.
    Unfinished,
    /// Bytes that had been synced are not what was written.
    Damaged {
        /// Where reading stopped.
        offset: u64,
    },
}

impl<'a> Segment<'a> {
    /// Reads the header of segment `number`.
    pub(crate) fn parse(file: &'a [u8], number: u64) -> Result<Self, Unreadable> {
        let header = file
            .starts_with(MAGIC)
            .then(|| frame_at(file, 0, MAGIC.len(), number))
            .flatten()
            .and_then(|frame| {
                Some((
                    serde_json::from_slice::<SegmentHeader>(frame.bytes).ok()?,
                    frame.end,
                ))
            })
            .filter(|(header, _)| {
                header.segment == number && (1..=MAX_SEQUENCE).contains(&header.first_sequence)
            });
        match header {
            Some((header, body)) => Ok(Self { header, body, file }),
            // The header is synced before the first entry is written, so an entry proves that it was there.
            None if marked_frame_after(file, 0, number) => Err(Unreadable::Damaged { offset: 0 }),
            None => Err(Unreadable::Unfinished),
        }
    }

    /// The entries' bytes with the offset behind each, up to the first that is not whole.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame<'a>> + use<'a> {
        let (file, number) = (self.file, self.header.segment);
        let mut offset = self.body;
        std::iter::from_fn(move || {
            let frame = frame_at(file, 0, offset, number)?;
            offset = frame.end;
            Some(frame)
        })
    }

    /// Checks what lies behind the last whole frame, which ends at `end`: whether a write was torn
    /// there. Only for the newest segment; behind the end of an older one may lie a write that failed.
    pub(crate) fn tail(&self, end: usize) -> Result<Tail, Unreadable> {
        if self.file[end..].iter().all(|b| *b == 0) {
            return Ok(Tail::Clean);
        }
        if marked_frame_after(self.file, end, self.header.segment) {
            return Err(Unreadable::Damaged { offset: end as u64 });
        }
        Ok(Tail::Torn {
            bytes: (self.file.len() - end) as u64,
        })
    }
}

/// What lies behind the last whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// A write that never completed, and so was never acknowledged.
    Torn {
        /// From the end of the last whole frame to the end of the file.
        bytes: u64,
    },
}

fn marked_frame_after(file: &[u8], from: usize, number: u64) -> bool {
    (from + 1..file.len().saturating_sub(FRAME_HEAD)).any(|offset| {
        // The mark is the top bit of the fourth byte; looking at it first skips nearly every offset.
        file[offset + 3] & 0x80 != 0 && frame_at(file, 0, offset, number).is_some_and(|frame| frame.first)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(number: u64) -> SegmentHeader {
        SegmentHeader {
            v: 1,
            writer: WriterId::new(),
            segment: number,
            first_sequence: 1,
            previous_hash: EntryHash::GENESIS,
            at: 5,
            open: vec![ExchangeId::new()],
        }
    }

    /// A segment of several writes, and the offset behind each record.
    fn file(number: u64, writes: &[Vec<Vec<u8>>], zeros: usize) -> (Vec<u8>, Vec<usize>, Vec<usize>) {
        let mut out = head(&header(number));
        let (mut record_ends, mut write_ends) = (Vec::new(), vec![out.len()]);
        for records in writes {
            let mut offset = out.len();
            let bytes = frames(number, offset as u64, records);
            for record in records {
                offset += FRAME_HEAD + record.len();
                record_ends.push(offset);
            }
            out.extend_from_slice(&bytes);
            write_ends.push(out.len());
        }
        out.resize(out.len() + zeros, 0);
        (out, record_ends, write_ends)
    }

    fn writes() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        let record = prop::collection::vec(any::<u8>(), 1..60);
        prop::collection::vec(prop::collection::vec(record, 1..4), 1..5)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(writes in writes(), zeros in 0usize..40, number in any::<u64>()) {
            let (bytes, ends, _) = file(number, &writes, zeros);
            let segment = Segment::parse(&bytes, number).unwrap();
            let read: Vec<_> = segment.frames().collect();
            let flat: Vec<_> = writes.concat();
            prop_assert_eq!(read.iter().map(|f| f.bytes.to_vec()).collect::<Vec<_>>(), flat);
            prop_assert_eq!(read.iter().map(|f| f.end).collect::<Vec<_>>(), ends.clone());
            prop_assert_eq!(segment.tail(*ends.last().unwrap()).unwrap(), Tail::Clean);
            prop_assert!(Segment::parse(&bytes, number.wrapping_add(1)).is_err());
        }

        /// Any cut, and any loss of parts of the last write, is a torn tail; all earlier writes stay.
        #[test]
        fn a_torn_last_write_loses_that_write_only(
            writes in writes(), cut in any::<prop::sample::Index>(), holes in prop::collection::vec(any::<bool>(), 64)
        ) {
            let (mut bytes, _, write_ends) = file(9, &writes, 16);
            let last = write_ends[write_ends.len() - 2]..*write_ends.last().unwrap();
            let at = last.start + cut.index(last.len());
            for (index, byte) in bytes[last.clone()].iter_mut().enumerate() {
                if last.start + index >= at && holes[index % 64] { *byte = 0; }
            }
            let segment = Segment::parse(&bytes, 9).unwrap();
            let end = segment.frames().last().map_or(segment.body, |f| f.end);
            prop_assert!(end >= last.start);
            prop_assert!(segment.tail(end).is_ok());
        }

        /// Damage to any byte of a write that another follows is reported, never skipped.
        #[test]
        fn damage_before_the_last_write_is_reported(
            writes in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 1..4), 2..5),
            at in any::<prop::sample::Index>(), flip in 1u8..=255
        ) {
            let (mut bytes, _, write_ends) = file(3, &writes, 8);
            let place = at.index(write_ends[write_ends.len() - 2]);
            bytes[place] ^= flip;
            let result = Segment::parse(&bytes, 3).and_then(|segment| {
                let end = segment.frames().last().map_or(segment.body, |f| f.end);
                segment.tail(end)
            });
            prop_assert!(matches!(result, Err(Unreadable::Damaged { .. })), "{:?}", result);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), number in any::<u64>()) {
            let mut file = head(&header(number));
            file.extend_from_slice(&bytes);
            let _ = Segment::parse(&bytes, number);
            let segment = Segment::parse(&file, number).unwrap();
            let end = segment.frames().last().map_or(segment.body, |f| f.end);
            let _ = segment.tail(end);
        }
    }

    #[test]
    fn a_header_cut_anywhere_is_unfinished() {
        let bytes = head(&header(1));
        for end in 0..bytes.len() {
            assert_eq!(
                Segment::parse(&bytes[..end], 1).unwrap_err(),
                Unreadable::Unfinished
            );
        }
    }
}
