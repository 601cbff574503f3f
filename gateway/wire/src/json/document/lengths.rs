//! Lengths that a body states of its parts, set right around an edit.
//!
//! On failure: a part that has become too long for its length is [`SpliceError::Boundary`].

use std::ops::Range;

use cordon_domain::SpliceError;

use crate::protobuf;

/// How a length is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LengthWriting {
    /// As protobuf's numbers.
    Varint,
    /// In four bytes, the high one first.
    Four,
}

/// A length, and what it is the length of.
pub(super) struct Length {
    pub(super) written: Range<usize>,
    pub(super) content: Range<usize>,
    /// The length of the part that this one lies in, which stands before it.
    pub(super) around: Option<usize>,
    pub(super) writing: LengthWriting,
}

/// Bytes of the body, and what takes their place.
pub(super) type Patch = (Range<usize>, Vec<u8>);

/// Adds to patches, which are in order and apart, those of the lengths around them.
///
/// Lengths are in the order of their parts, each behind the one that it lies in.
pub(super) fn set_right(lengths: &[Length], patches: &mut Vec<Patch>) -> Result<(), SpliceError> {
    let mut grown = vec![0_i64; lengths.len()];
    let difference = |new: usize, old: usize| new as i64 - old as i64;
    for (span, written) in patches.iter() {
        let behind = lengths.partition_point(|length| length.content.start <= span.start);
        let mut inner = behind.checked_sub(1);
        while let Some(index) = inner {
            if lengths[index].content.end >= span.end {
                grown[index] += difference(written.len(), span.len());
                break;
            }
            inner = lengths[index].around;
        }
    }
    let mut added = Vec::new();
    for (index, length) in lengths.iter().enumerate().rev() {
        let grown_by = grown[index];
        if grown_by == 0 {
            continue;
        }
        let new =
            usize::try_from(length.content.len() as i64 + grown_by).map_err(|_| SpliceError::Boundary)?;
        let mut written = Vec::with_capacity(5);
        match length.writing {
            LengthWriting::Varint => protobuf::write_varint(new, &mut written),
            LengthWriting::Four => {
                let new = u32::try_from(new).map_err(|_| SpliceError::Boundary)?;
                written.extend_from_slice(&new.to_be_bytes());
            }
        }
        if let Some(around) = length.around {
            grown[around] += grown_by + difference(written.len(), length.written.len());
        }
        added.push((length.written.clone(), written));
    }
    patches.extend(added);
    patches.sort_by_key(|(span, _)| (span.start, span.end));
    Ok(())
}
