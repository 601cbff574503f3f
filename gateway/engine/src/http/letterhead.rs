//! What all parts of one reply carry.

use time::OffsetDateTime;

use crate::models::Chosen;

/// Id, time and model of a reply.
#[derive(Clone, Debug)]
pub(super) struct Letterhead {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
}

impl Letterhead {
    /// For a reply that begins now; its id begins with `kind`.
    pub(super) fn new(kind: &str, model: &Chosen) -> Self {
        Self {
            id: format!("{kind}-{}", uuid::Uuid::now_v7().simple()),
            created: OffsetDateTime::now_utc().unix_timestamp(),
            model: model.name.to_string(),
        }
    }
}
