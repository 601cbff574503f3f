//! A scanned text: a flat list of values, each with its span, and the ways from one to another.

use std::{borrow::Cow, ops::Range};

use super::text;

/// What a node of the [`Tree`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    /// A member's name; its value is the next node.
    Key,
    String,
    Number,
    True,
    False,
    Null,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Of a string or key: whether it holds a backslash.
    pub(super) escaped: bool,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index of the first node behind this one and all within it.
    pub(super) past: u32,
}

/// A scanned text: its values in the order in which they are written.
pub(crate) struct Tree<'s> {
    pub(super) source: &'s str,
    pub(super) nodes: Vec<Node>,
}

impl Tree<'_> {
    /// The outermost value.
    pub(crate) fn root(&self) -> Value<'_> {
        Value::node_of(self.source, &self.nodes, 0)
    }

    /// How many values and keys there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// One value of a [`Tree`].
#[derive(Clone, Copy)]
pub(crate) struct Value<'t> {
    source: &'t str,
    nodes: &'t [Node],
    at: usize,
}

impl<'t> Value<'t> {
    /// The node of that index, also while the scan is under way.
    pub(super) fn node_of(source: &'t str, nodes: &'t [Node], at: usize) -> Self {
        Self { source, nodes, at }
    }

    fn node(&self) -> Node {
        self.nodes[self.at]
    }

    pub(crate) fn kind(&self) -> Kind {
        self.node().kind
    }

    /// Where the value lies in its source, quotes and brackets included.
    pub(crate) fn span(&self) -> Range<usize> {
        let node = self.node();
        node.start as usize..node.end as usize
    }

    /// The value as it is written.
    pub(crate) fn raw(&self) -> &'t str {
        &self.source[self.span()]
    }

    /// Of a string or key: where its content lies, without the quotes.
    pub(crate) fn content_span(&self) -> Range<usize> {
        let span = self.span();
        span.start + 1..span.end - 1
    }

    /// Of a string or key: the decoded text.
    pub(crate) fn text(&self) -> Option<Cow<'t, str>> {
        let node = self.node();
        if !matches!(node.kind, Kind::String | Kind::Key) {
            return None;
        }
        let content = &self.source[self.content_span()];
        Some(if node.escaped {
            Cow::Owned(text::unescape(content))
        } else {
            Cow::Borrowed(content)
        })
    }

    /// Of a string or key: the decoded text with the way back to the offsets it came from.
    pub(crate) fn decoded(&self) -> Option<(Cow<'t, str>, text::OffsetMap)> {
        let node = self.node();
        if !matches!(node.kind, Kind::String | Kind::Key) {
            return None;
        }
        let content = &self.source[self.content_span()];
        Some(if node.escaped {
            let (text, map) = text::unescape_mapped(content);
            (Cow::Owned(text), map)
        } else {
            (Cow::Borrowed(content), text::OffsetMap::default())
        })
    }

    /// Whether this is a string or key that reads `expected`.
    pub(crate) fn is_text(&self, expected: &str) -> bool {
        self.text().is_some_and(|text| text == expected)
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.kind() {
            Kind::True => Some(true),
            Kind::False => Some(false),
            _ => None,
        }
    }

    /// Of a number: its value, when it is a whole one that fits.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        (self.kind() == Kind::Number)
            .then(|| self.raw().parse().ok())
            .flatten()
    }

    /// Of an object: its keys with their values; nothing of other kinds.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Value<'t>, Value<'t>)> + use<'t> {
        let parent = *self;
        let node = parent.node();
        let past = if node.kind == Kind::Object {
            node.past as usize
        } else {
            0
        };
        let mut next = parent.at + 1;
        std::iter::from_fn(move || {
            (next < past).then(|| {
                let key = Value { at: next, ..parent };
                let value = Value {
                    at: next + 1,
                    ..parent
                };
                next = value.node().past as usize;
                (key, value)
            })
        })
    }

    /// Of an array: its items; nothing of other kinds.
    pub(crate) fn items(&self) -> impl Iterator<Item = Value<'t>> + use<'t> {
        let parent = *self;
        let node = parent.node();
        let past = if node.kind == Kind::Array {
            node.past as usize
        } else {
            0
        };
        let mut next = parent.at + 1;
        std::iter::from_fn(move || {
            (next < past).then(|| {
                let item = Value { at: next, ..parent };
                next = item.node().past as usize;
                item
            })
        })
    }

    /// Of an object: the value of the member with that name.
    pub(crate) fn get(&self, name: &str) -> Option<Value<'t>> {
        self.members()
            .find(|(key, _)| key.is_text(name))
            .map(|(_, value)| value)
    }

    /// The node after this one in writing order, stepping into containers.
    pub(crate) fn following(&self) -> Option<Value<'t>> {
        (self.at + 1 < self.nodes.len()).then_some(Value {
            at: self.at + 1,
            ..*self
        })
    }

    /// Whether `other` of the same tree lies within this container.
    pub(crate) fn contains(&self, other: &Value<'_>) -> bool {
        other.at > self.at && other.at < self.node().past as usize
    }
}
