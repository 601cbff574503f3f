//! What is recorded in one go: entries that become durable together or not at all, each with what travels beside it.
//!
//! An attachment is opaque here: sealed payloads, wrapped keys, blind index values. It is no part of the entry and of no hash; it goes
//! through the spool and into the store with its entry, so that neither is there without the other. The
//! spool writes what it is given, so payloads are sealed by the recorder before they get there.
//!
//! Limits: 8 attachments an entry, [`MAX_ATTACHMENT_BYTES`](crate::MAX_ATTACHMENT_BYTES) each, none of them empty; the recorder refuses others.

use std::{fmt, sync::Arc};

use cordon_domain::Actor;

use crate::{
    payload::Payload,
    record::{Body, NamedKey, TreeName},
};

/// Entries for one write. All of them belong into one tree.
pub struct Recording {
    pub(crate) tree: TreeName,
    pub(crate) items: Vec<Item>,
    /// Whose payloads these are, where the entry does not tell.
    pub(crate) actor: Option<Arc<Actor>>,
}

/// One entry to be.
pub(crate) struct Item {
    pub(crate) body: Body,
    pub(crate) attachments: Vec<Vec<u8>>,
    /// What is still to be sealed.
    pub(crate) payload: Option<Payload>,
    /// The key that is named in the entry.
    pub(crate) key: Option<Box<NamedKey>>,
}

impl Item {
    fn of(body: Body) -> Self {
        Self {
            body,
            attachments: Vec::new(),
            payload: None,
            key: None,
        }
    }
}

impl Recording {
    /// One entry, in the default tree.
    #[must_use]
    pub fn of(body: Body) -> Self {
        Self {
            tree: TreeName::default(),
            items: vec![Item::of(body)],
            actor: None,
        }
    }

    /// A further entry behind it, in the same write.
    #[must_use]
    pub fn and(mut self, body: Body) -> Self {
        self.items.push(Item::of(body));
        self
    }

    /// Sealed bytes that travel with the last entry.
    #[must_use]
    pub fn attach(mut self, attachment: Vec<u8>) -> Self {
        if let Some(item) = self.items.last_mut() {
            item.attachments.push(attachment);
        }
        self
    }

    /// A part of the exchange that the last entry speaks of. It is sealed before it is written, under the key of the entry's actor, or of the
    /// one that [`of_actor`](Self::of_actor) names.
    #[must_use]
    pub fn keep(mut self, payload: Payload) -> Self {
        if let Some(item) = self.items.last_mut() {
            item.payload = Some(payload);
        }
        self
    }

    /// Whose exchange it is.
    #[must_use]
    pub fn of_actor(mut self, actor: Arc<Actor>) -> Self {
        self.actor = Some(actor);
        self
    }

    /// The tree to be recorded in. What belongs to an exchange that is open goes into that exchange's tree whatever is said here.
    #[must_use]
    pub fn in_tree(mut self, tree: TreeName) -> Self {
        self.tree = tree;
        self
    }

    pub(crate) fn has_payload(&self) -> bool {
        self.items.iter().any(|item| item.payload.is_some())
    }

    /// Bytes of all attachments.
    pub(crate) fn attached(&self) -> usize {
        let attachments = self.items.iter().flat_map(|item| &item.attachments);
        attachments.map(Vec::len).sum()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.items.iter().map(|item| item.body.kind()).collect();
        f.debug_struct("Recording")
            .field("tree", &self.tree)
            .field("kinds", &kinds)
            .field("attached_bytes", &self.attached())
            .finish()
    }
}
