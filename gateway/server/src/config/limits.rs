//! Limits on what is read and how long is waited: the `limits` of the configuration.

use std::time::Duration;

use cordon_intercept::{ListenerLimits, Pace};
use schemars::JsonSchema;
use serde::Deserialize;

/// Limits on what is read and how long is waited.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request body, decoded.
    pub body_bytes: usize,
    /// Bytes of a reply that is not streamed.
    pub reply_bytes: usize,
    /// How much larger than its encoded form a body may be.
    pub expansion_ratio: usize,
    /// Depth of nested JSON.
    pub json_depth: usize,
    /// Texts in one body. JSON values, keys among them, are bounded at eight times as many.
    pub segments: usize,
    /// Exchanges under way at once; more get 503.
    pub exchanges: usize,
    /// Exchanges of one actor under way at once; more get 429.
    pub exchanges_per_actor: usize,
    /// Tunnels open at once.
    pub tunnels: usize,
    /// Tunnels of one actor open at once; more get 429.
    pub tunnels_per_actor: usize,
    /// WebSockets open at once.
    pub sockets: usize,
    /// WebSockets of one actor open at once; more get 429.
    pub sockets_per_actor: usize,
    /// Connections open at once at each listener; more wait in the kernel.
    pub connections: usize,
    /// Connections of one address (of one /64 of IPv6) open at once at each listener; more get 429 or are closed.
    /// Raise it where callers come through one balancer.
    pub connections_per_address: usize,
    /// Seconds for a caller's TLS handshake.
    pub handshake_seconds: u64,
    /// Seconds that a new connection may take until the first byte of its request.
    pub first_byte_seconds: u64,
    /// Seconds for a request's head, from its first byte.
    pub header_seconds: u64,
    /// Seconds that a connection may rest between two requests.
    pub keep_alive_seconds: u64,
    /// Seconds that a caller may refuse to take bytes that are ready for it.
    pub write_stall_seconds: u64,
    /// Bytes of a request's head; 8192 at least.
    pub header_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of a request's target.
    pub uri_bytes: usize,
    /// Requests of one connection; it is closed in good order after the last.
    pub requests_per_connection: u64,
    /// Streams of HTTP/2 at once on one connection.
    pub streams: u32,
    /// Streams of HTTP/2 that a caller may open and reset before they are looked at.
    pub pending_resets: usize,
    /// Faulty streams of HTTP/2 that are answered by a reset before their connection is closed.
    pub stream_errors: usize,
    /// Requests of one connection that a caller may give up within a minute before they are answered.
    pub given_up_per_minute: u32,
    /// Frames of HTTP/2 within a minute that ask for nothing (SETTINGS, PING and the like) before their connection is closed; two
    /// more for each frame of DATA that the caller was sent.
    pub control_frames_per_minute: u32,
    /// Seconds that a request's body may take to begin, rest, or lag behind `body_bytes_per_second`.
    pub body_grace_seconds: u64,
    /// The slowest rate of a request's body, once that time is used up.
    pub body_bytes_per_second: u64,
    /// Seconds to connect to an upstream.
    pub connect_seconds: u64,
    /// Seconds until an upstream begins its reply.
    pub reply_seconds: u64,
    /// Seconds without a byte of a reply or a stream.
    pub idle_seconds: u64,
    /// Seconds that a streamed reply may take in all.
    pub stream_seconds: u64,
    /// Seconds that streams get to end at shutdown.
    pub drain_seconds: u64,
    /// Bytes of records waiting on disk for the store, 33554432 at least; past it requests get 503.
    pub spool_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            reply_bytes: 32 << 20,
            expansion_ratio: 200,
            json_depth: 64,
            segments: 100_000,
            exchanges: 1024,
            exchanges_per_actor: 256,
            tunnels: 4096,
            tunnels_per_actor: 1024,
            sockets: 1024,
            sockets_per_actor: 64,
            connections: 4096,
            connections_per_address: 1024,
            handshake_seconds: 10,
            first_byte_seconds: 20,
            header_seconds: 20,
            keep_alive_seconds: 120,
            write_stall_seconds: 60,
            header_bytes: 64 << 10,
            headers: 100,
            uri_bytes: 16 << 10,
            requests_per_connection: 10_000,
            streams: 128,
            pending_resets: 20,
            stream_errors: 256,
            given_up_per_minute: 200,
            control_frames_per_minute: 10_000,
            body_grace_seconds: 30,
            body_bytes_per_second: 1024,
            connect_seconds: 10,
            reply_seconds: 600,
            idle_seconds: 300,
            stream_seconds: 3600,
            drain_seconds: 30,
            spool_bytes: 4 << 30,
        }
    }
}

impl Limits {
    /// Time without a byte of a reply or a stream.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    /// How fast a request's body must come in.
    pub fn pace(&self) -> Pace {
        let grace = Duration::from_secs(self.body_grace_seconds);
        Pace {
            idle: grace,
            grace,
            bytes_a_second: self.body_bytes_per_second,
        }
    }

    /// Those that hold at the listeners.
    pub fn of_listeners(&self) -> ListenerLimits {
        ListenerLimits {
            max_connections: self.connections,
            max_per_address: self.connections_per_address,
            handshake: Duration::from_secs(self.handshake_seconds),
            first_byte: Duration::from_secs(self.first_byte_seconds),
            header_read: Duration::from_secs(self.header_seconds),
            idle: Duration::from_secs(self.keep_alive_seconds),
            write_stall: Duration::from_secs(self.write_stall_seconds),
            max_header_bytes: self.header_bytes,
            max_headers: self.headers,
            max_uri_bytes: self.uri_bytes,
            max_requests: self.requests_per_connection,
            max_streams: self.streams,
            max_pending_resets: self.pending_resets,
            max_stream_errors: self.stream_errors,
            max_given_up: self.given_up_per_minute,
            max_control_frames: self.control_frames_per_minute,
            drain: Duration::from_secs(self.drain_seconds),
            ..ListenerLimits::default()
        }
    }

    /// The keys that must not be nought: with one of them nothing at all would be let through.
    pub(super) fn at_least_one(&self) -> [(&'static str, bool); 24] {
        [
            ("body_bytes", self.body_bytes > 0),
            ("reply_bytes", self.reply_bytes > 0),
            ("json_depth", self.json_depth > 0),
            ("segments", self.segments > 0),
            ("exchanges", self.exchanges > 0),
            ("exchanges_per_actor", self.exchanges_per_actor > 0),
            ("tunnels_per_actor", self.tunnels_per_actor > 0),
            ("expansion_ratio", self.expansion_ratio > 0),
            ("connections", self.connections > 0),
            ("connections_per_address", self.connections_per_address > 0),
            ("handshake_seconds", self.handshake_seconds > 0),
            ("first_byte_seconds", self.first_byte_seconds > 0),
            ("header_seconds", self.header_seconds > 0),
            ("keep_alive_seconds", self.keep_alive_seconds > 0),
            ("write_stall_seconds", self.write_stall_seconds > 0),
            ("header_bytes", self.header_bytes > 0),
            ("headers", self.headers > 0),
            ("uri_bytes", self.uri_bytes > 0),
            ("requests_per_connection", self.requests_per_connection > 0),
            ("streams", self.streams > 0),
            ("given_up_per_minute", self.given_up_per_minute > 0),
            ("control_frames_per_minute", self.control_frames_per_minute > 0),
            ("body_grace_seconds", self.body_grace_seconds > 0),
            ("body_bytes_per_second", self.body_bytes_per_second > 0),
        ]
    }
}
