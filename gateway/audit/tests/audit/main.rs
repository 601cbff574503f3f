//! The audit room against real databases: SQLite files, and the PostgreSQL that `DATABASE_URL` names (by
//! default one on this machine, database `test`), each test in a schema of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot set its database up has failed, and says where"
)]

mod apart;
mod databases;
mod durability;
mod exporting;
mod feeding;
mod holds;
mod keys;
mod killing;
mod mutations;
mod outages;
mod pruning;
mod relay;
mod searching;
mod shipping;
mod tampering;
mod trees;
