//! What others say of a checkpoint, kept beside it, and the proof that they ask for before they say it.
//!
//! A witness cosigns a checkpoint when it is shown that the tree continues the one it knows. Hashes of large complete subtrees never
//! change, so they are remembered: after the first proof of a tree, each takes only what the tree grew by.
//!
//! On failure: [`StoreError`], or [`TreeError`](crate::tree::TreeError) for a tree that would shrink. A proof made of a store that lies does not verify.

use std::collections::HashMap;

use crate::{
    note::{Signature, VerifyingKey},
    record::TreeName,
    sequence::Published,
    store::{Look, Statement, Store, StoreError, StoreUrl, Value, number},
    stored::{leaves_between, of},
    tree::{Hash, Plan, Subtree, TreeError, complete_root, node_hash},
};

/// Subtrees of this height are remembered and put together from halves; smaller ones are read: 64 blocks at most.
const REMEMBERED: u8 = 14;

/// The store, as far as others' word on its checkpoints goes.
#[derive(Debug)]
pub struct Testimonies {
    url: StoreUrl,
    store: Option<Store>,
    remembered: HashMap<(TreeName, Subtree), Hash>,
}

/// Why there is no proof, or why what was said is not kept.
#[derive(Debug, thiserror::Error)]
pub enum TestimonyError {
    /// The store did not answer, or what it holds does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such proof.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What somebody says of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub enum Testimony<'a> {
    /// A witness has cosigned it.
    Cosignature(&'a Signature, &'a VerifyingKey),
    /// An authority has stamped it with the time (RFC 3161): its name, and the answer in base64.
    Stamp(&'a str, &'a str),
}

impl Testimonies {
    /// Of the store at this place, which is opened when it is needed.
    #[must_use]
    pub fn new(url: StoreUrl) -> Self {
        Self {
            url,
            store: None,
            remembered: HashMap::new(),
        }
    }

    async fn store(&mut self) -> Result<&Store, StoreError> {
        if self.store.is_none() {
            self.store = Some(Store::open(&self.url).await?);
        }
        self.store.as_ref().ok_or(StoreError::Garbled("audit_checkpoint"))
    }

    /// The proof that a tree of `size` leaves continues itself with `old` leaves.
    ///
    /// # Errors
    /// When the store cannot be read, or the tree is not as large.
    pub async fn consistency(
        &mut self,
        tree: &TreeName,
        old: u64,
        size: u64,
    ) -> Result<Vec<Hash>, TestimonyError> {
        let plan = Plan::consistency(old, size)?;
        let mut hashes = HashMap::new();
        if plan.subtrees().next().is_some() {
            let mut snapshot = self.store().await?.snapshot().await?;
            for subtree in plan.subtrees() {
                let hash = self.hash(&mut snapshot, tree, subtree).await;
                match hash {
                    Ok(hash) => hashes.insert(subtree, hash),
                    Err(error) => {
                        snapshot.close().await;
                        return Err(error.into());
                    }
                };
            }
            snapshot.close().await;
        }
        Ok(plan.path(|subtree| {
            hashes
                .get(&subtree)
                .copied()
                .ok_or(StoreError::Garbled("audit_block"))
        })?)
    }

    /// The hash of a complete subtree.
    async fn hash(
        &mut self,
        look: &mut impl Look,
        tree: &TreeName,
        subtree: Subtree,
    ) -> Result<Hash, StoreError> {
        if subtree.height < REMEMBERED {
            return read(look, tree, subtree).await;
        }
        // From the left, halves before the whole.
        let mut open = vec![subtree];
        loop {
            let next = open.last().copied().unwrap_or(subtree);
            let halves = next.halves().filter(|_| next.height > REMEMBERED);
            let known = |of: Subtree| self.remembered.get(&(tree.clone(), of)).copied();
            let hash = match (known(next), halves) {
                (Some(hash), _) => hash,
                (None, None) => read(look, tree, next).await?,
                (None, Some([left, right])) => match (known(left), known(right)) {
                    (Some(left), Some(right)) => node_hash(left, right),
                    (None, _) => {
                        open.push(left);
                        continue;
                    }
                    (_, None) => {
                        open.push(right);
                        continue;
                    }
                },
            };
            self.remembered.insert((tree.clone(), next), hash);
            open.pop();
            if open.is_empty() {
                return Ok(hash);
            }
        }
    }

