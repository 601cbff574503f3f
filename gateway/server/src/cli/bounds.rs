//! What a child of our own takes upon itself before it touches what strangers sent: bounds on memory, processor time
//! and files, no cores, no new privileges, and no network where the platform lets it give that up.

/// Bounds on a process and its children.
pub(super) struct Bounds {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Seconds of processor time.
    pub(super) seconds: Option<u64>,
    /// Bytes of a file that it writes.
    pub(super) file: u64,
}

#[cfg(unix)]
pub(super) use of_unix::{become_program, take};

#[cfg(unix)]
mod of_unix {
    use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

    use anyhow::{Context, Result};
    use nix::sys::resource::{Resource, setrlimit};

    use super::Bounds;

    /// Files open at once.
    const FILES: u64 = 64;

    /// Takes bounds on what this process and its children may use.
    pub(in super::super) fn take(bounds: &Bounds) -> Result<()> {
        let always = [
            (Resource::RLIMIT_AS, bounds.memory),
            (Resource::RLIMIT_FSIZE, bounds.file),
            (Resource::RLIMIT_CORE, 0),
            (Resource::RLIMIT_NOFILE, FILES),
        ];
        let timed = bounds.seconds.map(|seconds| (Resource::RLIMIT_CPU, seconds));
        for (resource, most) in always.into_iter().chain(timed) {
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
    pub(in super::super) fn become_program<T>(program: &OsString, arguments: &[OsString]) -> Result<T> {
        let fault = Command::new(program).args(arguments).exec();
        Err(fault).context("the program cannot be started")
    }
}

#[cfg(not(unix))]
pub(super) fn take(_: &Bounds) -> anyhow::Result<()> {
    anyhow::bail!("files are not read in a child on this platform; set `files.isolate: false`")
}

#[cfg(not(unix))]
pub(super) fn become_program<T>(_: &std::ffi::OsString, _: &[std::ffi::OsString]) -> anyhow::Result<T> {
    anyhow::bail!("no program is run under bounds on this platform")
}
