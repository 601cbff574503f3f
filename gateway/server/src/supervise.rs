//! The engine's process: found, spawned, watched, started again with a growing pause, stopped.
//!
//! A process of its own keeps faults of C++ code away from TLS sessions. It listens on a Unix socket
//! inside the state folder, which only the owner can enter, so that nobody on the machine can go
//! round the policy by asking it directly. It holds our end of a pipe as its standard input and
//! leaves when that closes, so that it never outlives us.
//!
//! On failure: the engine is `Down` with a reason; exchanges that need it get 503 with
//! `retry-after`, and `/readyz` says so.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    config,
    installation::Installation,
    metrics::Metrics,
    upstream::{UpstreamClient, UpstreamError},
};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A process that lived this long was healthy: the pause starts over.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Large weights take minutes to load from a cold disk.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(2);
/// A process that has not said that it is well for so long hangs, and is started again.
const HANGS_AFTER: Duration = Duration::from_secs(30);

/// The program that runs, also after its file was replaced: for children that are our own program again.
pub fn own_program() -> std::io::Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        Ok(own.to_owned())
    } else {
        std::env::current_exe()
    }
}

/// Whether the engine can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// It is loading.
    Starting,
    /// It answers.
    Ready,
    /// It does not, and why, in words that quote nothing of a request.
    Down(Arc<str>),
}

/// Where the engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// A Unix socket of a process that we spawned.
    Socket(PathBuf),
    /// Base URL of an engine elsewhere.
    Url(String),
}

/// The engine as the rest of the server sees it.
#[derive(Clone)]
pub struct Engine {
    /// The way to it.
    pub client: UpstreamClient,
    /// Name that callers see.
    pub alias: Arc<str>,
    /// Further names that it answers to: models and adapters.
    pub also: Arc<[Arc<str>]>,
    state: watch::Receiver<EngineState>,
}

impl Engine {
    /// Whether it can be asked now.
    pub fn state(&self) -> EngineState {
        self.state.borrow().clone()
    }

    /// Waits until it answers, or is known not to.
    pub async fn settled(&mut self) -> EngineState {
        match self.state.wait_for(|state| *state != EngineState::Starting).await {
            Ok(state) => state.clone(),
            Err(_) => EngineState::Down("stopped".into()),
        }
    }
}

/// Starts the watch over the engine that the configuration describes.
///
/// # Errors
/// When its URL is none.
pub fn watch_engine(
    config: &config::Engine,
    connect: impl FnOnce(&EngineAddress) -> Result<UpstreamClient, UpstreamError>,
    installation: &Installation,
    metrics: Arc<Metrics>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> Result<Engine, UpstreamError> {
    let (says, state) = watch::channel(EngineState::Starting);
    let also: Arc<[Arc<str>]> = config
        .models
        .keys()
        .chain(config.adapters.keys())
        .map(|name| name.as_str().into())
        .collect();
    if let Some(url) = &config.url {
        let address = EngineAddress::Url(url.trim_end_matches('/').to_owned());
        let alias = config.alias.clone().unwrap_or_else(|| "engine".to_owned()).into();
        let client = connect(&address)?;
        tasks.spawn(probe(client.clone(), says, stop));
        return Ok(Engine {
            client,
            alias,
            also,
            state,
        });
    }
    let socket = installation.dir().join("engine.sock");
    let client = connect(&EngineAddress::Socket(socket.clone()))?;
    let alias = match Launch::plan(config, installation, &socket) {
        Ok(launch) => {
            let alias: Arc<str> = launch.alias.as_str().into();
            tasks.spawn(keep_running(launch, client.clone(), metrics, says, stop));
            alias
        }
        Err(reason) => {
            warn!(%reason, "the engine cannot be started");
            let _ = says.send(EngineState::Down(reason.into()));
            "engine".into()
        }
    };
    Ok(Engine {
        client,
        alias,
        also,
        state,
    })
}

/// What to run.
struct Launch {
    binary: PathBuf,
    model: PathBuf,
    alias: String,
    socket: PathBuf,
    arguments: Vec<String>,
}

impl Launch {
    fn plan(config: &config::Engine, installation: &Installation, socket: &Path) -> Result<Self, String> {
        let binary = find_binary(config.binary.as_deref())?;
        let model = find_model(config.model.as_deref(), &installation.models())?;
        let alias = config.alias.clone().unwrap_or_else(|| {
            model
                .file_stem()
                .map_or_else(|| "engine".to_owned(), |stem| stem.to_string_lossy().into_owned())
        });
        let mut arguments = vec![
            "--slots".to_owned(),
            config.slots.to_string(),
            "--ctx".to_owned(),
            config.context.to_string(),
        ];
        if let Some(threads) = config.threads {
            arguments.extend(["--threads".to_owned(), threads.to_string()]);
        }
        if let Some(layers) = config.gpu_layers {
            arguments.extend(["--gpu-layers".to_owned(), layers.to_string()]);
        }
        for (name, further) in &config.models {
            if !further.path.is_file() {
                return Err(format!(
                    "engine.models.{name}: there is no file {}",
                    further.path.display()
                ));
            }
            let mut spec = format!("{name}={}", further.path.display());
            let limits = [
                ("slots", further.slots.map(u64::from)),
                ("ctx", further.context.map(u64::from)),
                ("keep-alive", further.keep_alive_seconds),
            ];
            for (key, limit) in limits {
                spec.extend(limit.map(|limit| format!(",{key}={limit}")));
            }
            arguments.extend(["--model".to_owned(), spec]);
        }
        for (name, adapter) in &config.adapters {
            if !adapter.path.is_file() {
                return Err(format!(
                    "engine.adapters.{name}: there is no file {}",
                    adapter.path.display()
                ));
            }
            let of = adapter
                .model
                .as_ref()
                .map_or_else(String::new, |model| format!("{model}:"));
            let spec = format!("{of}{name}={}@{}", adapter.path.display(), adapter.scale);
            arguments.extend(["--lora".to_owned(), spec]);
        }
        Ok(Self {
            binary,
            model,
            alias,
            socket: socket.to_owned(),
            arguments,
        })
    }

    fn spawn(&self) -> std::io::Result<Child> {
        // A socket left by a killed process would keep the new one from binding.
        let _ = std::fs::remove_file(&self.socket);
        Command::new(&self.binary)
            .arg("--model")
            .arg(&self.model)
            .args(["--alias", &self.alias, "--die-with-parent"])
            .arg("--unix")
            .arg(&self.socket)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
    }
}

/// The engine's binary: as configured, beside our own, or on `PATH`.
pub fn find_binary(configured: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = configured {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(format!("engine.binary: there is no file {}", path.display()))
        };
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_owned));
    beside
        .into_iter()
        .chain(config::search_path())
        .map(|dir| dir.join("cordon-engine"))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            "cordon-engine is neither beside cordon nor on PATH; build it with `make engine` or set engine.binary"
                .to_owned()
        })
}

