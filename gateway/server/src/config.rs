//! The configuration file: one YAML file, every key with a default, so that an empty file is valid.
//!
//! The only place in Cordon that reads the environment. Secrets are written as `${env:NAME}` or
//! `${file:PATH}` and resolved here; a relative path counts from the configuration file's folder.
//! The published JSON schema is `docs/config.schema.json`, made from these types.
//!
//! On failure: one [`ConfigError`] a problem, each with file, line and column.

mod audit;
mod delivery;
mod doors;
mod files;
mod hosts;
mod kerberos;
mod limits;
mod read;
mod setting;
mod traces;
mod vouching;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use cordon_domain::{Dialect, UpstreamKind};
use cordon_intercept::{Revocation, RevocationError};
use schemars::JsonSchema;
use serde::Deserialize;

pub use self::{
    audit::{Addresses, Audit, Durability, Vault},
    delivery::{Delivery, NatsServer, SyslogReceiver, TlsFiles},
    doors::{Hidden, IdentityConfig, Intercept, Listen, Others, Permission},
    files::{Files, Ocr},
    kerberos::Kerberos,
    limits::Limits,
    setting::{Aws, Setting},
    traces::Traces,
    vouching::{Bucket, Publication, Timestamps, WitnessedBy},
};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of all state: CA, keys, spool, SQLite store, model weights.
    pub dir: PathBuf,
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Listen,
    /// The reverse gateway.
    pub gateway: Gateway,
    /// The forward proxy.
    pub intercept: Intercept,
    /// Policy file; the embedded default policy when absent.
    pub policy: Option<PathBuf>,
    /// Further detector files (or folders of them), in the form of `policies/detectors/*.yaml`.
    pub detectors: Vec<PathBuf>,
    /// Further files that describe web applications (or folders of them), in the form of
    /// `policies/dialects/*.yaml`; one of the same name takes the place of one that Cordon brings along.
    pub dialects: Vec<PathBuf>,
    /// Folder of fingerprints of the company's own texts and records; `DIR/fingerprints` when absent.
    /// `cordon fingerprint` writes it.
    pub fingerprints: Option<PathBuf>,
    /// The token classifier that finds names, addresses and places.
    pub ner: Ner,
    /// How files in requests are read.
    pub files: Files,
    /// The on-prem model.
    pub engine: Engine,
    /// What the policy's questions to the on-prem model may cost.
    pub questions: Questions,
    /// The company's own proxy, which clouds and tunnels are reached through, where it is the only way out.
    pub upstream_proxy: Option<UpstreamProxy>,
    /// Providers and clusters that the policy may route to, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Where records rest: `sqlite`, or a PostgreSQL URL (best as `${env:DATABASE_URL}`).
    pub store: Setting,
    /// The audit: how long records are kept, who vouches for them, and what of an exchange they hold.
    pub audit: Audit,
    /// How callers are recognised.
    pub identity: IdentityConfig,
    /// Limits on what is read and how long is waited.
    pub limits: Limits,
    /// Logs.
    pub log: Log,
    /// An OpenTelemetry collector that gets a span of each exchange; none when absent.
    pub traces: Option<Traces>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("cordon-state"),
            listen: Listen::default(),
            gateway: Gateway::default(),
            intercept: Intercept::default(),
            policy: None,
            detectors: Vec::new(),
            dialects: Vec::new(),
            fingerprints: None,
            ner: Ner::default(),
            files: Files::default(),
            engine: Engine::default(),
            questions: Questions::default(),
            upstream_proxy: None,
            upstreams: BTreeMap::from([
                (
                    "openai".to_owned(),
                    Upstream::cloud(
                        "api.openai.com",
                        &[
                            Dialect::OpenaiChat,
                            Dialect::OpenaiResponses,
                            Dialect::OpenaiCompletions,
                            Dialect::OpenaiEmbeddings,
                            Dialect::OpenaiImages,
                            Dialect::OpenaiAudio,
                            Dialect::OpenaiFiles,
                            Dialect::OpenaiBatches,
                            Dialect::OpenaiModerations,
                            Dialect::OpenaiRealtime,
                        ],
                    ),
                ),
                (
                    "anthropic".to_owned(),
                    Upstream::cloud(
                        "api.anthropic.com",
                        &[
                            Dialect::AnthropicMessages,
                            Dialect::AnthropicBatches,
                            Dialect::AnthropicFiles,
                        ],
                    ),
                ),
            ]),
            store: Setting::from("sqlite"),
            audit: Audit::default(),
            identity: IdentityConfig::default(),
            limits: Limits::default(),
            log: Log::default(),
            traces: None,
        }
    }
}

