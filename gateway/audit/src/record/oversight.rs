//! What people do with the audit itself: search it, erase from it, hold it, and reveal what it keeps sealed.
//!
//! An operator stands here by name: whoever looks at others' records answers for it. Of whom they look at, only references and
//! blind values stand here.

use std::collections::BTreeMap;

use cordon_domain::{EntityType, ExchangeId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::commitment::Part;

/// Who works with the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The operating system's user whose process it is. That is what is known.
    pub user: String,
    /// Who they say that they are, where several share that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<String>,
}

impl Operator {
    /// The name that they go by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.claimed.as_deref().unwrap_or(&self.user)
    }
}

/// The audit was searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Searched {
    /// By whom.
    pub operator: Operator,
    /// What was asked for; users by their references.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
    /// Of a value that was looked up in the blind index: its type. The value is nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_of: Option<EntityType>,
}

/// A subject's keys are shredded: what was sealed under them cannot be opened any more. Keys that come in later and were made before are shredded too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// By whom.
    pub operator: Operator,
    /// Whose keys: a reference.
    pub subject: String,
    /// Tenants under which there were keys of theirs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Tenants under which there was none; one that comes in later and was made before is not taken in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<String>,
    /// Why.
    pub reason: String,
    /// Keys made until then, in milliseconds since 1970.
    pub until: u64,
}

impl Erased {
    /// Tenants that one record names at most, of each kind.
    pub const TENANTS: usize = 256;
}

/// An erasure was asked for and not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraseRefused {
    /// By whom it was asked for.
    pub operator: Operator,
    /// The tenant that it was asked for; absent when for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Who was to be erased: a reference.
    pub subject: String,
    /// Why it was asked for.
    pub reason: String,
    /// The hold that stands against it.
    pub hold: Uuid,
}

/// What a hold is laid on. All that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldScope {
    /// A subject: a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// An exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<ExchangeId>,
    /// Records from this time on, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Records before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Something is not to be erased or pruned until the hold is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPlaced {
    /// Its id.
    pub hold: Uuid,
    /// By whom.
    pub operator: Operator,
    /// Why.
    pub reason: String,
    /// On what.
    pub scope: HoldScope,
}

/// A hold ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReleased {
    /// Its id.
    pub hold: Uuid,
    /// By whom.
    pub operator: Operator,
    /// Why.
    pub reason: String,
}

/// What is to be revealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sealed {
    /// What is kept of an exchange.
    Payload {
        /// Which.
        exchange: ExchangeId,
        /// Which part of it.
        part: Part,
    },
    /// Whom a reference stands for.
    Name {
        /// Whose subject it is.
        tenant: String,
        /// The reference.
        subject: String,
    },
}

/// Somebody asks to see something that is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevealRequested {
    /// The request's id.
    pub reveal: Uuid,
    /// Who asks.
    pub operator: Operator,
    /// Why.
    pub reason: String,
    /// For what.
    pub of: Sealed,
    /// Until when it may be opened, in milliseconds since 1970.
    pub expires_at: u64,
}

/// An approver agrees that it be revealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevealApproved {
    /// The request's id.
    pub reveal: Uuid,
    /// Whose process it came by.
    pub operator: Operator,
    /// The approver's signature over the request's record, as a line of a signed note. It names the approver.
    pub signature: String,
}

/// Something that was sealed is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revealed {
    /// The request's id.
    pub reveal: Uuid,
    /// To whom.
    pub operator: Operator,
    /// Who approved.
    pub approvers: Vec<String>,
}
