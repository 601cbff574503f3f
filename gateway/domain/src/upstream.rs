use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an upstream stands, which is what policy cares about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamKind {
    /// Our own on-prem model process.
    Engine,
    /// An inference server in the building: vLLM, llama-server and the like.
    Cluster,
    /// A provider outside the building.
    Cloud,
}

impl UpstreamKind {
    /// The name used in policy files, metrics and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Cluster => "cluster",
            Self::Cloud => "cloud",
        }
    }
}

impl fmt::Display for UpstreamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
