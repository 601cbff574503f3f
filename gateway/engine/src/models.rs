//! The models of this engine: loaded at the start or when first asked for, put away when nobody asks for long enough.
//!
//! A model has a name of its own, and so has each of its adapters: whoever asks for an adapter's name is answered by the model with it. One
//! model is loaded at a time; requests for it wait, others go on.
//!
//! Limits: [`WAITING`] requests wait for a model that is being loaded; more are told to come again.
//!
//! On failure: a model that cannot be loaded at the start stops the engine; one that cannot be loaded later fails the requests for it
//! ([`Failure::ModelDown`]), and the next request tries again.

use std::{
    path::Path,
    sync::{
        Arc, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use cordon_domain::{Clock as _, SystemClock};
use llama_cpp_2::llama_backend::LlamaBackend;
use prometheus::Registry;
use tokio::sync::{Mutex, RwLock, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    args::{LoraFile, ModelFile, Serve, Shape},
    embedder::Embedder,
    failure::Failure,
    form::Forms,
    gauges::Gauges,
    prompt::Template,
    scheduler::{Layout, Scheduler},
    weights::{self, Weights},
};

/// How often it is looked whether a model can be put away.
const LOOK: Duration = Duration::from_secs(1);

/// Requests that wait for one model to be loaded: fewer than bodies that are held, so that requests for others find a place.
const WAITING: usize = 16;

/// A model in memory.
pub(crate) struct Loaded {
    pub(crate) weights: Arc<Weights>,
    pub(crate) template: Template,
    pub(crate) scheduler: Scheduler,
    /// Made when an answer in a set form is first asked for.
    pub(crate) forms: OnceLock<Forms>,
    /// Made when something is first to be embedded; none where that cannot be.
    pub(crate) embedder: OnceLock<Option<Embedder>>,
    /// When, in seconds since 1970.
    pub(crate) since: i64,
}

/// What a request is answered by.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub(crate) loaded: Arc<Loaded>,
    /// Which of the model's adapters.
    pub(crate) adapter: Option<usize>,
    /// The name of the two.
    pub(crate) name: Arc<str>,
}

/// What is told of a name.
pub(crate) struct Known {
    pub(crate) name: Arc<str>,
    /// Of an adapter: the model that it belongs to.
    pub(crate) parent: Option<Arc<str>>,
    /// Of a model in memory: since when, and the tokens that a conversation may have.
    pub(crate) loaded: Option<(i64, usize)>,
}

/// All models of the engine; the first is the one that is meant where no name is given.
pub(crate) struct Models {
    backend: Arc<LlamaBackend>,
    registry: Registry,
    served: Vec<Served>,
    /// Whether those that are there from the start are loaded.
    started: AtomicBool,
    /// One at a time is loaded: making contexts of llama.cpp side by side is unsound.
    loading: Mutex<()>,
    /// Resolves when a decode thread ends that should not.
    pub(crate) lost: CancellationToken,
    give_up: CancellationToken,
}

struct Served {
    name: Arc<str>,
    file: ModelFile,
    template: Option<String>,
    shape: Shape,
    queue: usize,
    wait: Duration,
    adapters: Vec<(Arc<str>, LoraFile)>,
    gauges: Arc<Gauges>,
    state: RwLock<Option<Arc<Loaded>>>,
    /// Places of those who wait for it to be loaded.
    waiting: Semaphore,
    /// When it was last of use to somebody.
    asked: std::sync::Mutex<Instant>,
}

impl Models {
    /// What the command line names; nothing is loaded yet.
    pub(crate) fn new(serve: &Serve, registry: Registry, give_up: CancellationToken) -> anyhow::Result<Self> {
        let mut served: Vec<Served> = Vec::new();
        for (number, file) in serve.model.iter().enumerate() {
            let own = || {
                let stem = file.file.file_stem();
                stem.map_or_else(|| "engine".to_owned(), |stem| stem.to_string_lossy().into_owned())
            };
            let alias = serve.alias.clone().filter(|_| number == 0);
            let name: Arc<str> = file.name.clone().or(alias).unwrap_or_else(own).into();
            let template = serve
                .chat_template
                .as_deref()
                .filter(|_| number == 0)
                .map(read_template);
            served.push(Served {
                gauges: Arc::new(Gauges::new(&registry, &name)?),
                name,
                template: template.transpose()?,
                shape: Shape {
                    slots: file.slots.unwrap_or(serve.shape.slots),
                    ctx: file.ctx.unwrap_or(serve.shape.ctx),
                    chunk: file.chunk.unwrap_or(serve.shape.chunk),
                    gpu_layers: file.gpu_layers.or(serve.shape.gpu_layers),
                    ..serve.shape.clone()
                },
                queue: serve.queue,
                wait: Duration::from_secs(serve.queue_seconds),
                adapters: Vec::new(),
                file: file.clone(),
                state: RwLock::default(),
                waiting: Semaphore::new(WAITING),
                asked: std::sync::Mutex::new(Instant::now()),
            });
        }
        ensure!(
            !served.is_empty(),
            "say which weights to load: --model FILE (or see --help)"
        );
        for lora in &serve.lora {
            let model = match &lora.model {
                None => served.first_mut(),
                Some(name) => served.iter_mut().find(|served| *served.name == **name),
            };
            let model = model.with_context(|| format!("--lora {}: no --model has that name", lora.name))?;
            model.adapters.push((lora.name.as_str().into(), lora.clone()));
        }
        let models = Self {
            backend: Arc::new(weights::start_backend()?),
            registry,
            served,
            started: AtomicBool::new(false),
            loading: Mutex::default(),
            lost: CancellationToken::new(),
            give_up,
        };
        let mut names: Vec<_> = models.names().collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("two models or adapters are called {}", twice[0]);
        }
        Ok(models)
    }

    fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.served.iter().flat_map(|served| {
            std::iter::once(&served.name).chain(served.adapters.iter().map(|(name, _)| name))
        })
    }

    /// Loads those that are to be there from the start.
    pub(crate) fn load_first(&self) -> anyhow::Result<()> {
        for (number, served) in self.served.iter().enumerate() {
            if number == 0 || served.file.keep_alive.is_none() {
                let loaded = self.load(served)?;
                *served.state.blocking_write() = Some(Arc::new(loaded));
            }
        }
        self.started.store(true, Ordering::Release);
        Ok(())
    }

    fn load(&self, served: &Served) -> anyhow::Result<Loaded> {
        let adapters: Vec<_> = served.adapters.iter().map(|(_, lora)| lora.clone()).collect();
        let mut weights = Weights::load(
            &self.backend,
            &served.file.file,
            served.shape.gpu_layers,
            &adapters,
            self.give_up.clone(),
        )?;
        let template = Template::new(&weights, served.template.clone(), Arc::new(SystemClock))?;
        weights.speak(template.family().marks());
        let weights = Arc::new(weights);
        let layout = Layout {
            queue: served.queue,
            wait: served.wait,
            ..layout(&served.shape, weights.trained_length())
        };
        let scheduler = Scheduler::start(
            Arc::clone(&weights),
            layout,
            Arc::clone(&served.gauges),
            self.lost.clone(),
        )?;
        tracing::info!(
            model = %served.name,
            slots = layout.slots,
            slot_length = layout.slot_length,
            threads = layout.threads,
            "loaded"
        );
        Ok(Loaded {
            weights,
            template,
            scheduler,
            forms: OnceLock::new(),
            embedder: OnceLock::new(),
            since: SystemClock.now().unix_timestamp(),
        })
    }

    /// The model of a name, loaded if it is not. Where there is one model with no adapters, any name is its name: callers send the names of
    /// models elsewhere.
    pub(crate) async fn choose(self: &Arc<Self>, name: Option<&str>) -> Result<Chosen, Failure> {
        let (index, adapter, name) = self.find(name)?;
        let served = &self.served[index];
        served.touch();
        let there = served.state.read().await.clone();
        let loaded = match there {
            Some(loaded) => loaded,
            None => {
                let place = served.waiting.try_acquire();
                let _place = place.map_err(|_| Failure::Busy { seconds: 5 })?;
                Arc::clone(self).fetch(index).await?
            }
        };
        Ok(Chosen {
            loaded,
            adapter,
            name,
        })
    }

    fn find(&self, name: Option<&str>) -> Result<(usize, Option<usize>, Arc<str>), Failure> {
        let first = || (0, None, Arc::clone(&self.served[0].name));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(first());
        };
        for (index, served) in self.served.iter().enumerate() {
            if *served.name == *name {
                return Ok((index, None, Arc::clone(&served.name)));
            }
            let adapter = served.adapters.iter().position(|(known, _)| **known == *name);
            if let Some(adapter) = adapter {
                return Ok((index, Some(adapter), Arc::clone(&served.adapters[adapter].0)));
            }
        }
        if self.names().nth(1).is_none() {
            return Ok(first());
        }
        let names: Vec<&str> = self.names().map(|name| &**name).collect();
        Err(Failure::UnknownModel(names.join(", ")))
    }

    /// Loads a model that is asked for. Goes on when whoever asked has left: others wait for it.
    async fn fetch(self: Arc<Self>, index: usize) -> Result<Arc<Loaded>, Failure> {
        let fetching = tokio::spawn(async move {
            let served = &self.served[index];
            let _turn = self.loading.lock().await;
            // Another request may have been first.
            if let Some(loaded) = served.state.read().await.clone() {
                return Ok(loaded);
            }
            let models = Arc::clone(&self);
            let loaded = tokio::task::spawn_blocking(move || models.load(&models.served[index])).await;
            let why = match loaded {
                Ok(Ok(loaded)) => {
                    let loaded = Arc::new(loaded);
                    *served.state.write().await = Some(Arc::clone(&loaded));
                    return Ok(loaded);
                }
                Ok(Err(error)) => format!("{error:#}"),
                Err(error) => error.to_string(),
            };
            tracing::error!(model = %served.name, error = why, "a model cannot be loaded");
            Err(Failure::ModelDown)
        });
        fetching.await.unwrap_or(Err(Failure::ModelDown))
    }

    /// Loads a model by its name, as a request for it would.
    pub(crate) async fn summon(self: &Arc<Self>, name: &str) -> Result<(), Failure> {
        self.choose(Some(name)).await.map(|_| ())
    }

    /// Puts a model away, as soon as nobody is being answered by it.
    pub(crate) async fn dismiss(&self, name: &str) -> Result<(), Failure> {
        let (index, ..) = self.find(Some(name))?;
        let mut state = self.served[index].state.write().await;
        if state.as_ref().is_some_and(|loaded| !is_idle(loaded)) {
            return Err(Failure::ModelBusy);
        }
        put_away(state.take());
        Ok(())
    }

    /// Puts models away that nobody has asked for within their time, until cancelled.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            for served in &self.served {
                let Some(keep) = served.file.keep_alive else {
                    continue;
                };
                // Its time begins when the last answer ends.
                let busy = served
                    .state
                    .read()
                    .await
                    .as_ref()
                    .is_some_and(|loaded| !is_idle(loaded));
                if busy {
                    served.touch();
                }
                if served.idle_for() < Duration::from_secs(keep) {
                    continue;
                }
                let mut state = served.state.write().await;
                if state.as_ref().is_some_and(is_idle) {
                    tracing::info!(model = %served.name, "put away: nobody asked for it");
                    put_away(state.take());
                }
            }
        }
    }

    /// All names, and what is in memory.
    pub(crate) async fn known(&self) -> Vec<Known> {
        let mut known = Vec::new();
        for served in &self.served {
            let loaded = served.state.read().await;
            let loaded = loaded
                .as_ref()
                .map(|loaded| (loaded.since, loaded.scheduler.slot_length()));
            known.push(Known {
                name: Arc::clone(&served.name),
                parent: None,
                loaded,
            });
            known.extend(served.adapters.iter().map(|(name, _)| Known {
                name: Arc::clone(name),
                parent: Some(Arc::clone(&served.name)),
                loaded,
            }));
        }
        known
    }

    /// The models in memory, with their names.
    pub(crate) async fn loaded(&self) -> Vec<(Arc<str>, Arc<Loaded>)> {
        let mut all = Vec::new();
        for served in &self.served {
            if let Some(loaded) = served.state.read().await.clone() {
                all.push((Arc::clone(&served.name), loaded));
            }
        }
        all
    }

    /// Whether those that are there from the start are loaded: before, nothing can be answered.
    pub(crate) fn is_ready(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// The text that Prometheus scrapes.
    pub(crate) fn metrics(&self) -> prometheus::Result<Vec<u8>> {
        Gauges::text(&self.registry)
    }

    /// Counts a request that was not answered.
    pub(crate) fn refused(&self, code: &str) {
        self.served[0].gauges.refusals.with_label_values(&[code]).inc();
    }

    /// Ends all decode threads; unfinished answers fail.
    pub(crate) fn stop(&self) {
        for served in &self.served {
            if let Some(loaded) = &*served.state.blocking_read() {
                loaded.scheduler.stop();
            }
        }
    }
}