/// The reverse gateway's own certificate.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// DNS names and IP addresses that callers use for the gateway; its certificate holds them.
    /// `cordon ca init` constrains the gateway's intermediate to them.
    pub names: Vec<String>,
    /// Certificate chain file (PEM) of the company's own, in place of one from our authority.
    pub certificate: Option<PathBuf>,
    /// Private key file (PEM) to `certificate`.
    pub key: Option<PathBuf>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            certificate: None,
            key: None,
        }
    }
}

/// The company's own proxy, as the only way to the outside.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamProxy {
    /// `http://HOST:PORT` or `https://HOST:PORT`, with `USER:PASSWORD@` in front of the host where it asks for a
    /// login (Basic); best as `${file:PATH}` then.
    pub url: Setting,
    /// Hosts (with their subdomains), addresses and networks that are reached without it.
    #[serde(default)]
    pub no_proxy: Vec<String>,
}

/// The token classifier (named-entity recognition) that finds names, addresses and places. Without it they
/// are found by word lists and patterns alone.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ner {
    /// Whether it is used where it is installed.
    pub enabled: bool,
    /// Folder with `model.onnx`, `tokenizer.json` and `config.json` (labels; `gliner_config.json` for a GLiNER); the
    /// folder `names` beside the program when absent.
    pub dir: Option<PathBuf>,
    /// ONNX Runtime's shared library, 1.24 or later; `libonnxruntime.so` in that folder when absent.
    pub runtime: Option<PathBuf>,
    /// What labels stand for that are not known, or meant otherwise: a label without `B-` or `I-`, and `PERSON`,
    /// `ADDRESS`, `LOCATION`, `POSTAL_CODE`, `ORGANIZATION` or `NONE`. A GLiNER is asked for exactly these labels.
    pub labels: BTreeMap<String, String>,
    /// Texts that are read at the same time, each on one core; half of the cores when absent.
    pub threads: Option<usize>,
    /// Milliseconds that a request may be read for; past it the policy's `names.late` holds.
    pub deadline_ms: u64,
}

impl Default for Ner {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: None,
            runtime: None,
            labels: BTreeMap::new(),
            threads: None,
            deadline_ms: 10_000,
        }
    }
}

/// The on-prem model: a process of ours to spawn, or one that runs elsewhere.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Engine {
    /// `cordon-engine`'s path; beside `cordon` itself or on `PATH` when absent.
    pub binary: Option<PathBuf>,
    /// Weights (GGUF); the one file under `DIR/models` when absent.
    pub model: Option<PathBuf>,
    /// Name that callers see; the weights' file name when absent.
    pub alias: Option<String>,
    /// Requests that are answered at the same time.
    pub slots: u16,
    /// LLM tokens of context a slot.
    pub context: u32,
    /// CPU threads; all cores when absent.
    pub threads: Option<u16>,
    /// Layers on the GPU, for an engine built with a GPU feature.
    pub gpu_layers: Option<u32>,
    /// Further models that it serves, by the names that callers ask for. Whoever asks for another name gets the first.
    pub models: BTreeMap<String, EngineModel>,
    /// LoRA adapters, by the names that callers ask for.
    pub adapters: BTreeMap<String, Adapter>,
    /// URL of an engine that is already running; nothing is spawned then, and it is told by `models` and `adapters` which names that one answers to.
    pub url: Option<String>,
}

/// A further model of the engine.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineModel {
    /// Weights (GGUF). The path holds no comma.
    pub path: PathBuf,
    /// Requests that are answered at the same time; the engine's when absent.
    pub slots: Option<u16>,
    /// LLM tokens of context a slot; the engine's when absent.
    pub context: Option<u32>,
    /// Seconds that it stays in memory without being asked; always when absent.
    pub keep_alive_seconds: Option<u64>,
}

