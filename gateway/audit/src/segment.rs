//! The form of a segment file, and reading one back.
//!
//! ```text
//! "CORDSPL1"                                   8 bytes
//! frame: header                                writer, number, first sequence, previous hash, open exchanges
//! frame: entry                                 canonical bytes of one entry
//! frame: attachment ...                        the opaque bytes that travel with it, if any
//! ...
//! zeros                                        to the size reserved ahead
//!
//! frame = length word | crc32c | bytes         two little-endian u32, then the bytes
//! ```
//! The top bit of the length word marks the first frame of one write. The writer starts a write only after the
//! one before it is synced, so behind a torn write there is never another marked frame: if there is one, what
//! looks torn is damage to records that were acknowledged, and reading stops with an error. The bit below it says that the
//! next frame belongs to the same entry. So an entry is read with all of its attachments or not at all: one that
//! a torn write left without them was never acknowledged.
//!
//! The checksum also covers the segment's number and the frame's offset. A frame is therefore valid in
//! its own place only, and segments can be recycled without wiping them: old frames no longer read.

use std::collections::BTreeMap;

use cordon_domain::ExchangeId;
use serde::{Deserialize, Serialize};

use crate::record::{EntryHash, MAX_ENTRY_BYTES, TreeName, WriterId, canonical};

const MAGIC: &[u8; 8] = b"CORDSPL1";
const FRAME_HEAD: usize = 8;
/// No chain gets there; it keeps arithmetic on what a file claims from overflowing.
pub(crate) const MAX_SEQUENCE: u64 = 1 << 53;
const FIRST_OF_WRITE: u32 = 1 << 31;
/// The next frame is an attachment of the same entry.
const MORE: u32 = 1 << 30;
const LENGTH: u32 = MORE - 1;
/// Most attachments of one entry.
pub(crate) const MAX_ATTACHMENTS: usize = 8;
/// Most bytes of one attachment.
pub const MAX_ATTACHMENT_BYTES: usize = 8 << 20;
/// The most that an entry takes here with all of its attachments.
pub(crate) const MAX_WHOLE_BYTES: u64 =
    (FRAME_HEAD + MAX_ENTRY_BYTES + MAX_ATTACHMENTS * (FRAME_HEAD + MAX_ATTACHMENT_BYTES)) as u64;

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
    #[serde(with = "opened")]
    pub(crate) open: BTreeMap<ExchangeId, TreeName>,
}

/// Open exchanges in a header: the bare id where the tree is the default one, else with the tree's names.
mod opened {
    use serde::{Deserializer, Serializer};

    use super::{BTreeMap, Deserialize, ExchangeId, Serialize, TreeName};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Opened {
        Default(ExchangeId),
        Elsewhere {
            exchange: ExchangeId,
            tenant: String,
            class: String,
        },
    }

