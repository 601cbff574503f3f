//! Servers to measure: this program, and llama.cpp's.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use hyper::StatusCode;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::talk;

/// No server takes longer to load small weights.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(5);

/// What both servers are to do alike.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) slots: u32,
    /// Tokens that a slot holds.
    pub(super) length: u32,
    pub(super) threads: u32,
}

/// A server that answers. It ends when this is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
    /// From its start until it was ready.
    pub(super) start: Duration,
}

impl Server {
    /// This program.
    pub(super) async fn ours(model: &Path, size: Size) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "--log",
                "warn",
                "--listen",
                "127.0.0.1:0",
                "--queue",
                "1024",
                "--model",
            ])
            .arg(model)
            .args([
                "--slots",
                &size.slots.to_string(),
                "--ctx",
                &size.length.to_string(),
            ])
            .args(["--threads", &size.threads.to_string()])
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let lines = child.stdout.take().context("its output is piped")?;
        let line = timeout(PATIENCE, BufReader::new(lines).lines().next_line())
            .await
            .context("this program does not get ready")??
            .context("this program ended before it was ready")?;
        let told: Value = serde_json::from_str(&line)?;
        let address = told["listening"]
            .as_str()
            .and_then(|url| url.strip_prefix("http://"));
        Ok(Self {
            child,
            address: address.context("no address")?.parse()?,
            start: begun.elapsed(),
        })
    }

    /// `llama-server` with its usual settings.
    pub(super) async fn theirs(program: &Path, model: &Path, size: Size) -> anyhow::Result<Self> {
        let address = free_address()?;
        let begun = Instant::now();
        let child = Command::new(program)
            .arg("--model")
            .arg(model)
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--parallel", &size.slots.to_string()])
            .args(["--ctx-size", &(size.slots * size.length).to_string()])
            .args(["--threads", &size.threads.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        while !matches!(talk::status(address, "/health").await, Ok(StatusCode::OK)) {
            ensure!(
                begun.elapsed() < PATIENCE,
                "{} does not get ready",
                program.display()
            );
            sleep(LOOK).await;
        }
        Ok(Self {
            child,
            address,
            start: begun.elapsed(),
        })
    }

    /// Memory that it holds, in bytes.
    pub(super) fn memory(&self) -> anyhow::Result<f64> {
        let id = self.child.id().context("the server ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let held = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"))
            .context("the system does not say how much memory a process has")?;
        Ok(held.trim().parse::<f64>()? * 1024.0)
    }
}

/// An address that nothing listens on at this moment.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