/// A LoRA adapter.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Adapter {
    /// The adapter (GGUF).
    pub path: PathBuf,
    /// The name of the model in `models` that it belongs to; the first model when absent.
    pub model: Option<String>,
    /// How strongly it tells, 0 to 10.
    pub scale: f32,
}

impl Engine {
    /// What is wrong with it.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let fits = |name: &str| {
            !name.is_empty()
                && name.len() <= 128
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+'))
        };
        for name in self.models.keys().chain(self.adapters.keys()) {
            if !fits(name) {
                faults.push(format!(
                    "`{name}` is no model's name: letters, digits and . _ - + are, up to 128"
                ));
            }
            if self.alias.as_deref() == Some(name) {
                faults.push(format!("`{name}` is the first model's name, too"));
            }
        }
        for (name, model) in &self.models {
            if model.slots == Some(0) || model.context == Some(0) {
                faults.push(format!("models.{name}: `slots` and `context` must be at least 1"));
            }
            if model.path.to_string_lossy().contains(',') {
                faults.push(format!(
                    "models.{name}: a path with a comma cannot be given to the engine"
                ));
            }
        }
        for (name, adapter) in &self.adapters {
            if self.models.contains_key(name) {
                faults.push(format!("`{name}` is a model and an adapter"));
            }
            if !(0.0..=10.0).contains(&adapter.scale) {
                faults.push(format!("adapters.{name}: `scale` must be 0 to 10"));
            }
            if let Some(model) = &adapter.model
                && !self.models.contains_key(model)
            {
                faults.push(format!("adapters.{name}: there is no `{model}` in `models`"));
            }
        }
        faults
    }
}

impl Default for Adapter {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            model: None,
            scale: 1.0,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            binary: None,
            model: None,
            alias: None,
            slots: 4,
            context: 4096,
            threads: None,
            gpu_layers: None,
            models: BTreeMap::new(),
            adapters: BTreeMap::new(),
            url: None,
        }
    }
}

/// What the policy's questions to the on-prem model may cost.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Questions {
    /// Who is asked: `engine`, or the name of a cluster in `upstreams` that speaks `openai-chat` and honours
    /// `response_format` with a JSON schema. Never a cloud.
    pub upstream: String,
    /// Milliseconds that all questions of an exchange may take; past it the question's `unanswered` holds.
    pub deadline_ms: u64,
    /// LLM tokens that the questions of one exchange may take.
    pub tokens_per_exchange: u64,
    /// LLM tokens that questions may take in a minute.
    pub tokens_per_minute: u64,
    /// Questions that are put to the model at once.
    pub at_once: usize,
    /// Longer texts are asked about in parts of so many bytes.
    pub window_bytes: usize,
    /// Answers that are remembered.
    pub remembered: usize,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            upstream: "engine".to_owned(),
            deadline_ms: 20_000,
            tokens_per_exchange: 20_000,
            tokens_per_minute: 400_000,
            at_once: 2,
            window_bytes: 4000,
            remembered: 10_000,
        }
    }
}

/// A provider or a cluster.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `cloud` (outside the building) or `cluster` (inside).
    #[schemars(with = "String")]
    pub kind: UpstreamKind,
    /// Hosts that callers of the forward proxy address it by; the first is where gateway
    /// requests go.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Base URL instead of `https://HOST`, for clusters: `http://10.0.0.5:8000`.
    #[serde(default)]
    pub url: Option<String>,
    /// Address to dial instead of what DNS says (`IP:PORT`). The TLS name stays the host's.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// Whether a cloud's name may lead to a private, loopback or link-local address. One that `address` gives,
    /// or `url` spells out, may be any.
    #[serde(default)]
    pub allow_private: bool,
    /// `passthrough` sends the caller's own provider key on (forward proxy only); else the key
    /// that Cordon uses, as `${env:NAME}` or `${file:PATH}`.
    #[serde(default = "passthrough")]
    pub credentials: Setting,
    /// Dialects it speaks; a request in another is translated to `openai-chat`, or else `anthropic-messages` or `gemini`,
    /// where it speaks one of these.
    #[serde(default = "chat_only")]
    #[schemars(with = "Vec<String>")]
    pub dialects: Vec<Dialect>,
    /// Credentials for Amazon, by which each request to this cloud is signed (AWS4-HMAC-SHA256), in place of `credentials`.
    #[serde(default)]
    pub aws: Option<Aws>,
    /// Model name to ask for instead of the caller's; for upstreams whose one dialect is `openai-chat`, `anthropic-messages`
    /// or `gemini`.
    #[serde(default)]
    pub model: Option<String>,
    /// Whether its `openai-chat` takes `reasoning_effort`. Then a translated request tells how much its caller wants the model to
    /// think, and gives a provider back what models thought in earlier turns; servers that do not know it may refuse the request.
    #[serde(default)]
    pub reasoning_effort: bool,
}