    pub(super) fn serialize<S: Serializer>(
        open: &BTreeMap<ExchangeId, TreeName>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(open.iter().map(|(exchange, tree)| {
            if *tree == TreeName::default() {
                Opened::Default(*exchange)
            } else {
                Opened::Elsewhere {
                    exchange: *exchange,
                    tenant: tree.tenant().to_owned(),
                    class: tree.class().to_owned(),
                }
            }
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<ExchangeId, TreeName>, D::Error> {
        let read = |opened| match opened {
            Opened::Default(exchange) => Ok((exchange, TreeName::default())),
            Opened::Elsewhere {
                exchange,
                tenant,
                class,
            } => TreeName::new(&tenant, &class)
                .map(|tree| (exchange, tree))
                .map_err(serde::de::Error::custom),
        };
        Vec::<Opened>::deserialize(from)?.into_iter().map(read).collect()
    }
}

/// The canonical bytes of an entry with its attachments, as they are written.
pub(crate) struct Whole {
    pub(crate) record: Vec<u8>,
    pub(crate) attachments: Vec<Vec<u8>>,
}

impl Whole {
    /// The space that it takes.
    pub(crate) fn frame_bytes(&self) -> u64 {
        let attached: usize = self.attachments.iter().map(|a| FRAME_HEAD + a.len()).sum();
        (FRAME_HEAD + self.record.len() + attached) as u64
    }
}

/// The bytes that a new segment starts with.
pub(crate) fn head(header: &SegmentHeader) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    push_frame(&mut out, 0, header.segment, FIRST_OF_WRITE, &canonical(header));
    out
}

/// The frames of one write that starts at `offset` of segment `number`.
pub(crate) fn frames(number: u64, offset: u64, entries: &[Whole]) -> Vec<u8> {
    let size: u64 = entries.iter().map(Whole::frame_bytes).sum();
    let mut out = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    for (index, Whole { record, attachments }) in entries.iter().enumerate() {
        let first = if index == 0 { FIRST_OF_WRITE } else { 0 };
        let mut behind = attachments.len();
        let more = |behind| if behind > 0 { MORE } else { 0 };
        push_frame(&mut out, offset, number, first | more(behind), record);
        for attachment in attachments {
            behind -= 1;
            push_frame(&mut out, offset, number, more(behind), attachment);
        }
    }
    out
}

/// Appends one frame to `out`, whose first byte lies at `base` of the segment.
fn push_frame(out: &mut Vec<u8>, base: u64, number: u64, marks: u32, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).ok().filter(|l| *l <= LENGTH);
    let word = length.expect("entries, attachments and headers are far smaller than 1 GiB") | marks;
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

/// An entry that was read with its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WholeAt<'a> {
    pub(crate) record: &'a [u8],
    pub(crate) attachments: Vec<&'a [u8]>,
    /// Offset just behind it.
    pub(crate) end: usize,
}

/// The entry at `offset` of the part of a segment that starts at `base`; none if it is not whole there.
pub(crate) fn whole_at(part: &[u8], base: u64, offset: usize, number: u64) -> Option<WholeAt<'_>> {
    let mut frame = frame_at(part, base, offset, number)?;
    let mut whole = WholeAt {
        record: frame.bytes,
        attachments: Vec::new(),
        end: frame.end,
    };
    while frame.more {
        frame = frame_at(part, base, whole.end, number)?;
        if frame.first || whole.attachments.len() == MAX_ATTACHMENTS {
            return None;
        }
        whole.attachments.push(frame.bytes);
        whole.end = frame.end;
    }
    Some(whole)
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame<'a> {
    bytes: &'a [u8],
    /// Offset just behind it.
    end: usize,
    first: bool,
    more: bool,
}

/// The frame at `offset` of the part of a segment that starts at `base`; none if what lies there is not a whole one.
fn frame_at(part: &[u8], base: u64, offset: usize, number: u64) -> Option<Frame<'_>> {
    let head = part.get(offset..offset.checked_add(FRAME_HEAD)?)?;
    let word = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let length = (word & LENGTH) as usize;
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
        more: word & MORE != 0,
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

