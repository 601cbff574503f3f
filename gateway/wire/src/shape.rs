//! What a described dialect's route looks like: the data behind [`cordon_domain::Dialect::Described`].
//!
//! A shape lives as long as the process, so that an [`Endpoint`](crate::Endpoint) stays a value that can
//! be copied; an edit of the file that describes it costs its size.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ptr,
};

/// One route of a described dialect. Two shapes are the same when they are one and the same.
pub struct Shape {
    /// The route's name in its file.
    name: String,
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
