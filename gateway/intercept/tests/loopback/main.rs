//! This room end to end on loopback: real sockets, real TLS, a server's side that is a stand-in.

mod stage;

mod door_gateway;
mod door_proxy;
mod draining;
mod patience;
mod tunnels;
