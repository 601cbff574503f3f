//! `cordon read-file`: what a file says, for the gateway's own use; see [`crate::files`].
//!
//! It takes [`bounds`] upon itself before it touches the file. Then it reads the file, or becomes another program
//! under the same bounds.

use std::{
    ffi::OsString,
    io::{BufRead, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use cordon_inspect::document;

use super::bounds::{self, Bounds};
use crate::files::{Report, Request};

#[derive(Args)]
pub struct ReadFile {
    /// Bytes of memory.
    #[arg(long, value_name = "BYTES")]
    memory: u64,
    /// Seconds of processor time.
    #[arg(long, value_name = "N")]
    seconds: u64,
    /// A program to become, with its arguments.
    #[arg(last = true, value_name = "PROGRAM")]
    becomes: Vec<OsString>,
}

impl ReadFile {
    pub fn run(self) -> Result<ExitCode> {
        bounds::take(&Bounds {
            memory: self.memory,
            seconds: Some(self.seconds),
            file: 0,
        })?;
        if let Some((program, arguments)) = self.becomes.split_first() {
            return bounds::become_program(program, arguments);
        }
        let mut stdin = std::io::stdin().lock();
        let mut asked = String::new();
        stdin.read_line(&mut asked)?;
        let request: Request = serde_json::from_str(&asked).context("no request")?;
        let limits: document::Limits = request.limits.into();
        let mut bytes = Vec::new();
        stdin.take(limits.bytes_in as u64 + 1).read_to_end(&mut bytes)?;
        let report = Report::of(document::extract(&request.name, &bytes, &limits));
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        serde_json::to_writer(&mut out, &report)?;
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
