//! What a route of a described dialect looks like: the data behind [`cordon_domain::Dialect::Described`].
//!
//! A shape lives as long as the process, so that an [`Endpoint`](crate::Endpoint) stays a value that can
//! be copied; an edit of the file that describes it costs its size.

use std::{
    collections::BTreeMap,
    fmt,
    hash::{Hash, Hasher},
    ptr,
};

use serde::Deserialize;

use crate::Container;

mod patterns;
pub(crate) use patterns::{Patterns, States};

mod claims;
pub(crate) use claims::{Claim, Conversation};

mod written;

mod file;
pub use file::{DialectFault, DialectFile};

/// One route of a described dialect. Two shapes are the same when they are one and the same.
pub struct Shape {
    /// The route's name in its file.
    pub(crate) name: String,
    /// What its bodies are; none where the content type says.
    pub(crate) container: Option<Container>,
    pub(crate) request: Patterns,
    pub(crate) reply: Patterns,
    /// Pointers to what a stream's events carry piece by piece.
    pub(crate) pieces: Vec<String>,
    /// Pointers and what can stand there in an event that ends an answer, and with it all its pieces.
    pub(crate) ends: BTreeMap<String, Vec<String>>,
    /// How a stream's events say where their pieces go, if they are patches.
    pub(crate) patches: Option<Patches>,
    /// Where a request says who is signed in.
    pub(crate) claims: Vec<Claim>,
    /// Where the id of a conversation stands.
    pub(crate) conversation: Option<Conversation>,
    /// The place of the model's name.
    pub(crate) model: Option<String>,
    pub(crate) refusal: Option<RefusalForm>,
}

/// The members of a patch: an event, or an item of an array in the text of one.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Patches {
    /// The member that says where a text goes.
    pub(crate) path: String,
    /// The member that says what is done there: the text is set (`add`, `replace`, `set`), or goes behind what is there.
    pub(crate) operation: String,
    /// The member that holds the text, or further patches.
    pub(crate) text: String,
}

/// How a refusal looks to the page that gets it.
#[derive(Clone, Debug)]
pub(crate) struct RefusalForm {
    /// The status; that of the refusal where it is left out.
    pub(crate) status: Option<u16>,
    pub(crate) content_type: String,
    /// The body with `{message}`, `{code}` and `{exchange}`.
    pub(crate) body: String,
}

impl Shape {
    /// The route's name in its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl Eq for Shape {}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(self, state);
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shape({})", self.name)
    }
}