/// The weights: as configured, or the one GGUF file of the state folder.
pub fn find_model(configured: Option<&Path>, models: &Path) -> Result<PathBuf, String> {
    if let Some(path) = configured {
        return if path.is_file() {
            Ok(path.to_owned())
        } else {
            Err(format!("engine.model: there is no file {}", path.display()))
        };
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(models)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    found.sort();
    match found.len() {
        0 => Err(format!(
            "there are no weights in {}; run `cordon model pull` or set engine.model",
            models.display()
        )),
        1 => Ok(found.remove(0)),
        _ => Err(format!(
            "there are {} GGUF files in {}; set engine.model",
            found.len(),
            models.display()
        )),
    }
}

/// The line that the engine prints when it listens.
#[derive(Deserialize)]
struct Listening {
    #[serde(rename = "listening")]
    _at: String,
}

async fn keep_running(
    launch: Launch,
    client: UpstreamClient,
    metrics: Arc<Metrics>,
    says: watch::Sender<EngineState>,
    stop: CancellationToken,
) {
    let mut pause = FIRST_PAUSE;
    let mut first = true;
    loop {
        if !first {
            metrics.engine_restarted();
        }
        first = false;
        let started = Instant::now();
        let reason = run_once(&launch, &client, &says, &stop).await;
        let Some(reason) = reason else { return };
        if started.elapsed() > HEALTHY_AFTER {
            pause = FIRST_PAUSE;
        }
        warn!(%reason, pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), "the engine stopped; starting it again");
        let _ = says.send(EngineState::Down(reason.into()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Runs the process until it ends; `None` when we were told to stop.
async fn run_once(
    launch: &Launch,
    client: &UpstreamClient,
    says: &watch::Sender<EngineState>,
    stop: &CancellationToken,
) -> Option<String> {
    let mut child = match launch.spawn() {
        Ok(child) => child,
        Err(error) => {
            return Some(format!(
                "{} does not start: {}",
                launch.binary.display(),
                error.kind()
            ));
        }
    };
    // Held for as long as the process shall live.
    let lifeline = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().expect("standard output is piped above")).lines();
    let outcome = tokio::select! {
        () = stop.cancelled() => None,
        status = child.wait() => Some(ended(status)),
        () = tokio::time::sleep(START_LIMIT) => Some(format!("it did not start within {} s", START_LIMIT.as_secs())),
        line = wait_for_listening(&mut lines) => match line {
            Ok(()) => {
                info!(model = %launch.alias, "the engine is ready");
                let _ = says.send(EngineState::Ready);
                tokio::select! {
                    () = stop.cancelled() => None,
                    status = child.wait() => Some(ended(status)),
                    () = hangs(client) => {
                        // It would not leave when asked, either.
                        let _ = child.start_kill();
                        Some(format!("it has not said that it is well for {} s", HANGS_AFTER.as_secs()))
                    }
                }
            }
            // Its output closed: what its exit status says is the better reason.
            Err(reason) => match tokio::time::timeout(STOP_LIMIT, child.wait()).await {
                Ok(status) => Some(ended(status)),
                Err(_) => Some(reason),
            },
        },
    };
    drop(lifeline);
    if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    outcome
}

async fn wait_for_listening(
    lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
) -> Result<(), String> {
    while let Ok(Some(line)) = lines.next_line().await {
        if serde_json::from_str::<Listening>(&line).is_ok() {
            return Ok(());
        }
    }
    Err("it closed its output before it listened".to_owned())
}

fn ended(status: std::io::Result<std::process::ExitStatus>) -> String {
    match status {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it cannot be waited for: {}", error.kind()),
    }
}

/// Returns when a process that listens has not been well for [`HANGS_AFTER`].
async fn hangs(client: &UpstreamClient) {
    let mut well = Instant::now();
    while well.elapsed() < HANGS_AFTER {
        tokio::time::sleep(PROBE_EVERY).await;
        if client.healthy().await == Ok(true) {
            well = Instant::now();
        }
    }
}

/// Watches an engine that somebody else runs, by its `/health`.
async fn probe(client: UpstreamClient, says: watch::Sender<EngineState>, stop: CancellationToken) {
    loop {
        let state = match client.healthy().await {
            Ok(true) => EngineState::Ready,
            Ok(false) => EngineState::Down("it says that it is not healthy".into()),
            Err(_) => EngineState::Down("it cannot be reached".into()),
        };
        says.send_if_modified(|old| {
            let changed = *old != state;
            if changed {
                info!(?state, "engine");
                *old = state;
            }
            changed
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PROBE_EVERY) => {}
        }
    }
}
