//! The audit's configuration: `audit` of the file.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;

/// How long records are kept, who vouches for them, and what of an exchange they hold.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Companies or departments whose records are kept apart, each in trees and under keys of its own. Whoever belongs to none is of the
    /// tenant `default`.
    pub tenants: BTreeMap<String, Tenant>,
    /// Days that records are kept, by retention class. `standard` is what routes get that name no class; it is kept for 400 days where it is not
    /// given here.
    pub retention: BTreeMap<String, u32>,
}

/// A company or a department whose records are kept apart.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// Groups whose members belong to it. Who is in groups of several tenants belongs to the first by name.
    pub groups: BTreeSet<String>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            tenants: BTreeMap::new(),
            retention: BTreeMap::from([("standard".to_owned(), 400)]),
        }
    }
}