    /// The entries with the offset behind each, up to the first that is not whole.
    pub(crate) fn entries(&self) -> impl Iterator<Item = WholeAt<'a>> + use<'a> {
        let (file, number) = (self.file, self.header.segment);
        let mut offset = self.body;
        std::iter::from_fn(move || {
            let whole = whole_at(file, 0, offset, number)?;
            offset = whole.end;
            Some(whole)
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

/// Whether a write of entries starts somewhere behind `from`.
fn marked_frame_after(file: &[u8], from: usize, number: u64) -> bool {
    (from + 1..file.len().saturating_sub(FRAME_HEAD)).any(|offset| {
        // A write starts with an entry. Looking at the mark, the length and the brace first skips nearly every offset, also
        // within sealed bytes, which look like anything.
        let word = u32::from_le_bytes([file[offset], file[offset + 1], file[offset + 2], file[offset + 3]]);
        word & FIRST_OF_WRITE != 0
            && (word & LENGTH) as usize <= MAX_ENTRY_BYTES
            && file[offset + FRAME_HEAD] == b'{'
            && frame_at(file, 0, offset, number).is_some()
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
            open: BTreeMap::from([(ExchangeId::new(), TreeName::default())]),
        }
    }

    /// Records with their attachments.
    type Write = Vec<(Vec<u8>, Vec<Vec<u8>>)>;

    fn wholes(write: &Write) -> Vec<Whole> {
        let whole = |(record, attachments): &(Vec<u8>, Vec<Vec<u8>>)| Whole {
            record: record.clone(),
            attachments: attachments.clone(),
        };
        write.iter().map(whole).collect()
    }

    /// A segment of several writes, the offset behind each entry, and that behind each write.
    fn file(number: u64, writes: &[Write], zeros: usize) -> (Vec<u8>, Vec<usize>, Vec<usize>) {
        let mut out = head(&header(number));
        let (mut ends, mut write_ends) = (Vec::new(), vec![out.len()]);
        for write in writes {
            let mut offset = out.len();
            let entries = wholes(write);
            let bytes = frames(number, offset as u64, &entries);
            for entry in entries {
                offset += usize::try_from(entry.frame_bytes()).unwrap();
                ends.push(offset);
            }
            out.extend_from_slice(&bytes);
            write_ends.push(out.len());
        }
        out.resize(out.len() + zeros, 0);
        (out, ends, write_ends)
    }

    /// Reads all that is whole, and what lies behind.
    fn read(bytes: &[u8], number: u64) -> Result<(Vec<WholeAt<'_>>, Tail), Unreadable> {
        let segment = Segment::parse(bytes, number)?;
        let entries: Vec<_> = segment.entries().collect();
        let tail = segment.tail(entries.last().map_or(segment.body, |e| e.end))?;
        Ok((entries, tail))
    }

    fn same(entries: &[WholeAt<'_>], writes: &[Write]) -> bool {
        let written: Vec<_> = writes.concat();
        entries.len() == written.len()
            && std::iter::zip(entries, written)
                .all(|(read, (record, attached))| read.record == record && read.attachments == attached)
    }

    fn write(most: usize) -> impl Strategy<Value = Write> {
        // As entries do, records begin with a brace; what is attached looks like anything.
        let record = prop::collection::vec(any::<u8>(), 0..most).prop_map(|mut bytes| {
            bytes.insert(0, b'{');
            bytes
        });
        let attached = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..most), 0..4);
        prop::collection::vec((record, attached), 1..4)
    }

    fn writes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Write>> {
        prop::collection::vec(write(40), count)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(writes in writes(1..5), zeros in 0usize..40, number in any::<u64>()) {
            let (bytes, ends, _) = file(number, &writes, zeros);
            let (entries, tail) = read(&bytes, number).unwrap();
            prop_assert!(same(&entries, &writes));
            prop_assert_eq!(entries.iter().map(|e| e.end).collect::<Vec<_>>(), ends);
            prop_assert_eq!(tail, Tail::Clean);
            prop_assert!(Segment::parse(&bytes, number.wrapping_add(1)).is_err());
        }

        /// Any cut, and any loss of parts of the last write, is a torn tail; all earlier writes stay, and of the last one
        /// nothing is left that lacks an attachment.
        #[test]
        fn a_torn_last_write_loses_that_write_only(
            writes in writes(1..5), cut in any::<prop::sample::Index>(), holes in prop::collection::vec(any::<bool>(), 64),
            garbage in any::<bool>()
        ) {
            let (mut bytes, _, write_ends) = file(9, &writes, 16);
            let last = write_ends[write_ends.len() - 2]..*write_ends.last().unwrap();
            let at = last.start + cut.index(last.len());
            // A hole shows what lay there before: zeros, or what a segment of another number held at that place.
            let older = frames(8, last.start as u64, &wholes(writes.last().unwrap()));
            for (index, byte) in bytes[last.clone()].iter_mut().enumerate() {
                if last.start + index >= at && holes[index % 64] {
                    *byte = if garbage { older[index] } else { 0 };
                }
            }
            let (entries, _) = read(&bytes, 9).unwrap();
            let end = entries.last().map_or(0, |e| e.end);
            prop_assert!(write_ends.len() == 2 || end >= last.start);
            let kept: Vec<_> = writes.concat().into_iter().take(entries.len()).collect();
            prop_assert!(same(&entries, &[kept]));
        }

        /// Damage to any byte of a write that another follows is reported, never skipped.
        #[test]
        fn damage_before_the_last_write_is_reported(
            writes in writes(2..5), at in any::<prop::sample::Index>(), flip in 1u8..=255
        ) {
            let (mut bytes, _, write_ends) = file(3, &writes, 8);
            let place = at.index(write_ends[write_ends.len() - 2]);
            bytes[place] ^= flip;
            let result = read(&bytes, 3);
            prop_assert!(matches!(result, Err(Unreadable::Damaged { .. })), "{:?}", result);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), number in any::<u64>()) {
            let mut file = head(&header(number));
            file.extend_from_slice(&bytes);
            let _ = Segment::parse(&bytes, number);
            let _ = read(&file, number).unwrap();
        }
    }

    #[test]
    fn an_entry_with_more_attachments_than_there_may_be_is_none() {
        let write = |attachments| vec![(b"{}".to_vec(), vec![vec![7]; attachments])];
        for (attachments, read_back) in [(MAX_ATTACHMENTS, 1), (MAX_ATTACHMENTS + 1, 0)] {
            let (bytes, _, _) = file(1, &[write(attachments)], 0);
            assert_eq!(read(&bytes, 1).unwrap().0.len(), read_back);
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

    #[test]
    fn open_exchanges_keep_their_trees_and_older_headers_read() {
        let mut header = header(1);
        let id = *header.open.keys().next().unwrap();
        let text = |header: &SegmentHeader| String::from_utf8(canonical(header)).unwrap();
        // The form from before there were trees.
        assert!(text(&header).contains(&format!(r#""open":["{id}"]"#)));
        let tree = TreeName::new("emea", "standard").unwrap();
        header.open.insert(ExchangeId::new(), tree);
        let read: SegmentHeader = serde_json::from_str(&text(&header)).unwrap();
        assert_eq!(read, header);
        let bad = text(&header).replace("emea", "EMEA");
        assert!(serde_json::from_str::<SegmentHeader>(&bad).is_err());
    }
}
