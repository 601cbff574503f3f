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
    /// Where a record has to be before anything that depends on it goes on: in the spool on this machine (`local`), or in PostgreSQL as well
    /// (`local+postgres`). With the second, requests are refused while PostgreSQL is away.
    pub durability: Durability,
    /// With `local+postgres`: seconds that PostgreSQL may take for a record before what depends on it is refused.
    #[schemars(range(min = 1, max = 300))]
    pub store_wait_seconds: u64,
    /// A heartbeat is recorded every so many seconds, so that a silence in the audit shows.
    #[schemars(range(min = 1, max = 86400))]
    pub heartbeat_seconds: u64,
}

impl Audit {
    /// What cannot be, each by its key.
    pub(super) fn faults(&self, store: &str) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.durability == Durability::LocalAndPostgres && store == "sqlite" {
            faults.push((
                "durability",
                "`audit.durability: local+postgres` needs a postgres:// URL as `store`".to_owned(),
            ));
        }
        for (key, seconds, most) in [
            ("store_wait_seconds", self.store_wait_seconds, 300),
            ("heartbeat_seconds", self.heartbeat_seconds, 86_400),
        ] {
            if !(1..=most).contains(&seconds) {
                faults.push((key, format!("`audit.{key}` must be 1 to {most}")));
            }
        }
        faults
    }
}

/// Where a record has to be before anything that depends on it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Durability {
    /// In the spool on this machine.
    #[default]
    #[serde(rename = "local")]
    Local,
    /// In PostgreSQL too.
    #[serde(rename = "local+postgres")]
    LocalAndPostgres,
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
            durability: Durability::Local,
            store_wait_seconds: 5,
            heartbeat_seconds: 60,
        }
    }
}
