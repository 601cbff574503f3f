//! Every limit of a listener in one place, with defaults that suit a company of some thousand people.

use std::time::Duration;

/// Limits of one listener and the connections that come in by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections open at a time; beyond it new ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// Connections open at a time from one address (from one /64 of IPv6); beyond it new ones are told so and
    /// closed.
    pub max_per_address: usize,
    /// Time for a TLS handshake, from its first byte awaited to its last.
    pub handshake: Duration,
    /// Time that a new connection may take until a request's first byte.
    pub first_byte: Duration,
    /// Time for a request's header on HTTP/1, from its first byte.
    pub header_read: Duration,
    /// Time that a connection may stay open with no exchange on it.
    pub idle: Duration,
    /// Time that a caller may refuse to take bytes that are ready for it.
    pub write_stall: Duration,
    /// Bytes of a request's header, start line included. At least 8192 are granted.
    pub max_header_bytes: usize,
    /// Header fields of a request.
    pub max_headers: usize,
    /// Bytes of a request's target.
    pub max_uri_bytes: usize,
    /// Requests of one connection; the last is answered, then the connection is closed in good order.
    pub max_requests: u64,
    /// Concurrent exchanges on one HTTP/2 connection.
    pub max_streams: u32,
    /// Streams of HTTP/2 that a caller may open and reset before we have so much as looked at them.
    pub max_pending_resets: usize,
    /// Streams of HTTP/2 that we reset for a caller's faults before its connection is closed.
    pub max_stream_errors: usize,
    /// Requests of one connection that a caller may give up within a minute, before they are answered.
    pub max_given_up: u32,
    /// Frames of HTTP/2 within a minute that ask for nothing; two more for each frame of DATA that was sent.
    pub max_control_frames: u32,
    /// How often a silent HTTP/2 peer is pinged, and how long it may take to answer.
    pub ping: Duration,
    /// Time that exchanges in flight get to finish at shutdown.
    pub drain: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_per_address: 1024,
            handshake: Duration::from_secs(10),
            first_byte: Duration::from_secs(20),
            header_read: Duration::from_secs(20),
            idle: Duration::from_secs(120),
            write_stall: Duration::from_secs(60),
            max_header_bytes: 64 * 1024,
            max_headers: 100,
            max_uri_bytes: 16 * 1024,
            max_requests: 10_000,
            max_streams: 128,
            max_pending_resets: 20,
            max_stream_errors: 256,
            max_given_up: 200,
            max_control_frames: 10_000,
            ping: Duration::from_secs(30),
            drain: Duration::from_secs(60),
        }
    }
}
