//! Finds what must not leave: personal data, credentials, classification markings, source code.
//!
//! An [`Inspector`] is compiled once from detector files (`policies/detectors/`, embedded, and the
//! customer's own) and shared by all exchanges. For each text it builds [`View`]s, the normalised one
//! and the decoded one, makes one pass over each (words by one automaton, patterns only around their
//! hits), and maps what it finds back to the caller's own bytes.
//!
//! It knows no HTTP, no JSON and no policy: it says what is there, never what to do about it.
//!
//! On failure: loading reports [`DetectorError`]s with file, line and column. Inspecting does not fail:
//! past a limit the answer covers more, never less.

mod inspector;
pub use inspector::{Inspector, MAX_FINDINGS, Recalled};

mod remembered;

mod view;
pub use view::View;

mod normalise;
pub use normalise::normalise;

pub mod document;

pub mod fingerprint;

mod confusables;

mod decode;
pub use decode::decoded;

mod disguise;

mod join;

mod load;
pub use load::{DetectorError, MAX_FILE_BYTES};

mod detector;
pub use detector::{Details, DetectorInfo};

mod words;

mod pattern;

mod needs;

mod scan;

mod gates;
mod moment;

mod table;
mod validate;

mod names;

mod organization;

mod address;

mod lines;

mod ner;
pub use ner::{Missed, Ner, NerError, NerFiles};

mod code;
pub use code::{Block, Kind as BlockKind, blocks as blocks_of_code};

mod opaque;

mod overlap;

mod examples;
pub use examples::ExampleFault;

mod explain;
pub use explain::{Explained, MAX_EXPLAINED, Part};