fn passthrough() -> Setting {
    Setting::from("passthrough")
}

fn chat_only() -> Vec<Dialect> {
    vec![Dialect::OpenaiChat]
}

impl Upstream {
    fn cloud(host: &str, dialects: &[Dialect]) -> Self {
        Self {
            kind: UpstreamKind::Cloud,
            hosts: vec![host.to_owned()],
            url: None,
            address: None,
            allow_private: false,
            credentials: passthrough(),
            dialects: dialects.to_vec(),
            aws: None,
            model: None,
            reasoning_effort: false,
        }
    }
}

/// Logs, which go to standard error and hold no request text.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `pretty` or `json`.
    pub format: LogFormat,
    /// A `tracing` directive, e.g. `info` or `cordon=debug`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Pretty,
            level: "info".to_owned(),
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the extra CA files that upstreams are verified against.
    pub fn extra_roots(&self) -> Result<Vec<String>, (PathBuf, std::io::Error)> {
        self.intercept
            .extra_roots
            .iter()
            .map(|path| std::fs::read_to_string(path).map_err(|error| (path.clone(), error)))
            .collect()
    }

    /// Reads the revocation lists that upstreams' certificates are checked against.
    pub fn revocation(&self) -> Result<Revocation, RevocationError> {
        let mut revocation = Revocation::read(&self.intercept.crls)?;
        revocation.refuse_unknown = self.intercept.crl_unknown == Permission::Refuse;
        revocation.accept_expired = self.intercept.crl_expired == Permission::Allow;
        Ok(revocation)
    }

    /// Whether a host is intercepted: it is listed, or a subdomain of one that is, and not to pass unread.
    pub fn intercepts(&self, host: &str) -> bool {
        let listed = &self.intercept.hosts;
        listed.iter().any(|listed| host_within(host, listed)) && !self.intercept.passes_unread(host)
    }

    /// Takes up from another reading of the file what changes while Cordon runs: rules, and who may come in.
    /// Addresses, upstreams and the engine belong to the process.
    pub fn take_up(&mut self, fresh: &Self) {
        self.policy.clone_from(&fresh.policy);
        self.detectors.clone_from(&fresh.detectors);
        self.dialects.clone_from(&fresh.dialects);
        self.fingerprints.clone_from(&fresh.fingerprints);
        let identity = self.identity.clone();
        // The child that checks tickets belongs to the process, too; who is admitted by them does not.
        let kerberos = match (identity.kerberos, &fresh.identity.kerberos) {
            (Some(old), Some(new)) => Some(Kerberos {
                keytab: old.keytab,
                principal: old.principal,
                ..new.clone()
            }),
            (Some(_), None) | (None, _) => None,
        };
        self.identity = IdentityConfig {
            installation_key: identity.installation_key,
            client_ca: identity.client_ca,
            kerberos,
            ..fresh.identity.clone()
        };
    }

    /// The top-level keys that differ from another reading of the file and that only a start reads: all that
    /// [`Config::take_up`] leaves alone.
    pub fn fixed_keys_unlike(&self, other: &Self) -> Vec<&'static str> {
        // Named one by one, so that a new key is either taken up or told of.
        let Self {
            dir,
            listen,
            gateway,
            intercept,
            policy: _,
            detectors: _,
            dialects: _,
            fingerprints: _,
            ner,
            files,
            engine,
            questions,
            upstream_proxy,
            upstreams,
            store,
            audit,
            identity,
            limits,
            log,
            traces,
        } = self;
        let IdentityConfig {
            anonymous_loopback: _,
            keys: _,
            installation_key,
            client_ca,
            certificate_groups: _,
            kerberos,
            networks: _,
        } = identity;
        let service = |kerberos: &Option<Kerberos>| {
            kerberos
                .as_ref()
                .map(|kerberos| (kerberos.keytab.clone(), kerberos.principal.clone()))
        };
        [
            ("dir", *dir != other.dir),
            ("listen", *listen != other.listen),
            ("gateway", *gateway != other.gateway),
            ("intercept", *intercept != other.intercept),
            ("ner", *ner != other.ner),
            ("files", *files != other.files),
            ("engine", *engine != other.engine),
            ("questions", *questions != other.questions),
            ("upstream_proxy", *upstream_proxy != other.upstream_proxy),
            ("upstreams", *upstreams != other.upstreams),
            ("store", *store != other.store),
            ("audit", *audit != other.audit),
            (
                "identity.installation_key",
                *installation_key != other.identity.installation_key,
            ),
            ("identity.client_ca", *client_ca != other.identity.client_ca),
            (
                "identity.kerberos",
                service(kerberos) != service(&other.identity.kerberos),
            ),
            ("limits", *limits != other.limits),
            ("log", *log != other.log),
            ("traces", *traces != other.traces),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    /// The JSON schema of the file.
    pub fn schema() -> String {
        let mut text =
            serde_json::to_string_pretty(&schemars::schema_for!(Config)).expect("a schema is plain JSON");
        text.push('\n');
        text
    }
}

