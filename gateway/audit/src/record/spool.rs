//! What the spool says of itself: that it lives, and that somebody touched its files.

use serde::{Deserialize, Serialize};

/// The gateway is there, and so is its audit. One comes every [`interval_seconds`](Self::interval_seconds), so that silence shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// How long until the next one.
    pub interval_seconds: u64,
    /// Records that the store did not have yet.
    pub depth: u64,
    /// Asks to record something that were refused since the process started. What depended on them was refused too.
    pub refused: u64,
    /// Writes and syncs that failed since the process started.
    pub write_failures: u64,
}

/// A file of the spool was not in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolTampered {
    /// What became of it.
    pub what: Tampering,
    /// The segment's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u64>,
    /// The first record that it held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sequence: Option<u64>,
    /// The last record that it held; none when it held none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// Whether all that had been acknowledged in it was put back. Of a directory that was moved nothing is: its files are in it.
    pub restored: bool,
}

/// What somebody did to the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tampering {
    /// A segment's name leads nowhere.
    SegmentRemoved,
    /// A segment's name leads to another file.
    SegmentReplaced,
    /// The directory's name leads nowhere, or to another directory.
    DirectoryMoved,
}

impl Tampering {
    /// The name in records and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SegmentRemoved => "segment_removed",
            Self::SegmentReplaced => "segment_replaced",
            Self::DirectoryMoved => "directory_moved",
        }
    }
}
