//! The policy of Cordon: what may go where, what is replaced on the way, and what is put back.
//!
//! In the order an exchange meets them: a [`Policy`] is parsed from a file, [`Policy::decide`]
//! turns facts and findings into one decision, [`transform`] carries the decision out and yields
//! the only thing an upstream accepts, [`Cleared`], and a [`Reidentifier`] puts the originals back
//! into the reply. [`policytest`] runs the tests that lie beside a policy.
//!
//! It knows neither HTTP nor JSON nor storage: bodies are whatever implements
//! [`cordon_domain::Splice`], findings come from outside, and what is recorded is for `audit`.

mod diagnostic;
pub use diagnostic::Diagnostic;

mod file;

mod condition;

mod policy;
pub use policy::{Policy, Question, RetentionClass, UpstreamName};

mod facts;
pub use facts::{Facts, Files, Upstream};

mod decide;
pub use decide::{DEFAULT_RULE, Keep, TOO_MANY_FINDINGS_RULE};

mod advice;
pub use advice::{ACKNOWLEDGE_HEADER, refusal_message};

mod placeholder;
pub use placeholder::{InvalidPlaceholderKey, PlaceholderKey};

mod originals;
pub use originals::Originals;

mod cleared;
pub use cleared::{Cleared, Head, SpliceHead};

mod transform;
pub use transform::{TransformRefused, transform};

mod reidentify;
pub use reidentify::Reidentifier;

pub mod policytest;

pub use file::{Late, Unknown, UnreadFiles};
