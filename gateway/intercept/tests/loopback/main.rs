//! This room end to end on loopback: real sockets, real TLS, a server's side that is a stand-in.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails its test")]

mod stage;

mod door_gateway;
mod door_proxy;
mod draining;
mod patience;
mod tunnels;
mod websockets;
