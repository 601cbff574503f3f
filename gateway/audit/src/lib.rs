//! The audit: records of every exchange, durable before anything depends on them, shipped to a store exactly once,
//! chained so that changes show.
//!
//! - [`Recorder`]: [`intent`](Recorder::intent) before the first byte upstream, [`seal`](Recorder::seal) before the
//!   last byte downstream, [`event`](Recorder::event) for the rest,
//!   [`record`](Recorder::record) for what travels beside an entry or belongs into another tree. Each returns when its entry is on disk.
//! - [`open`] and [`Shipping`]: start and shutdown.
//! - [`verify()`]: whether the store still holds what was recorded.
//! - [`search()`]: who sent what, where, under which rule.
//! - [`export`]: all that a filter finds as a file for another program, with a signed manifest.
//! - [`Feed`]: records for whoever delivers them to the outside as they come.
//! - [`Commitment`]: what stands in a record for a body.
//! - [`Sealing`] and [`payload`]: what is kept of an exchange's texts, under which keys, and how its actor's name gives way to a reference.
//! - [`BlindKey`]: by what a value is found again.
//! - [`tree`] and [`note`]: the Merkle trees over records, and the signed checkpoints of them.
//! - [`witness`]: who cosigns checkpoints, elsewhere, as long as they continue each other.
//! - [`proof`]: what shows without the store that an exchange's records are in the audit.
//!
//! An entry goes recorder -> [spool](SpoolConfig) -> store. The spool is local, and knows nothing of the store; a store that is
//! away delays nobody. `docs/decisions/0002-audit-spool-and-store.md` says why it is built so, and what a hash chain alone
//! cannot show.

mod record;
pub use record::{
    Answer, Asked, Body, CheckpointsThinned, Claims, ENTRY_VERSION, Entry, EntryError, EntryHash,
    EraseRefused, Erased, Event, ExportStarted, Exported, Heartbeat, HoldPlaced, HoldReleased, HoldScope,
    Intent, InvalidHash, InvalidTreeName, KeysPruned, MAX_ENTRY_BYTES, NamedKey, Operator, Outcome,
    PolicyReloaded, Pruned, PrunedRun, Refused, RevealApproved, RevealRequested, Revealed, Seal, Sealed,
    Searched, SpoolTampered, Started, Stopped, Tampering, ThinnedTree, TreeName, Trust, TrustPart,
    TrustReloaded, TunnelClosed, TunnelOpened, Uninspected, WriterId,
};

mod secret_file;

mod commitment;
pub use commitment::{Commitment, CommitmentKey, CommitmentKeyError, Part, keyed_digest, pseudonym};

mod cipher;
pub use cipher::{NotOpened, NotSealed};

mod address;
pub mod payload;
pub use address::Addresses;
mod pseudonym;
pub use pseudonym::Pseudonyms;
mod subject;
pub use subject::{SubjectKey, Subjects};
mod tenant_keys;
pub use tenant_keys::{FileKeys, KeyFuture, TenantKeyError, TenantKeys};
#[cfg(feature = "pkcs11")]
pub use tenant_keys::{KeyToken, TokenKeys};

mod blind;
pub use blind::{BlindKey, BlindValue, NotIndexed};

mod attachment;
pub use attachment::{Attachment, InvalidAttachment, SealedPart, WrappedKey};

pub mod kept;

pub mod oversight;

pub mod tree;

pub mod note;

pub mod proof;

pub mod witness;

mod recorder;
pub use recorder::{
    AuditConfig, AuditMetrics, Durability, OpenError, Recorder, Recording, Sealing, Shipping, open,
};

mod disk;
mod segment;
pub use segment::MAX_ATTACHMENT_BYTES;
mod spool;
pub use spool::{AuditUnavailable, SpoolConfig, recover::SpoolError};

mod ship;

mod store;
pub use store::{InvalidStoreUrl, Store, StoreError, StoreUrl};

mod extent;
mod prove;
mod prune;
pub use prune::{PruneError, Pruning, Retention, prune};
mod stored;
pub use prove::{ProveError, prove};
mod sequence;
pub use sequence::{Published, Sequencing, remembered};
mod testimony;
pub use testimony::{Testimonies, Testimony, TestimonyError};

mod verify;
pub use verify::{Broken, ChainHead, Evidence, Fault, TreeFault, TreeHead, Verified, VerifyError, verify};

pub mod export;

mod feed;
pub use feed::{FedRecord, Feed, Page};

mod search;
pub use search::{InvalidPosition, Position, Query, Row, events, search};