impl Served {
    /// It is of use to somebody now.
    fn touch(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long it was of use to nobody.
    fn idle_for(&self) -> Duration {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

/// Whether nobody is being answered by it, or is about to be.
fn is_idle(loaded: &Arc<Loaded>) -> bool {
    let embeds = loaded
        .embedder
        .get()
        .and_then(Option::as_ref)
        .is_some_and(Embedder::is_busy);
    Arc::strong_count(loaded) == 1 && loaded.scheduler.load() == (0, 0) && !embeds
}

/// Frees a model where that holds up nobody.
fn put_away(loaded: Option<Arc<Loaded>>) {
    tokio::task::spawn_blocking(move || drop(loaded));
}

fn read_template(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// How the context is laid out for what was asked.
pub(crate) fn layout(shape: &Shape, trained: u32) -> Layout {
    let asked = shape.ctx.get();
    let slot_length = if trained > 0 && asked > trained {
        tracing::warn!(
            asked,
            trained,
            "--ctx is longer than the model was trained for; using what it was trained for"
        );
        trained
    } else {
        asked
    };
    let all =
        std::thread::available_parallelism().map_or(1, |all| u32::try_from(all.get()).unwrap_or(u32::MAX));
    let threads = shape.threads.map_or(all, std::num::NonZeroU32::get);
    Layout {
        slots: shape.slots,
        slot_length,
        threads,
        chunk: shape.chunk,
        queue: 64,
        wait: Duration::MAX,
        kv: shape.kv,
    }
}
