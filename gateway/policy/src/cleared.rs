//! A request that went through inspect, decide and transform: the only thing an upstream accepts.
//!
//! On failure: nothing here fails but a translation, and that leaves nothing to send.

use std::fmt;

use bytes::Bytes;
use cordon_domain::{Edit, Segment, SpliceError};

use crate::{Policy, Unknown};

/// Request headers and target, whose values are inspected like the body.
pub struct Head {
    /// Header names and values, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Path and query as they go upstream.
    pub path_and_query: String,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("headers", &self.headers.len())
            .field("path_and_query_bytes", &self.path_and_query.len())
            .finish()
    }
}

/// A head whose segments can be edited; the counterpart of [`cordon_domain::Splice`] for bodies.
pub trait SpliceHead {
    /// Every inspectable text of the head.
    fn segments(&self) -> &[Segment];

    /// The head with the edits put in; all else unchanged.
    ///
    /// # Errors
    /// When an edit does not fit.
    fn splice(&self, edits: &[Edit]) -> Result<Head, SpliceError>;
}

/// A request that may go upstream: it went through inspect, decide and transform.
///
/// There is no way to make one but [`transform`](crate::transform()), and, where the policy spells
/// that uninspected requests pass, the two constructors that ask for that policy:
///
/// ```compile_fail,E0451
/// use cordon_policy::{Cleared, Head};
/// let head = Head { headers: Vec::new(), path_and_query: "/".into() };
/// let cleared = Cleared { body: Default::default(), head };
/// ```
///
/// ```compile_fail,E0599
/// let cleared = cordon_policy::Cleared::default();
/// ```
///
/// It cannot be copied, so one decision sends one request:
///
/// ```compile_fail,E0599
/// fn twice(cleared: cordon_policy::Cleared) -> (cordon_policy::Cleared, cordon_policy::Cleared) {
///     (cleared.clone(), cleared)
/// }
/// ```
///
/// A function that captures anything cannot rewrite it:
///
/// ```compile_fail,E0308
/// fn smuggle(cleared: cordon_policy::Cleared, secret: bytes::Bytes) {
///     let _ = cleared.translate(|_, ()| Ok::<_, ()>(secret.clone()), ());
/// }
/// ```
#[must_use = "a cleared request that goes nowhere is an exchange without an answer"]
pub struct Cleared {
    body: Bytes,
    head: Head,
}

impl Cleared {
    /// The only constructor inside: `transform` calls it, and the two below.
    pub(crate) fn new(body: Bytes, head: Head) -> Self {
        Self { body, head }
    }

    /// A request that no dialect describes, passed as it came; none unless the policy says
    /// `unknown: pass`.
    #[must_use]
    pub fn passed_uninspected(policy: &Policy, body: Bytes, head: Head) -> Option<Self> {
        (policy.unknown() == Unknown::Pass).then(|| Self::new(body, head))
    }

    /// A request whose inspection failed, passed as it came; none unless the policy spells
    /// `fail_open: true`.
    #[must_use]
    pub fn failed_open(policy: &Policy, body: Bytes, head: Head) -> Option<Self> {
        policy.fail_open().then(|| Self::new(body, head))
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Headers and target.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Gives body and head up, for sending.
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Head) {
        (self.body, self.head)
    }

    /// Rewrites the body into another dialect.
    ///
    /// `how` is a plain function, which captures nothing: what it makes comes from the cleared body
    /// and from `with`, which is meant for an endpoint and a name of a language model.
    ///
    /// # Errors
    /// Whatever `how` gives.
    pub fn translate<A, E>(self, how: fn(&Bytes, A) -> Result<Bytes, E>, with: A) -> Result<Self, E> {
        let body = how(&self.body, with)?;
        Ok(Self {
            body,
            head: self.head,
        })
    }
}

impl fmt::Debug for Cleared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleared")
            .field("body_bytes", &self.body.len())
            .field("head", &self.head)
            .finish()
    }
}
