//! `cordon-engine`: answers chat requests from a language model on this machine.
//!
//! A process of its own, so that a fault in C++ code drops nobody's TLS session. It loads one GGUF
//! file, serves several conversations at once from one llama.cpp context, and speaks OpenAI's chat
//! dialect on loopback or a Unix socket. It knows no policy, no identity and no audit: whoever can
//! reach its socket is answered, so keep the socket private (`cordon serve` does).
//!
//! Top down: [`args`] what can be asked for; [`process`] environment, signals, parent; [`serve`]
//! from nothing to ready to drained; [`http`] the endpoints; [`chat`] a request's meaning;
//! [`prompt`] chat to tokens; [`scheduler`] who is decoded when; [`form`] answers in a set form;
//! [`models`] which are in memory; [`weights`] a model's file.
//!
//! On failure: before ready, one line on stderr and exit code 2; afterwards an OpenAI error object
//! per request, and exit code 1 if the decode thread is lost, so that the supervisor starts anew.

mod args;
mod process;

mod serve;

mod http;

mod chat;
mod failure;

mod prompt;

mod form;

mod embedder;

mod scheduler;

mod speech;

mod weights;

mod models;

mod bench;
mod gauges;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Command, Invocation};

fn main() -> ExitCode {
    process::settle_openmp();
    let invocation = Invocation::parse();
    let usual = if invocation.command.is_some() {
        "warn"
    } else {
        "info,llama-cpp-2=warn"
    };
    process::start_logs(&invocation.logs, usual);
    let outcome = match invocation.command {
        Some(Command::Bench(bench)) => bench::run(&bench),
        None => serve::run(invocation.serve),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cordon-engine: {error:#}");
            ExitCode::from(2)
        }
    }
}
