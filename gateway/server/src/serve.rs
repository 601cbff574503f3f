//! A running server: start-up in order, until a signal, then shutdown in order.
//!
//! Start: state folder and keys, authority, rules, spool and store, engine, upstreams, listeners.
//! Shutdown: listeners stop accepting and drain (GOAWAY, streams end), exchanges are sealed, the engine
//! stops, the spool is flushed and shipped as far as the time allows.
//!
//! On failure at start: one line that says what is missing and how to mend it, exit 2.

use std::{
    io::IsTerminal,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use cordon_audit::{BlindKey, Event, Pseudonyms, Shipping, Started, Stopped};
use cordon_domain::{Clock, Dialect, SystemClock, UpstreamKind};
use cordon_intercept::{
    Authority, Entrance, Interceptor, InvalidParent, Outbound, Pages, ParentProxy, Scope, TokenSettings,
    TunnelRules,
};
use cordon_policy::PlaceholderKey;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::{
    accept::Doorway,
    audit_room,
    config::{Config, Hidden, LogFormat, Others},
    delivery,
    files::Files,
    gate::{Allowance, Gate},
    installation::Installation,
    metrics::Metrics,
    negotiate::Negotiator,
    questions::Questions,
    rules::{self, Rules},
    running::Running,
    site::AdminSite,
    supervise::{self, EngineState},
    traces, trust,
    upstream::{self, Credentials, Spoken, Upstream, UpstreamClient, Upstreams, WayOut},
    vouching,
};

/// Time the spool gets at shutdown to ship what it holds; the rest ships at the next start.
const SHIP_AT_SHUTDOWN: Duration = Duration::from_secs(5);
/// Time that exchanges get for their seals after their connections were closed.
const SEAL_AT_SHUTDOWN: Duration = Duration::from_secs(2);

/// Starts the log, and keeps out of it what panics say and what the reader of PDF files does: both can quote
/// the text that they stumbled over. Of a panic only the place is told.
pub fn start_log(config: &Config) -> Result<()> {
    let level = tracing_subscriber::EnvFilter::try_new(&config.log.level)
        .context("log.level is no tracing directive")?
        .add_directive("lopdf=off".parse().context("a directive of our own")?);
    let log = tracing_subscriber::fmt()
        .with_env_filter(level)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Pretty => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    }
    .map_err(|_| anyhow::anyhow!("the log was started twice"))?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!(place, "a defect: something panicked");
    }));
    Ok(())
}

/// Runs until SIGINT or SIGTERM. `ready` is called once, when everything answers.
pub async fn run(config: Config, config_file: Option<PathBuf>, ready: impl FnOnce(&Running)) -> Result<()> {
    // Before anything listens: a signal that comes while the engine loads must drain, too.
    let mut signals = Signals::new()?;
    let mut server = Box::pin(Server::start(config, config_file)).await?;
    let running = server.running.clone();
    running
        .announce(&server.gate.config)
        .context("the state folder cannot be written")?;
    let mut engine = server.gate.engine.clone();
    let settled = tokio::select! {
        biased;
        () = signals.next() => None,
        state = engine.settled() => Some(state),
    };
    if let Some(state) = settled {
        if let EngineState::Down(reason) = state {
            warn!(%reason, "the engine is not there; requests that need it get 503");
        }
        ready(&running);
        signals.next().await;
    }
    let reason = "signal";
    info!(reason, "shutting down");
    server.stop(reason).await
}

/// Everything that runs.
pub struct Server {
    /// What exchanges share.
    pub gate: Arc<Gate>,
    /// Addresses and paths.
    pub running: Running,
    shipping: Option<Shipping>,
    listeners: TaskTracker,
    services: TaskTracker,
    /// Listeners and background work end by this.
    stop: CancellationToken,
    /// The engine and the admin listener outlive the listeners: exchanges drain over them.
    stop_last: CancellationToken,
}

