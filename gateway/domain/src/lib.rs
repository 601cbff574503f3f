//! The nouns of Cordon, shared by every room. No I/O, no parsing, no policy.
//!
//! One word means one thing here; `ARCHITECTURE.md` holds the list. Types that can hold what an
//! employee wrote ([`Text`], [`Segment`]) print their length only and cannot be serialised, so
//! that no log line, error or record can carry them by accident.

mod exchange;
pub use exchange::ExchangeId;

mod actor;
pub use actor::{Actor, Identity};

mod dialect;
pub use dialect::{BadDialectName, Dialect, DialectName};

mod text;
pub use text::Text;

mod segment;
pub use segment::{Edit, Place, Role, Segment, Splice, SpliceError};

mod entity;
pub use entity::{EntityType, InvalidEntityType};

mod finding;
pub use finding::{Finding, Source};

mod audit_level;
pub use audit_level::AuditLevel;

mod action;
pub use action::{Action, Decision, Verdict};

mod door;
pub use door::Door;

mod upstream;
pub use upstream::UpstreamKind;

mod refusal;
pub use refusal::{Fault, Refusal};

mod clock;
pub use clock::{Clock, SystemClock};