    /// Keeps what somebody says of a checkpoint. `at` is the time, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn keep(
        &mut self,
        about: &Published,
        testimony: Testimony<'_>,
        at: u64,
    ) -> Result<(), TestimonyError> {
        let (kind, signer, line) = match testimony {
            // A name alone could be that of two keys.
            Testimony::Cosignature(signature, key) => {
                ("cosignature", key.to_string(), format!("{signature}\n"))
            }
            Testimony::Stamp(authority, answer) => ("stamp", authority.to_owned(), answer.to_owned()),
        };
        let mut values = of(&about.tree);
        values.extend([
            number(about.checkpoint.size),
            Value::Text(kind.to_owned()),
            Value::Text(signer),
            number(at),
            Value::Text(line),
        ]);
        let statement = Statement {
            sql: "INSERT INTO audit_cosignature (tenant, class, size, kind, signer, at, line) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            values,
        };
        Ok(self.store().await?.transact(vec![statement]).await?)
    }
}

/// A subtree's hash from those of its blocks, or of its leaves where it is smaller than one.
async fn read(look: &mut impl Look, tree: &TreeName, subtree: Subtree) -> Result<Hash, StoreError> {
    let hashes = match subtree.blocks() {
        None => leaves_between(look, tree, subtree.leaves()).await?,
        Some(range) => {
            let sql = "SELECT hash FROM audit_block WHERE tenant = $1 AND class = $2 AND block >= $3 AND block < $4 ORDER BY block";
            let mut values = of(tree);
            values.extend([number(range.start), number(range.end)]);
            let rows = look.look(sql, values).await?;
            let hash = |row: &Vec<Value>| Hash::try_from(row.first()?.bytes()?).ok();
            let hashes: Option<Vec<Hash>> = rows.iter().map(hash).collect();
            hashes
                .filter(|hashes| hashes.len() as u64 == range.end - range.start)
                .ok_or(StoreError::Garbled("audit_block"))?
        }
    };
    let whole = subtree.blocks().is_some() || hashes.len() as u64 == 1 << subtree.height;
    complete_root(&hashes)
        .filter(|_| whole)
        .ok_or(StoreError::Garbled("audit_extent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{store::Row, tree::leaf_hash};

    /// A store whose blocks have made-up hashes, and that counts what is read.
    struct Blocks(u64);

    fn block(number: u64) -> Hash {
        leaf_hash(&number.to_le_bytes())
    }

    impl Look for Blocks {
        async fn look(&mut self, _: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
            let (from, to) = (values[2].sequence().unwrap(), values[3].sequence().unwrap());
            self.0 += to - from;
            let row = |number| vec![Value::Bytes(block(number).as_bytes().to_vec())];
            Ok((from..to).map(row).collect())
        }
    }

    #[tokio::test]
    async fn large_subtrees_are_read_once() {
        let mut testimonies = Testimonies::new("unused.db".parse().unwrap());
        let mut store = Blocks(0);
        let tree = TreeName::default();
        for (height, index, reads) in [
            (20, 1, 4096),
            (20, 1, 0),
            (21, 0, 4096),
            (14, 64, 0),
            (14, 128, 64),
            (9, 5, 2),
            (9, 5, 2),
        ] {
            let subtree = Subtree { height, index };
            store.0 = 0;
            let hash = testimonies.hash(&mut store, &tree, subtree).await.unwrap();
            let blocks: Vec<Hash> = subtree.blocks().unwrap().map(block).collect();
            assert_eq!(Some(hash), complete_root(&blocks));
            assert_eq!(store.0, reads, "{height} {index}");
        }
    }
}