impl Server {
    /// Starts everything; listeners accept when it returns.
    pub async fn start(config: Config, config_file: Option<PathBuf>) -> Result<Self> {
        let installation = Installation::of(&config);
        installation.create()?;
        let key = installation.key()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let authority = Authority::load(&installation.ca(), scope(&config), clock.clone())
            .map(Arc::new)
            .context("the certificate authority cannot be used (`cordon ca init` makes one, `cordon ca rotate` renews it)")?;
        cordon_intercept::write_bundle(&installation.bundle(), authority.root_pem())?;
        let ner = rules::load_ner(&config)?;
        if ner.is_none() {
            warn!(
                "there is no token classifier: names, addresses and places are found by word lists and patterns alone"
            );
        }
        let rules = Rules::load(&config, ner)?;
        let verification = trust::Verification::read(&config)?;
        let tls = Arc::new(verification.upstreams.clone());
        let way = WayOut {
            outbound: Outbound::through(parent_proxy(&config, &tls).context("upstream_proxy")?),
            tls,
            spoken: Arc::new(Spoken::new()),
            limit: Duration::from_secs(config.limits.connect_seconds),
        };

        let files = Files::new(config.files.clone())?;
        if !files.sees() {
            info!("text in pictures is not recognised: `tesseract` is not there, or `files.ocr` is off");
        }

        let (listeners, services) = (TaskTracker::new(), TaskTracker::new());
        let (stop, stop_last) = (CancellationToken::new(), CancellationToken::new());
        let negotiator = Negotiator::start(&config, &services, stop_last.clone()).await?;

        let (recorder, shipping, signed) = Box::pin(audit_room::open(
            &config,
            &installation,
            &key,
            &verification,
            clock.clone(),
        ))
        .await?;
        let metrics = Arc::new(Metrics::new());
        let around = vouching::Surroundings {
            signed,
            store: audit_room::store_url(&config, &installation)?,
            way: way.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            stop: stop_last.clone(),
        };
        vouching::start(&config.audit, around, &services).context("audit")?;
        let around = delivery::Surroundings {
            store: audit_room::store_url(&config, &installation)?,
            way: way.clone(),
            revocation: config.revocation().context("intercept.crls")?,
            metrics: metrics.clone(),
            clock: clock.clone(),
            stop: stop_last.clone(),
        };
        delivery::start(&config.audit, &around, &services).context("audit")?;
        let around = traces::Surroundings {
            way: way.clone(),
            pseudonyms: Pseudonyms::new(key.commitments()),
            host: audit_room::host_name(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            stop: stop_last.clone(),
        };
        let traces = traces::start(&config, around, &services)?;
        let engine = supervise::watch_engine(
            &config.engine,
            |address| UpstreamClient::of_engine(address, &way, &config.limits),
            &installation,
            metrics.clone(),
            &services,
            stop_last.clone(),
        )
        .context("engine.url")?;
        let upstreams = upstreams(&config, &engine, &way)?;
        let asked = upstreams
            .on_prem(&config.questions.upstream)
            .context("`questions.upstream` names no upstream in the building")?;

        let (gateway, proxy, admin) = tokio::try_join!(
            bind("gateway", config.listen.gateway),
            bind("proxy", config.listen.proxy),
            bind("admin", config.listen.admin),
        )?;
        let mut doors = vec![(gateway, Entrance::Gateway), (proxy, Entrance::Proxy)];
        for (what, address, entrance) in [
            ("proxy_tls", config.listen.proxy_tls, Entrance::ProxyOverTls),
            ("transparent", config.listen.transparent, Entrance::Transparent),
        ] {
            if let Some(address) = address {
                doors.push((bind(what, address).await?, entrance));
            }
        }
        let mut listening = config.listen.clone();
        listening.admin = admin.local_addr()?;
        for (listener, entrance) in &doors {
            let address = listener.local_addr()?;
            match entrance {
                Entrance::Gateway => listening.gateway = address,
                Entrance::Proxy => listening.proxy = address,
                Entrance::ProxyOverTls => listening.proxy_tls = Some(address),
                Entrance::Transparent => listening.transparent = Some(address),
            }
        }
        let running = Running::new(&config, &listening);
        let started = Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_hash: rules.policy.hash().to_owned(),
            fail_open: rules.policy.fail_open(),
            trust: trust::described(&authority, &config),
        };
        recorder
            .event(Event::Started(started))
            .await
            .context("the start cannot be recorded")?;

        let gate = Arc::new(Gate {
            policy_upstreams: upstreams
                .all()
                .map(|upstream| cordon_policy::Upstream {
                    name: upstream.name.clone(),
                    kind: upstream.kind,
                })
                .collect(),
            files,
            negotiator,
            questions: Questions::new(asked, config.questions.clone(), key.derive("questions")),
            upstreams,
            engine,
            recorder,
            placeholder_key: PlaceholderKey::new(key.derive("placeholders")),
            blind_key: BlindKey::of(&key.commitments()),
            commitment_key: key.commitments(),
            traces,
            metrics,
            started: clock.now().unix_timestamp(),
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(config.limits.exchanges)),
            shares: Arc::default(),
            strangers: Allowance::new(Instant::now()),
            draining: AtomicBool::new(false),
            rules: ArcSwap::from_pointee(rules),
            config,
        });
        let pages = Pages {
            ca_pem: authority.root_pem().to_owned(),
            proxy: running.proxy.trim_start_matches("http://").to_owned(),
            gateway: running.gateway.clone(),
            proxy_tls: running
                .proxy_tls
                .as_deref()
                .map(|url| url.trim_start_matches("https://").to_owned()),
            hosts: gate.config.intercept.hosts.clone(),
            bypass: gate.config.intercept.bypass_hosts(),
            bypass_networks: gate.config.intercept.bypass_networks(),
        };
        let interceptor = Arc::new(interceptor(
            &gate,
            authority.clone(),
            pages.clone(),
            way.outbound,
            verification,
        )?);
        for (listener, entrance) in doors {
            listeners.spawn(cordon_intercept::serve(
                listener,
                entrance,
                interceptor.clone(),
                stop.clone(),
            ));
        }
        let site = Arc::new(AdminSite {
            gate: gate.clone(),
            pages: ArcSwap::from_pointee(pages),
        });
        let users = trust::Users {
            gate: gate.clone(),
            interceptor,
            site: site.clone(),
            authority,
        };
        services.spawn(trust::keep_fresh(users, stop.clone()));
        services.spawn(cordon_console::serve(
            admin,
            site,
            stop_last.clone().cancelled_owned(),
        ));
        services.spawn(rules::keep_fresh(gate.clone(), config_file, stop.clone()));
        services.spawn(upstream::keep_credentials_fresh(gate.clone(), stop.clone()));
        Ok(Self {
            gate,
            running,
            shipping: Some(shipping),
            listeners,
            services,
            stop,
            stop_last,
        })
    }

    /// Drains and stops everything.
    pub async fn stop(&mut self, reason: &str) -> Result<()> {
        self.gate.draining.store(true, Ordering::Relaxed);
        Running::withdraw(&self.gate.config);
        // One time for both: connections drain, then the seals of callers who left with them are written.
        let drain = Duration::from_secs(self.gate.config.limits.drain_seconds);
        let until = tokio::time::Instant::now() + drain + SEAL_AT_SHUTDOWN;
        self.stop.cancel();
        self.listeners.close();
        self.listeners.wait().await;
        self.gate.tasks.close();
        if tokio::time::timeout_at(until, self.gate.tasks.wait())
            .await
            .is_err()
        {
            warn!(
                left = self.gate.tasks.len(),
                "exchanges did not end in time; the next start seals them as unknown"
            );
        }
        self.stop_last.cancel();
        self.services.close();
        self.services.wait().await;
        let _ = self
            .gate
            .recorder
            .event(Event::Stopped(Stopped {
                reason: reason.to_owned(),
            }))
            .await;
        if let Some(shipping) = self.shipping.take() {
            let left = shipping.shutdown(SHIP_AT_SHUTDOWN).await;
            if left > 0 {
                warn!(left, "records stay in the spool; the next start ships them");
            }
        }
        Ok(())
    }
}

