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
mod audit_room;
mod bench;
mod delivery;
mod files;
mod gate;
mod metrics;
mod negotiate;
mod offload;
mod pipeline;
mod questions;
mod refusal;
mod rules;
mod serve;
mod site;
mod supervise;
mod traces;
mod trust;
mod upstream;
mod vault;
mod vouching;

use std::{io::Write as _, process::ExitCode};

use clap::Parser;

/// A request makes and drops hundreds of small values, often on another thread than the one that made them, which the
/// system's allocator is slow at; docs/performance.md has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // A panic's message can quote the text that it stumbled over, so only its place is told.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        // Where there is nobody to tell, there is nothing more to do.
        let _ = writeln!(
            std::io::stderr(),
            "cordon: a defect: something panicked at {place}"
        );
    }));
    cli::Cli::parse().run()
}
