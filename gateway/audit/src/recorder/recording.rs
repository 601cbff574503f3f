//! What is recorded in one go: entries that become durable together or not at all, each with what travels beside it.
//!
//! An attachment is opaque here: sealed payloads, wrapped keys, blind index values. It is no part of the entry and of no hash; it goes
//! through the spool and into the store with its entry, so that neither is there without the other. It has to be
//! sealed before it comes here, as the spool writes what it is given.
//!
//! Limits: 8 attachments an entry, [`MAX_ATTACHMENT_BYTES`](crate::MAX_ATTACHMENT_BYTES) each, none of them empty; the recorder refuses others.

use std::fmt;

use crate::record::{Body, TreeName};

/// Entries for one write. All of them belong into one tree.
pub struct Recording {
    pub(crate) tree: TreeName,
    pub(crate) items: Vec<Item>,
}

/// One entry to be.
pub(crate) struct Item {
    pub(crate) body: Body,
    pub(crate) attachments: Vec<Vec<u8>>,
}

impl Recording {
    /// One entry, in the default tree.
    #[must_use]
    pub fn of(body: Body) -> Self {
        Self {
            tree: TreeName::default(),
            items: vec![Item {
                body,
                attachments: Vec::new(),
            }],
        }
    }

    /// A further entry behind it, in the same write.
    #[must_use]
    pub fn and(mut self, body: Body) -> Self {
        self.items.push(Item {
            body,
            attachments: Vec::new(),
        });
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

    /// The tree to be recorded in. What belongs to an exchange that is open goes into that exchange's tree whatever is said here.
    #[must_use]
    pub fn in_tree(mut self, tree: TreeName) -> Self {
        self.tree = tree;
        self
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
