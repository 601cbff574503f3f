//! `cordon read-file`: what a file says, for the gateway's own use; see [`crate::files`].
//!
//! It takes bounds upon itself before it touches the file, and gives up what it does not need: files, cores,
//! new privileges, and the network where the platform lets it. Then it reads the file, or becomes another
//! program under the same bounds.

use std::{
    ffi::OsString,
    io::{BufRead, Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use cordon_inspect::document;

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
        bounds::take(self.memory, self.seconds)?;
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

#[cfg(unix)]
mod bounds {
    use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

    use anyhow::{Context, Result};
    use nix::sys::resource::{Resource, setrlimit};

    /// Files open at once.
    const FILES: u64 = 64;

    /// Takes bounds on what this process and its children may use.
    pub(super) fn take(memory: u64, seconds: u64) -> Result<()> {
        for (resource, most) in [
            (Resource::RLIMIT_AS, memory),
            (Resource::RLIMIT_CPU, seconds),
            (Resource::RLIMIT_FSIZE, 0),
            (Resource::RLIMIT_CORE, 0),
            (Resource::RLIMIT_NOFILE, FILES),
        ] {
            setrlimit(resource, most, most).context("no bounds could be set")?;
        }
        isolate();
        Ok(())
    }

    /// Gives up what can be given up: new privileges, and the network. In a container the latter is often
    /// not allowed.
    #[cfg(target_os = "linux")]
    fn isolate() {
        use nix::sched::{CloneFlags, unshare};
        let _ = nix::sys::prctl::set_no_new_privs();
        let _ = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
    }

    #[cfg(not(target_os = "linux"))]
    fn isolate() {}

    /// Does not come back, unless the program cannot be started.
    pub(super) fn become_program<T>(program: &OsString, arguments: &[OsString]) -> Result<T> {
        let fault = Command::new(program).args(arguments).exec();
        Err(fault).context("the program cannot be started")
    }
}

#[cfg(not(unix))]
mod bounds {
    use std::ffi::OsString;

    use anyhow::{Result, bail};

    pub(super) fn take(_: u64, _: u64) -> Result<()> {
        bail!("files are not read in a child on this platform; set `files.isolate: false`")
    }

    pub(super) fn become_program<T>(_: &OsString, _: &[OsString]) -> Result<T> {
        bail!("no program is run under bounds on this platform")
    }
}
