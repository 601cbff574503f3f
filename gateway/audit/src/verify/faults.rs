//! What verifying finds wrong, and in which words.

use uuid::Uuid;

use super::TreeFault;
use crate::{
    record::{TreeName, WriterId},
    spool::recover::SpoolError,
    store::StoreError,
};

/// The first record that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {writer}:{sequence} {fault}")]
pub struct Broken {
    /// Whose chain it is.
    pub writer: WriterId,
    /// The record's place in it.
    pub sequence: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its body was changed: the chain holds another hash for it.
    #[error("is altered: the chain holds another hash for it")]
    Altered,
    /// Its body is not a record at all.
    #[error("is altered: its body does not read")]
    Unreadable,
    /// A column says something else than the body.
    #[error("is altered: column {0} and body differ")]
    Column(&'static str),
    /// It is not there, and later ones are.
    #[error("is missing")]
    Missing,
    /// Another record of the chain stands in its place.
    #[error("is reordered: record {0} stands in its place")]
    Reordered(u64),
    /// It is there more than once.
    #[error("is there more than once")]
    Duplicated,
    /// It and all behind it are gone.
    #[error("and those behind it are missing: the chain went on to {0}")]
    Truncated(u64),
    /// It is not the record that this machine shipped.
    #[error("is not the one that the spool shipped: the chain was rewritten")]
    Rewritten,
    /// Nobody shipped it: it lies outside of what its writer recorded.
    #[error("was added: it lies outside its writer's chain")]
    Added,
    /// Its tree holds another leaf for it.
    #[error("is altered: its tree holds another leaf for it")]
    OtherLeaf,
    /// It says that it belongs into another tree than the one that holds it.
    #[error("is altered: another tree holds it than it says")]
    OtherTree,
    /// Records behind it are in trees, and it is not.
    #[error("was added or taken out of its tree: no tree holds it")]
    NoLeaf,
    /// Trees hold it twice.
    #[error("is in the trees more than once")]
    LeafTwice,
    /// Trees hold leaves for the writer that are none of its records.
    #[error("and those before it are fewer than the leaves that trees hold for them")]
    LeavesBeside,
    /// Up to it all is as signed; from it on the tree has another root than was signed.
    #[error("or one behind it is not as it was signed: tree {tree} forks between leaf {from} and leaf {to}")]
    Forked {
        /// The tree.
        tree: TreeName,
        /// The size up to which it agrees.
        from: u64,
        /// The size at which it does not.
        to: u64,
    },
    /// What is sealed beside it is not what was sealed beside it.
    #[error("is as it was, and what is kept sealed beside it is altered: payload {0} and record differ")]
    PayloadAltered(&'static str),
    /// It names a sealed part of the exchange that is not there.
    #[error("has lost what was kept sealed beside it")]
    PayloadMissing,
    /// Something sealed lies beside it that it does not name.
    #[error("has something sealed beside it that it does not name")]
    PayloadBeside,
    /// The key that it names, or that what is kept beside it opens under, is gone, and no erasure says so.
    #[error(
        "is as it was, and its key was taken: what is sealed of it cannot be opened any more, and no erasure is on record"
    )]
    KeyTaken,
    /// The key that it names is another than it was.
    #[error("is as it was, and the key that it names is altered: {0} and record differ")]
    KeyAltered(&'static str),
    /// It says that a subject's keys are shredded, and one that was made before is there.
    #[error(
        "says that a subject's keys are shredded, and a key that was made before is there: the erasure was not carried out, or was undone; \
         `cordon audit erase` carries it out"
    )]
    NotErased,
    /// The position of the chain is not signed by the key.
    #[error("is where the store says that the chain ends, and the audit's key has not signed that")]
    Unsigned,
    /// The store no longer says where its writer's chain stands.
    #[error("has no writer: the position of its chain is gone")]
    NoWriter,
}

/// Why verifying did not end in "ok".
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A record is wrong.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// A tree is wrong as a whole.
    #[error("tree {tree} {fault}")]
    Tree {
        /// The tree.
        tree: TreeName,
        /// What is wrong.
        fault: TreeFault,
    },
    /// A key that no record names is shredded without an erasure on record, or by half.
    #[error("key {0} of a subject was taken or altered: it is not whole, and no erasure is on record")]
    Key(Uuid),
    /// A checkpoint that was kept elsewhere is none of this audit's.
    #[error("a checkpoint that was given as evidence is not signed by the audit's key, or is none")]
    NotOurs,
    /// The store did not answer, or has a row that does not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool directory's position does not read.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl VerifyError {
    /// Whether it says that the store is not as it was, and not only that nobody could tell.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Broken(_)
            | Self::Tree { .. }
            | Self::Key(_)
            | Self::NotOurs
            | Self::Store(StoreError::Garbled(_)) => true,
            Self::Store(_) | Self::Spool(_) => false,
        }
    }
}
