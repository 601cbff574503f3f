use std::sync::Arc;

use cordon_domain::{Actor, Dialect, Door, Role, UpstreamKind};

/// An upstream of the configuration, as far as policy cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name in the configuration, which routes and records use.
    pub name: Arc<str>,
    /// Where it stands.
    pub kind: UpstreamKind,
}

/// The files of a request, as far as conditions ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files<'a> {
    /// How many there are.
    pub count: usize,
    /// How many of them could not be read, or not all of them.
    pub unread: usize,
    /// What they are, each kind once: `pdf`, `docx`, `picture`, ...
    pub kinds: &'a [&'a str],
}

/// What is known about an exchange when it is decided, besides the findings.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub actor: &'a Actor,
    /// The wire format of the request.
    pub dialect: Dialect,
    /// The listener it came in by.
    pub door: Door,
    /// The intercepted host; none at the gateway. Conditions see an empty text then.
    pub host: Option<&'a str>,
    /// HTTP method.
    pub method: &'a str,
    /// Path without the query.
    pub path: &'a str,
    /// The model name that the request asks for. Conditions see an empty text when there is none.
    pub model: Option<&'a str>,
    /// The upstream that the caller addressed, where it addressed one.
    pub requested: Option<&'a Upstream>,
    /// All upstreams of the configuration; the first of kind engine is `engine`.
    pub upstreams: &'a [Upstream],
    /// The role of each segment that findings index: the body's segments, then the head's. A rule
    /// that asks for roles blocks a finding whose segment has none here.
    pub roles: &'a [Role],
    /// Ids of the policy's questions that were to be asked and have no answer.
    pub unanswered: &'a [Arc<str>],
    /// The files of the request.
    pub files: Files<'a>,
    /// Ids of the `coach` rules that the caller acknowledges, joined by commas: the value of the
    /// header [`ACKNOWLEDGE_HEADER`](crate::ACKNOWLEDGE_HEADER).
    pub acknowledged: Option<&'a str>,
}

impl Facts<'_> {
    /// Whether the caller acknowledged the rule of that id.
    pub(crate) fn acknowledges(&self, rule: &str) -> bool {
        self.acknowledged
            .is_some_and(|named| named.split(',').any(|id| id.trim() == rule))
    }

    /// The upstream that `engine` means.
    pub(crate) fn engine(&self) -> Option<&Upstream> {
        self.upstreams.iter().find(|u| u.kind == UpstreamKind::Engine)
    }
}
