//! A run of one writer's records in a tree: which leaves they are, and the leaves' hashes.
//!
//! A row of `audit_extent` holds up to some thousand leaves, since a row for each leaf would cost more than the hashes do.

use crate::{
    record::{TreeName, WriterId},
    store::{Statement, Value, number},
    tree::Hash,
};

/// A run of one writer's records, in the order of their sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) tree: TreeName,
    /// The index of the first leaf.
    pub(crate) first_index: u64,
    pub(crate) writer: WriterId,
    /// The sequence of each record, increasing.
    pub(crate) sequences: Vec<u64>,
    /// The hash of each leaf.
    pub(crate) hashes: Vec<Hash>,
}

impl Extent {
    /// The columns, in the order that [`Extent::read`] takes them.
    pub(crate) const COLUMNS: &'static str =
        "tenant, class, first_index, writer, first_sequence, last_sequence, offsets, hashes";

    /// A row of [`Extent::COLUMNS`]; none if it does not read.
    pub(crate) fn read(row: &[Value]) -> Option<Self> {
        let [
            tenant,
            class,
            first_index,
            writer,
            first_sequence,
            last_sequence,
            offsets,
            hashes,
        ] = row
        else {
            return None;
        };
        let hashes = hashes.bytes()?;
        let (first, last) = (first_sequence.sequence()?, last_sequence.sequence()?);
        let count = hashes.len() / 32;
        let sequences: Vec<u64> = match offsets.bytes()?.as_chunks::<4>() {
            ([], []) => (first..=last).take(count.saturating_add(1)).collect(),
            (offsets, []) => {
                let sequence = |offset: &[u8; 4]| first.checked_add(u64::from(u32::from_be_bytes(*offset)));
                offsets.iter().map(sequence).collect::<Option<_>>()?
            }
            _ => return None,
        };
        let whole = !sequences.is_empty()
            && hashes.len() == sequences.len() * 32
            && sequences.is_sorted_by(|a, b| a < b)
            && sequences.first() == Some(&first)
            && sequences.last() == Some(&last);
        let tree = TreeName::new(tenant.text()?, class.text()?).ok()?;
        whole.then_some(Self {
            tree,
            first_index: first_index.sequence()?,
            writer: writer.uuid()?.into(),
            sequences,
            hashes: hashes
                .as_chunks::<32>()
                .0
                .iter()
                .copied()
                .map(Hash::from_bytes)
                .collect(),
        })
    }

    /// The statement that puts it into the store.
    pub(crate) fn insert(&self) -> Statement {
        let (first, last) = (self.sequences[0], self.sequences[self.sequences.len() - 1]);
        let is_run = last - first + 1 == self.sequences.len() as u64;
        let offset = |sequence: &u64| u32::try_from(sequence - first).unwrap_or(u32::MAX).to_be_bytes();
        let offsets = match is_run {
            true => Vec::new(),
            false => self.sequences.iter().flat_map(offset).collect(),
        };
        Statement {
            sql: "INSERT INTO audit_extent (tenant, class, first_index, writer, first_sequence, last_sequence, offsets, hashes) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            values: vec![
                Value::Text(self.tree.tenant().to_owned()),
                Value::Text(self.tree.class().to_owned()),
                number(self.first_index),
                self.writer.into(),
                number(first),
                number(last),
                Value::Bytes(offsets),
                Value::Bytes(self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()),
            ],
        }
    }

    /// How many leaves it has.
    pub(crate) fn len(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Each record's sequence with its leaf's hash.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (u64, Hash)> + '_ {
        self.sequences.iter().copied().zip(self.hashes.iter().copied())
    }

    /// The leaf that a record is; none where it is not in this run.
    pub(crate) fn index_of(&self, sequence: u64) -> Option<u64> {
        let place = self.sequences.binary_search(&sequence).ok()?;
        Some(self.first_index + place as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::leaf_hash;

    fn extent(sequences: &[u64]) -> Extent {
        Extent {
            tree: TreeName::new("emea", "long").unwrap(),
            first_index: 512,
            writer: WriterId::new(),
            sequences: sequences.to_vec(),
            hashes: sequences.iter().map(|n| leaf_hash(&n.to_be_bytes())).collect(),
        }
    }

    #[test]
    fn runs_and_gaps_read_back() {
        for sequences in [&[1][..], &[7, 8, 9], &[7, 9, 300, 70_000]] {
            let extent = extent(sequences);
            let values = extent.insert().values;
            assert_eq!(Extent::read(&values), Some(extent.clone()));
            for (place, sequence) in (512..).zip(sequences) {
                assert_eq!(extent.index_of(*sequence), Some(place));
            }
            assert_eq!(extent.index_of(10), None);
        }
    }

    #[test]
    fn what_nobody_wrote_does_not_read() {
        let good = extent(&[7, 9, 300]).insert().values;
        let spoil: [(usize, Value); 6] = [
            (0, Value::Text("No Tenant".into())),
            (4, Value::Int(8)),
            (5, Value::Int(301)),
            (6, Value::Bytes(Vec::new())),
            (6, Value::Bytes(vec![0, 0, 0, 1])),
            (7, Value::Bytes(vec![0; 95])),
        ];
        for (place, value) in spoil {
            let mut row = good.clone();
            row[place] = value;
            assert_eq!(Extent::read(&row), None, "{place}");
        }
    }
}
