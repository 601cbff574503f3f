//! What a web application's page says of itself becomes pseudonyms in its record.
//!
//! Where a page says it is the dialect file's to tell. Nothing here is verified, and nothing of it reaches a rule.

use cordon_audit::pseudonym;
use cordon_domain::Splice;
use http::HeaderMap;

use super::Draft;
use crate::{
    gate::Gate,
    pipeline::decode::{Content, Decoded},
};

impl Draft {
    /// Notes whom a web application's page says is signed in. The actor stays who was recognised.
    pub fn claims(&mut self, gate: &Gate, presented: &HeaderMap) {
        let values = |name: &str| {
            let all = presented.get_all(name).iter();
            all.filter_map(|value| value.to_str().ok().map(str::to_owned))
                .collect()
        };
        let claimed = self.shape.and_then(|shape| shape.claimed(&values));
        self.claims.user = claimed.map(|claimed| pseudonym(&gate.commitment_key, "claim", claimed.as_str()));
    }

    /// Notes which conversation the page goes on with.
    pub fn conversation(&mut self, gate: &Gate, decoded: &Decoded) {
        let segments = match &decoded.content {
            Content::Known(body) => body.segments(),
            _ => &[],
        };
        let id = self
            .shape
            .and_then(|shape| shape.conversation(&decoded.path, segments));
        self.claims.conversation = id.map(|id| pseudonym(&gate.commitment_key, "conversation", id.as_str()));
    }
}