async fn bind(what: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("listen.{what}: {address} cannot be listened on (another program may use it; --{what}-port takes another)")
    })
}

/// What the authority must be able to vouch for.
pub fn scope(config: &Config) -> Scope {
    Scope {
        hosts: config.intercept.hosts.clone(),
        gateway_names: config.gateway.names.clone(),
        token: config
            .intercept
            .authority
            .pkcs11
            .as_ref()
            .map(|token| TokenSettings {
                module: token.module.clone(),
                token: token.token.clone(),
                label: token.key_label.clone(),
                pin: Zeroizing::new(token.pin.value().to_owned()),
            }),
    }
}

/// The company's own proxy, where the configuration names one.
pub fn parent_proxy(
    config: &Config,
    tls: &rustls::ClientConfig,
) -> Result<Option<ParentProxy>, InvalidParent> {
    let configured = config.upstream_proxy.as_ref();
    configured
        .map(|proxy| ParentProxy::new(proxy.url.value(), &proxy.no_proxy, tls))
        .transpose()
}

fn upstreams(config: &Config, engine: &supervise::Engine, way: &WayOut) -> Result<Upstreams> {
    let on_prem = Upstream {
        name: "engine".into(),
        kind: UpstreamKind::Engine,
        dialects: vec![Dialect::OpenaiChat],
        model: Some(engine.alias.clone()),
        also: engine.also.clone(),
        takes_effort: false,
        credentials: Credentials::None,
        client: engine.client.clone(),
    };
    Upstreams::new(
        &config.upstreams,
        &config.intercept.hosts,
        on_prem,
        way,
        &config.limits,
    )
    .context("upstreams")
}

fn interceptor(
    gate: &Arc<Gate>,
    authority: Arc<Authority>,
    pages: Pages,
    outbound: Outbound,
    verification: trust::Verification,
) -> Result<Interceptor<Doorway>> {
    let config = &gate.config;
    let mut tunnels = TunnelRules {
        max_tunnels: config.limits.tunnels,
        permitted_networks: config.intercept.bypass_networks(),
        hidden_names: config.intercept.ech == Hidden::Tunnel,
        ech_names: config.intercept.ech_names.clone(),
        nameless: config.intercept.without_sni == Others::Tunnel,
        spared_hosts: config.intercept.unread_hosts(),
        spared_networks: config.intercept.bypass_networks(),
        ..TunnelRules::default()
    };
    if config.intercept.allow_private_tunnels {
        tunnels.permitted_networks = ["0.0.0.0/0", "::/0"]
            .iter()
            .map(|all| all.parse().context("the networks of all addresses"))
            .collect::<Result<_>>()?;
    }
    let interceptor = Interceptor::new(Doorway(gate.clone()), authority, pages)
        .with_limits(config.limits.of_listeners())
        .with_tunnels(tunnels)
        .with_outbound(outbound);
    let interceptor = match verification.callers {
        Some(callers) => interceptor.with_own_tls(callers),
        None => interceptor,
    };
    Ok(match verification.own {
        Some(own) => interceptor.with_gateway_tls(own),
        None => interceptor,
    })
}

/// SIGINT and SIGTERM, watched from the moment this is made.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let watch = |kind| signal(kind).context("signals cannot be watched");
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
