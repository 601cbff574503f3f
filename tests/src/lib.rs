//! What the end-to-end tests are made of. The tests themselves are in `tests/tests/`, one file a
//! promise of Cordon's.
//!
//! - [`cordon`] runs the real binary in a folder of its own, kills it, starts it again.
//! - [`database`] is a PostgreSQL database of a test's own, with roles.
//! - [`upstream`] is a provider behind TLS that keeps every byte it got; [`replies`] are what it says.
//! - [`engine`] is the one on-prem model process that all tests of a file share.
//! - [`coverage`] has a request of each dialect with a mark in each position.
//! - [`caller`] speaks HTTP through Cordon's doors; [`events`] reads what comes back.
//! - [`documents`] writes files as office programs, mailers and cameras do.
//! - [`encodings`] compresses bodies as servers do.
//! - [`sockets`] speaks WebSocket through the doors, by a library that is not Cordon's.
//! - [`calls`] is a service of gRPC by the package of that name, and its calls.
//! - [`kdc`] is a key distribution centre of Kerberos, with users and services.
//! - [`syslog`] is a receiver of syslog, and a strict reader of what it got.
//! - [`namespaces`] puts a test into a network of its own, with callers behind a router.
//! - [`program`] runs client programs that we did not write, in an environment that holds nothing else.
//!
//! Nothing here names one of Cordon's crates: the tests see what a user sees.

pub mod caller;
pub mod calls;
pub mod cordon;
pub mod coverage;
pub mod database;
pub mod documents;
pub mod encodings;
pub mod engine;
pub mod events;
pub mod frames;
pub mod kdc;
pub mod namespaces;
pub mod program;
pub mod providers;
pub mod replies;
pub mod scene;
pub mod sockets;
pub mod syslog;
pub mod tls;
pub mod upstream;

mod places;

pub use places::Places;
