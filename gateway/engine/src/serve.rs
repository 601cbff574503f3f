//! From nothing to ready to drained.
//!
//! The address is taken first, so that a conflict shows at once and probes can tell loading from
//! absent; then the weights are loaded; then one line on standard output says where to connect.
//! SIGTERM (or SIGINT) stops taking connections, lets answers in progress and in the queue finish
//! within `--drain`, and exits 0. A second signal, or the parent's death, ends at the next step.
//!
//! Limits: [`CONNECTIONS`] at once; a request's head within [`HEAD_TIME`].
//!
//! On failure: cannot listen or load: an error, exit code 2. Decode thread lost: exit code 1.

use std::{
    io::Write as _,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
    signal::unix::{Signal, SignalKind, signal},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    args::Serve,
    gauges::Gauges,
    http::{self, Desk},
    models::Models,
    process,
};

/// Connections at once: far more than slots and queue, since they may be idle.
const CONNECTIONS: usize = 1024;
/// A request's head must have arrived by then, which is also how long an idle connection stays.
const HEAD_TIME: Duration = Duration::from_secs(75);

/// Serves until told to stop.
pub(crate) fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let code = runtime.block_on(serve_until_stopped(serve))?;
    // A thread that still tokenises for a caller who is gone need not be waited for.
    runtime.shutdown_background();
    Ok(code)
}

async fn serve_until_stopped(serve: Serve) -> anyhow::Result<ExitCode> {
    let orphaned = CancellationToken::new();
    if serve.die_with_parent {
        process::watch_parent(orphaned.clone())?;
    }
    let mut signals = Signals::new()?;
    let listener = Listener::bind(&serve).await?;
    let address = listener.address()?;
    let draining = CancellationToken::new();
    let give_up = CancellationToken::new();
    let models = Arc::new(Models::new(&serve, Gauges::registry()?, give_up.clone())?);
    let desk = Arc::new(Desk::new(Arc::clone(&models), draining.clone()));
    let connections = TaskTracker::new();
    let accepting = tokio::spawn(accept(
        listener,
        Arc::clone(&desk),
        connections.clone(),
        draining.clone(),
    ));

    let drain = Duration::from_secs(serve.drain);
    let mut loading = tokio::task::spawn_blocking({
        let models = Arc::clone(&models);
        move || models.load_first()
    });
    tokio::select! {
        loaded = &mut loading => loaded??,
        () = signals.next() => return Ok(stop_loading(loading, &give_up).await),
        () = orphaned.cancelled() => return Ok(stop_loading(loading, &give_up).await),
    };
    tracing::info!("ready");
    announce(&address)?;
    let lost = models.lost.clone();
    tokio::spawn(Arc::clone(&models).watch(draining.clone()));
    let code = tokio::select! {
        () = signals.next() => {
            tracing::info!("draining");
            ExitCode::SUCCESS
        }
        () = orphaned.cancelled() => {
            tracing::warn!("the parent is gone; leaving");
            ExitCode::SUCCESS
        }
        () = lost.cancelled() => {
            tracing::error!("the decode thread is lost; leaving, to be started anew");
            ExitCode::FAILURE
        }
    };
    draining.cancel();
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = tokio::time::sleep(drain) => tracing::warn!("answers still in progress are cut off"),
        () = signals.next() => {}
        () = orphaned.cancelled() => {}
        () = lost.cancelled() => {}
    }
    // Joins the decode thread, so that llama.cpp is at rest when the process tears itself down.
    let stopping = tokio::task::spawn_blocking(move || models.stop());
    let _ = stopping.await;
    // Dropping the listener removes its socket file.
    let _ = accepting.await;
    Ok(code)
}

/// Ends a load that nobody waits for any more, so that llama.cpp is at rest when the process ends.
async fn stop_loading(loading: JoinHandle<anyhow::Result<()>>, give_up: &CancellationToken) -> ExitCode {
    give_up.cancel();
    let _ = loading.await;
    ExitCode::SUCCESS
}

/// Where connections come from.
enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        file: SocketFile,
    },
}

/// A socket's file, removed when no longer served.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    async fn bind(serve: &Serve) -> anyhow::Result<Self> {
        let Some(path) = &serve.unix else {
            let listener = TcpListener::bind(serve.listen).await;
            return Ok(Self::Tcp(
                listener.with_context(|| format!("cannot listen on {}", serve.listen))?,
            ));
        };
        remove_stale(path).await?;
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        let file = SocketFile(path.clone());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self::Unix { listener, file })
    }

    fn address(&self) -> anyhow::Result<String> {
        Ok(match self {
            Self::Tcp(listener) => format!("http://{}", listener.local_addr()?),
            Self::Unix { file, .. } => format!("unix:{}", file.0.display()),
        })
    }
}

/// A socket file that nobody answers is left from a process that was killed. One that somebody
/// answers, and any other kind of file, is not ours to remove.
async fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        bail!("{} exists and is no socket", path.display());
    }
    if UnixStream::connect(path).await.is_ok() {
        bail!("another process listens on {}", path.display());
    }
    std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// Takes connections until told to drain.
async fn accept(listener: Listener, desk: Arc<Desk>, connections: TaskTracker, draining: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = draining.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let stream: std::io::Result<Box<dyn Stream>> = tokio::select! {
            stream = listener.next() => stream,
            () = draining.cancelled() => break,
        };
        match stream {
            Ok(stream) => {
                let (desk, draining) = (Arc::clone(&desk), draining.clone());
                connections.spawn(async move {
                    let _place = place;
                    converse(stream, desk, draining).await;
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: a pause lets some close.
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn next(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Each event is a small write that must not wait for the next.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
            Self::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        })
    }
}

async fn converse(stream: Box<dyn Stream>, desk: Arc<Desk>, draining: CancellationToken) {
    let service = service_fn(move |request| http::answer(Arc::clone(&desk), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // An error here is a caller who left or spoke no HTTP: nothing to tell anybody.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// SIGTERM and SIGINT, which mean the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The one line on standard output.
fn announce(address: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({"listening": address}))?;
    out.flush()
}
