//! The machine as the benchmark uses it: which cores, how many files, and what `/proc` says of a process.
//!
//! On failure: without `taskset` or `prlimit` (both of util-linux) nothing is pinned or raised, and the report
//! says so; a figure that `/proc` does not give is 0.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Result;

/// Linux counts CPU time in hundredths of a second for user space, whatever its tick.
const TICKS_A_SECOND: f64 = 100.0;
/// Files that load and program may have open: 10,000 tunnels take two in each.
const FILES: u64 = 1 << 16;

/// Which cores the program under measurement has, and which the load.
pub struct Cores {
    program: Option<String>,
}

impl Cores {
    /// Leaves the first core to programs and takes the others, where there are two or more. Threads that were
    /// started before keep theirs, so this comes first.
    pub fn divide() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let own = std::process::id().to_string();
        let others = format!("1-{}", cores.max(2) - 1);
        let pinned = cores > 1 && quietly("taskset", &["-pc", &others, &own]);
        Self {
            program: pinned.then(|| "0".to_owned()),
        }
    }

    /// Whether program and load have cores of their own.
    pub fn apart(&self) -> bool {
        self.program.is_some()
    }

    /// The command that runs a program on its core.
    pub fn command(&self, program: &Path) -> tokio::process::Command {
        match &self.program {
            Some(core) => {
                let mut command = tokio::process::Command::new("taskset");
                command.args(["-c", core]).arg(program);
                command
            }
            None => tokio::process::Command::new(program),
        }
    }
}

/// Raises the number of files that this process and those that it starts may open; gives what it is then.
pub fn files() -> u64 {
    let own = std::process::id().to_string();
    let own_limit = || {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let line = limits.lines().find(|line| line.starts_with("Max open files"));
        line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
            .unwrap_or(1024)
    };
    if own_limit() < FILES {
        quietly("prlimit", &["--pid", &own, &format!("--nofile={FILES}:{FILES}")]);
    }
    own_limit()
}

fn quietly(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// CPU time that a process has used, in seconds.
pub fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in brackets may hold blanks: fields count from behind it (proc(5): 14 and 15).
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    fields.iter().sum::<f64>() / TICKS_A_SECOND
}

/// Resident memory of a process now, in MB.
pub fn memory(process: u32) -> f64 {
    status(process, "VmRSS:")
}

/// The most resident memory of a process since [`forget_peak`], in MB.
pub fn peak_memory(process: u32) -> f64 {
    status(process, "VmHWM:")
}

/// Starts the peak over again.
pub fn forget_peak(process: u32) {
    // Where it is not permitted the peak is that since the process began, which is no less.
    let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
}

fn status(process: u32, what: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default();
    kilobytes / 1024.0
}

/// How long the disk under a folder takes to make a kilobyte durable: half of the times, and all but one in a hundred.
pub fn sync_milliseconds(folder: &Path) -> Result<(f64, f64)> {
    use std::os::unix::fs::FileExt;

    let file = tempfile::tempfile_in(folder)?;
    file.write_all_at(&vec![0; 1 << 20], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for turn in 0..200 {
        let started = Instant::now();
        file.write_all_at(&[1; 1024], turn * 1024)?;
        file.sync_data()?;
        times.push(started.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    times.sort_unstable();
    let at = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1000.0);
    Ok((at(99), at(197)))
}
