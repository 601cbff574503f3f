//! The binary `cordon`: command line, configuration, and the pipeline that joins the rooms.

#![expect(
    unreachable_pub,
    reason = "a binary exports nothing; here `pub` says that neighbours may use an item"
)]

// In the order a request meets them.
mod cli;
mod config;
mod installation;
mod keys;
mod running;

mod accept;
mod bench;
mod gate;
mod metrics;
mod pipeline;
mod refusal;
mod rules;
mod serve;
mod site;
mod supervise;
mod upstream;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
