//! Every limit of a listener in one place, with defaults that suit a company of some thousand people.

use std::time::Duration;

/// Limits of one listener and the connections that come in by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections open at a time; beyond it new ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// Time for a TLS handshake, from its first byte awaited to its last.
    pub handshake: Duration,
    /// Time for a request's header on HTTP/1, from its first byte (on a new connection, from accept).
    pub header_read: Duration,
    /// Time that a connection may stay open with no exchange on it.
    pub idle: Duration,
    /// Time that a caller may refuse to take bytes that are ready for it.
    pub write_stall: Duration,
    /// Bytes of a request's header, start line included. At least 8192 are granted.
    pub max_header_bytes: usize,
    /// Header fields of a request on HTTP/1.
    pub max_headers: usize,
    /// Concurrent exchanges on one HTTP/2 connection.
    pub max_streams: u32,
    /// How often a silent HTTP/2 peer is pinged, and how long it may take to answer.
    pub ping: Duration,
    /// Time that exchanges in flight get to finish at shutdown.
    pub drain: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            handshake: Duration::from_secs(10),
            header_read: Duration::from_secs(20),
            idle: Duration::from_secs(120),
            write_stall: Duration::from_secs(60),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_streams: 128,
            ping: Duration::from_secs(30),
            drain: Duration::from_secs(60),
        }
    }
}
