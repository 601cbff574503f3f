//! How a configuration is read from its file, and what is checked that its types cannot say.
//!
//! On failure: one [`ConfigError`] a problem, each with file, line and column.

use std::path::{Path, PathBuf};

use cordon_domain::{Dialect, UpstreamKind};
use cordon_intercept::normal_host;

use super::{Config, host_within, passthrough};
use crate::upstream::region;

/// A spool smaller than this would have no room for new exchanges beside what it keeps for the ends of
/// those under way.
const LEAST_SPOOL: u64 = 32 << 20;

/// Shorter parts of a text would tell a language model too little.
const LEAST_WINDOW: usize = 400;

/// A problem with its line and column, before the file's name is known.
pub(super) type Located = ((u64, u64), String);

/// A problem in the configuration, where it is.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ConfigError {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Config {
    /// Reads and checks a file. Relative paths in it count from its folder.
    pub fn load(path: &Path) -> Result<Self, Vec<ConfigError>> {
        let name = path.display().to_string();
        let error = |line, column, message: String| ConfigError {
            file: name.clone(),
            line,
            column,
            message,
        };
        let source = std::fs::read_to_string(path)
            .map_err(|fault| vec![error(1, 1, format!("cannot be read: {}", fault.kind()))])?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&source, base).map_err(|faults| {
            faults
                .into_iter()
                .map(|(at, message)| error(at.0, at.1, message))
                .collect()
        })
    }

    /// Parses a source text; errors are ((line, column), message).
    pub(super) fn parse(source: &str, base: &Path) -> Result<Self, Vec<Located>> {
        let blank = source.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line == "---"
        });
        let mut config: Self = if blank {
            Self::default()
        } else {
            serde_saphyr::from_str(source).map_err(|fault| {
                let at = fault.location().map_or((1, 1), |at| (at.line(), at.column()));
                vec![(at, first_line(&fault.to_string()))]
            })?
        };
        config.anchor(base);
        config.intercept.normalise();
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: String| faults.push((position(source, key), message));
        if let Err(message) = config.store.resolve(base) {
            fault("store", message);
        }
        for (key, url) in [
            ("writer", &mut config.audit.writer),
            ("owner", &mut config.audit.owner),
        ] {
            if let Some(Err(message)) = url.as_mut().map(|url| url.resolve(base)) {
                fault(key, message);
            }
        }
        if let Some(token) = &mut config.intercept.authority.pkcs11
            && let Err(message) = token.pin.resolve(base)
        {
            fault("pkcs11", format!("`pin`: {message}"));
        }
        if let Err((key, message)) = config.audit.keys.resolve(base) {
            fault(key, message);
        }
        if let Some(proxy) = &mut config.upstream_proxy
            && let Err(message) = proxy.url.resolve(base)
        {
            fault("upstream_proxy", format!("`url`: {message}"));
        }
        let intercept = config.intercept.clone();
        for (name, upstream) in &mut config.upstreams {
            for host in &mut upstream.hosts {
                match normal_host(host) {
                    Some(normal) => *host = normal,
                    None => faults.push((
                        position(source, name),
                        format!("`{host}` of upstream `{name}` is no host name"),
                    )),
                }
            }
            // A listed provider whose host is not intercepted would be a tunnel that nobody reads.
            for host in upstream
                .hosts
                .iter()
                .filter(|_| upstream.kind == UpstreamKind::Cloud)
            {
                let listed = intercept.hosts.iter().any(|listed| host_within(host, listed));
                if !listed || intercept.passes_unread(host) {
                    let why = "is not under `intercept.hosts`, or under `bypass` or `tunnel_hosts`, so callers would pass it unread; list it there, and there alone";
                    faults.push((
                        position(source, name),
                        format!("host `{host}` of upstream `{name}` {why}"),
                    ));
                }
            }
            let mut fault = |key: &str, message: String| faults.push((position(source, key), message));
            if let Err(message) = upstream.credentials.resolve(base) {
                fault(name, format!("credentials of upstream `{name}`: {message}"));
            }
            if let Some(aws) = &mut upstream.aws {
                for setting in aws.settings() {
                    if let Err(message) = setting.resolve(base) {
                        fault(name, format!("`aws` of upstream `{name}`: {message}"));
                    }
                }
                if upstream.kind != UpstreamKind::Cloud || upstream.credentials != passthrough() {
                    fault(
                        name,
                        format!(
                            "`aws` of upstream `{name}` is for a cloud, and takes the place of `credentials`"
                        ),
                    );
                }
                let named = aws.region.is_some() || upstream.hosts.iter().all(|host| region(host).is_some());
                if !named || upstream.url.is_some() && aws.region.is_none() {
                    fault(
                        name,
                        format!("`aws` of upstream `{name}` needs a `region`: its host names none"),
                    );
                }
            }
            if name == "engine" || name == "requested" {
                fault(
                    name,
                    format!("`{name}` has a meaning of its own in policies; name the upstream otherwise"),
                );
            }
            match upstream.kind {
                UpstreamKind::Engine => fault(
                    name,
                    format!(
                        "upstream `{name}`: kind is `cloud` or `cluster`; the engine has its own section"
                    ),
                ),
                UpstreamKind::Cloud if upstream.hosts.is_empty() => {
                    fault(name, format!("cloud upstream `{name}` needs `hosts`"));
                }
                UpstreamKind::Cluster if upstream.hosts.is_empty() && upstream.url.is_none() => {
                    fault(name, format!("cluster upstream `{name}` needs `url` or `hosts`"));
                }
                _ => {}
            }
            if let Some(url) = &upstream.url
                && !(url.starts_with("http://") || url.starts_with("https://"))
            {
                fault(
                    name,
                    format!("`url` of upstream `{name}` must begin with http:// or https://"),
                );
            }
            let renamed = [Dialect::OpenaiChat, Dialect::AnthropicMessages, Dialect::Gemini];
            if upstream.model.is_some()
                && !matches!(upstream.dialects.as_slice(), [one] if renamed.contains(one))
            {
                fault(
                    name,
                    format!(
                        "`model` of upstream `{name}` needs one dialect alone under `dialects`: openai-chat, anthropic-messages or gemini"
                    ),
                );
            }
            if upstream.kind == UpstreamKind::Cloud
                && upstream
                    .url
                    .as_deref()
                    .is_some_and(|url| url.starts_with("http://"))
            {
                fault(
                    name,
                    format!("cloud upstream `{name}` must be reached over https"),
                );
            }
        }
        let mut fault = |key: &str, message: String| faults.push((position(source, key), message));
        for (key, message) in config.intercept.faults() {
            fault(key, message);
        }
        for entry in &config.identity.networks {
            if let Err(error) = entry.network.parse::<cordon_intercept::Network>() {
                fault("networks", format!("`identity.networks`: {error}"));
            }
        }
        if let Some(kerberos) = &config.identity.kerberos {
            for (key, message) in kerberos.faults(cfg!(feature = "kerberos")) {
                fault(key, message);
            }
        }
        if config.gateway.certificate.is_some() != config.gateway.key.is_some() {
            fault("gateway", "`certificate` and `key` go together".to_owned());
        }
        let store = config.store.value();
        if store != "sqlite" && !store.starts_with("postgres://") && !store.starts_with("postgresql://") {
            fault(
                "store",
                "write `sqlite` or a postgres:// URL (best as ${env:DATABASE_URL})".to_owned(),
            );
        }
        for publication in &mut config.audit.publish {
            if let Some(message) = publication.resolve(base) {
                fault("publish", message);
            }
        }
        for delivery in &mut config.audit.deliver {
            if let Some(message) = delivery.resolve(base) {
                fault("deliver", message);
            }
        }
        for (key, message) in config.audit.faults(store) {
            fault(key, message);
        }
        for (key, message) in config.traces.iter_mut().flat_map(|traces| traces.resolve(base)) {
            fault(key, message);
        }
        if config.limits.spool_bytes < LEAST_SPOOL {
            fault(
                "spool_bytes",
                format!(
                    "`limits.spool_bytes` must be at least {LEAST_SPOOL}: the spool is written in segments, and keeps room for the ends of exchanges"
                ),
            );
        }
        for (key, stands) in config
            .limits
            .at_least_one()
            .into_iter()
            .chain(config.files.at_least_one())
        {
            if !stands {
                fault(key, format!("`{key}` must be at least 1"));
            }
        }
        if !config.files.languages_are_names() {
            fault(
                "languages",
                "`files.languages` are names of Tesseract's data, such as `eng` and `kor`".to_owned(),
            );
        }
        if config.questions.at_once == 0 || config.questions.window_bytes < LEAST_WINDOW {
            fault(
                "questions",
                format!("`at_once` must be at least 1, `window_bytes` at least {LEAST_WINDOW}"),
            );
        }
        let asked = &config.questions.upstream;
        let in_building = config.upstreams.get(asked).is_some_and(|upstream| {
            upstream.kind == UpstreamKind::Cluster && upstream.dialects.contains(&Dialect::OpenaiChat)
        });
        if asked != "engine" && !in_building {
            fault(
                "questions",
                format!(
                    "`upstream: {asked}` must be `engine` or a cluster of `upstreams` that speaks openai-chat: texts that are asked about are not cleared for any other"
                ),
            );
        }
        if config.engine.slots == 0 || config.engine.context == 0 {
            fault("engine", "`slots` and `context` must be at least 1".to_owned());
        }
        for message in config.engine.faults() {
            fault("engine", message);
        }
        if faults.is_empty() {
            Ok(config)
        } else {
            Err(faults)
        }
    }

    /// Makes relative paths count from `base`.
    fn anchor(&mut self, base: &Path) {
        let mut fix = |path: &mut PathBuf| {
            if path.is_relative() {
                *path = base.join(&*path);
            }
        };
        fix(&mut self.dir);
        self.detectors.iter_mut().for_each(&mut fix);
        self.dialects.iter_mut().for_each(&mut fix);
        self.intercept.extra_roots.iter_mut().for_each(&mut fix);
        self.intercept.crls.iter_mut().for_each(&mut fix);
        if let Some(token) = &mut self.intercept.authority.pkcs11 {
            fix(&mut token.module);
        }
        if let Some(token) = &mut self.audit.keys.pkcs11 {
            fix(&mut token.module);
        }
        if let Some(kerberos) = &mut self.identity.kerberos {
            fix(&mut kerberos.keytab);
        }
        self.engine
            .models
            .values_mut()
            .for_each(|model| fix(&mut model.path));
        self.engine
            .adapters
            .values_mut()
            .for_each(|adapter| fix(&mut adapter.path));
        for path in [
            &mut self.policy,
            &mut self.audit.signing_key,
            &mut self.fingerprints,
            &mut self.engine.binary,
            &mut self.engine.model,
            &mut self.gateway.certificate,
            &mut self.gateway.key,
            &mut self.ner.dir,
            &mut self.ner.runtime,
            &mut self.files.tesseract,
            &mut self.identity.keys,
            &mut self.identity.client_ca,
            &mut self.identity.installation_key,
            &mut self.audit.keys.dir,
        ] {
            path.iter_mut().for_each(&mut fix);
        }
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// Where a key first stands in a source, for errors that are found after parsing.
fn position(source: &str, key: &str) -> (u64, u64) {
    source
        .lines()
        .enumerate()
        .find_map(|(number, line)| {
            let start = line.len() - line.trim_start().len();
            let rest = line.trim_start().strip_prefix(key)?;
            rest.trim_start()
                .starts_with(':')
                .then_some((number as u64 + 1, start as u64 + 1))
        })
        .unwrap_or((1, 1))
}