/// Whether `host` is `listed` or lies under it.
pub fn host_within(host: &str, listed: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case(listed)
        || (host.len() > listed.len()
            && host.as_bytes()[host.len() - listed.len() - 1] == b'.'
            && host.as_bytes()[host.len() - listed.len()..].eq_ignore_ascii_case(listed.as_bytes()))
}

/// Folder of state for `cordon up` when none is named: `$XDG_DATA_HOME/cordon`, else
/// `~/.local/share/cordon`, else `./cordon-state`.
pub fn default_dir() -> PathBuf {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from("XDG_DATA_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/share")))
        .map_or_else(|| PathBuf::from("cordon-state"), |data| data.join("cordon"))
}

/// Directories where a program is looked for, in `PATH`'s order.
pub fn search_path() -> Vec<PathBuf> {
    std::env::var_os("PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect())
}

/// The hub that `cordon model pull hf:...` asks: `HF_ENDPOINT` as the hub's own programs read it.
pub fn hub_endpoint() -> String {
    std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".to_owned())
}

/// `DATABASE_URL`, which `cordon up` and the commands on its state folder honour.
pub fn database_url() -> Option<String> {
    std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())
}

/// A variable that the configuration names; none where it is not set or no UTF-8.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where Kerberos' own configuration is, for the child that checks tickets: `KRB5_CONFIG`, as its own programs read it.
pub fn kerberos_environment() -> Option<(&'static str, std::ffi::OsString)> {
    const NAME: &str = "KRB5_CONFIG";
    std::env::var_os(NAME)
        .filter(|file| !file.is_empty())
        .map(|file| (NAME, file))
}

/// The file that `CORDON_BASELINE_KEY` names: the key of the baseline of `cordon scan`.
pub fn baseline_key() -> Option<PathBuf> {
    std::env::var_os("CORDON_BASELINE_KEY")
        .filter(|file| !file.is_empty())
        .map(PathBuf::from)
}

/// Whether a terminal's user wants colours: has said neither `NO_COLOR` (no-color.org) nor `TERM=dumb`.
pub fn wants_colours() -> bool {
    let said = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    said("NO_COLOR").is_none() && said("TERM").is_none_or(|term| term != "dumb")
}

/// The proxy and CA variables of this process, for `cordon doctor`.
pub fn proxy_environment() -> BTreeMap<String, String> {
    const NAMES: [&str; 10] = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "NO_PROXY",
        "no_proxy",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "CODEX_CA_CERTIFICATE",
        "REQUESTS_CA_BUNDLE",
    ];
    NAMES
        .iter()
        .filter_map(|name| std::env::var(name).ok().map(|value| ((*name).to_owned(), value)))
        .collect()
}

#[cfg(test)]
mod tests;
