//! All that can be computed anew without the key: chains, columns, leaves, blocks, positions.

use std::{collections::BTreeMap, fmt::Write as _};

use cordon_audit::{Body, Entry, EntryHash, tree};
use sha2::{Digest, Sha256};

use crate::databases::{Kind, Place};

/// The records of a store and the order of its leaves, to be changed and written back.
#[derive(Clone)]
pub(super) struct Forgery {
    kind: Kind,
    /// By writer, in the order of sequence.
    pub(super) chains: BTreeMap<String, Vec<Entry>>,
    /// Each tree's leaves, by writer and sequence.
    pub(super) trees: BTreeMap<(String, String), Vec<(String, u64)>>,
}

impl Forgery {
    pub(super) async fn of(place: &Place, records: &[Entry]) -> Self {
        let mut chains: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in records {
            chains
                .entry(entry.writer.to_string())
                .or_default()
                .push(entry.clone());
        }
        let runs = place
            .bodies_of(match place.kind {
                Kind::Sqlite => {
                    "SELECT tenant || '/' || class, first_index, writer || ':' || first_sequence || ':' || last_sequence || ':' || hex(offsets) \
                     FROM audit_extent ORDER BY tenant, class, first_index"
                }
                Kind::Postgres => {
                    "SELECT tenant || '/' || class, first_index, writer || ':' || first_sequence || ':' || last_sequence || ':' || encode(offsets, 'hex') \
                     FROM audit_extent ORDER BY tenant, class, first_index"
                }
            })
            .await;
        let mut trees: BTreeMap<(String, String), Vec<(String, u64)>> = BTreeMap::new();
        for (tree, _, run) in runs {
            let (tenant, class) = tree.split_once('/').unwrap();
            let [writer, first, last, offsets] = run.split(':').collect::<Vec<_>>().try_into().unwrap();
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            let offsets = hex::decode(offsets).unwrap();
            let sequences: Vec<u64> = match offsets.as_chunks::<4>().0 {
                [] => (first..=last).collect(),
                offsets => offsets
                    .iter()
                    .map(|offset| first + u64::from(u32::from_be_bytes(*offset)))
                    .collect(),
            };
            let leaves = trees.entry((tenant.to_owned(), class.to_owned())).or_default();
            leaves.extend(
                sequences
                    .into_iter()
                    .map(|sequence| (writer.to_owned(), sequence)),
            );
        }
        Self {
            kind: place.kind,
            chains,
            trees,
        }
    }

    /// Computes the hashes of a chain anew from a record on.
    pub(super) fn relink(&mut self, writer: &str, from: u64) {
        let chain = self.chains.get_mut(writer).unwrap();
        for place in usize::try_from(from).unwrap()..=chain.len() {
            let previous = match place.checked_sub(2) {
                Some(before) => EntryHash::of(&chain[before].canonical_bytes()),
                None => EntryHash::GENESIS,
            };
            if let Some(entry) = chain.get_mut(place - 1) {
                entry.previous_hash = previous;
            }
        }
    }

    /// Cuts a chain off behind a record, and takes what is cut off out of the trees.
    pub(super) fn cut(&mut self, writer: &str, last: u64) {
        let length = usize::try_from(last).unwrap();
        self.chains.get_mut(writer).unwrap().truncate(length);
        for leaves in self.trees.values_mut() {
            leaves.retain(|(of, sequence)| of != writer || *sequence <= last);
        }
        self.trees.retain(|_, leaves| !leaves.is_empty());
    }

    /// Writes records from a sequence on: `columns` repeats in the column what was changed in the body.
    pub(super) fn rewrite(&self, writer: &str, from: u64) -> String {
        let mut sql = String::new();
        for entry in &self.chains[writer][usize::try_from(from - 1).unwrap()..] {
            let body = text(&String::from_utf8(entry.canonical_bytes()).unwrap());
            let actor = match &entry.body {
                Body::Intent(it) => format!(", actor = {}", text(&it.actor.user)),
                _ => String::new(),
            };
            writeln!(
                sql,
                "UPDATE audit_record SET body = {body}, at = {}{actor} WHERE writer = '{writer}' AND sequence = {};",
                entry.at, entry.sequence
            )
            .unwrap();
        }
        sql
    }

    /// Sets a writer's position to the end of its chain.
    pub(super) fn position(&self, writer: &str) -> String {
        let chain = &self.chains[writer];
        let hash = match chain.last() {
            Some(entry) => hex::encode(EntryHash::of(&entry.canonical_bytes()).as_bytes()),
            None => "0".repeat(64),
        };
        format!(
            "UPDATE audit_writer SET sequence = {}, hash = '{hash}' WHERE writer = '{writer}';",
            chain.len()
        )
    }

    /// Writes all leaves and blocks anew.
    pub(super) fn plant(&self) -> String {
        let mut sql = "DELETE FROM audit_extent; DELETE FROM audit_block;\n".to_owned();
        for ((tenant, class), leaves) in &self.trees {
            let mut hashes = Vec::new();
            let mut runs: Vec<(usize, &str, Vec<u64>)> = Vec::new();
            for (index, (writer, sequence)) in leaves.iter().enumerate() {
                let entry = &self.chains[writer][usize::try_from(sequence - 1).unwrap()];
                hashes.push(*tree::leaf_hash(&entry.canonical_bytes()).as_bytes());
                match runs.last_mut() {
                    Some((_, of, run)) if *of == writer && run.last() < Some(sequence) => run.push(*sequence),
                    _ => runs.push((index, writer, vec![*sequence])),
                }
            }
            for (first_index, writer, run) in runs {
                let (first, last) = (run[0], run[run.len() - 1]);
                let is_run = last - first + 1 == run.len() as u64;
                let offset = |sequence: &u64| u32::try_from(sequence - first).unwrap().to_be_bytes();
                let offsets: Vec<u8> = match is_run {
                    true => Vec::new(),
                    false => run.iter().flat_map(offset).collect(),
                };
                let hashes = hashes[first_index..first_index + run.len()].concat();
                writeln!(
                    sql,
                    "INSERT INTO audit_extent VALUES ('{tenant}', '{class}', {first_index}, '{writer}', {first}, {last}, {}, {});",
                    self.bytes(&offsets),
                    self.bytes(&hashes)
                )
                .unwrap();
            }
            for (block, hashes) in hashes.as_chunks::<256>().0.iter().enumerate() {
                writeln!(
                    sql,
                    "INSERT INTO audit_block VALUES ('{tenant}', '{class}', {block}, {});",
                    self.bytes(&root(hashes))
                )
                .unwrap();
            }
        }
        sql
    }

    /// Where the first leaf of a writer's records from a sequence on lies in a tree.
    pub(super) fn first_leaf(&self, tree: &(String, String), writer: &str, from: u64) -> Option<usize> {
        let mut leaves = self.trees[tree].iter();
        leaves.position(|(of, sequence)| of == writer && *sequence >= from)
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> String {
        let hex = hex::encode(bytes);
        match self.kind {
            Kind::Sqlite => format!("x'{hex}'"),
            Kind::Postgres => format!("CAST('\\x{hex}' AS bytea)"),
        }
    }
}

/// The root over a complete block, by the definition.
fn root(hashes: &[[u8; 32]]) -> [u8; 32] {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Sha256::digest([&[1], &root(left)[..], &root(right)[..]].concat()).into()
        }
    }
}

/// A literal.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
