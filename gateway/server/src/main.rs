//! The binary `cordon`: command line, configuration, and the pipeline that joins the rooms.

#![expect(unreachable_pub, reason = "a binary exports nothing; here `pub` says that neighbours may use an item")]

// In the order a request meets them.
mod cli;
mod config;
mod installation;
mod keys;
mod running;

mod serve;
mod accept;
mod gate;
mod pipeline;
mod rules;
mod refusal;
mod upstream;
mod supervise;
mod metrics;
mod site;
mod bench;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
