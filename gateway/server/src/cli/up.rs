//! `cordon up` and `cordon serve`: the server itself.

use std::{collections::BTreeSet, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use cordon_domain::{Clock, SystemClock};
use cordon_intercept::Authority;

use super::{Where, complain, runtime, say};
use crate::{
    config::Config,
    installation::{Installation, replace_private},
    keys::Keys,
    running::Running,
    serve,
};

/// Ports and output, common to both.
#[derive(Args)]
struct Common {
    /// Print one JSON line when all is ready.
    #[arg(long)]
    json: bool,
    /// Port of the reverse gateway; 0 takes a free one.
    #[arg(long, value_name = "N")]
    gateway_port: Option<u16>,
    /// Port of the forward proxy; 0 takes a free one.
    #[arg(long, value_name = "N")]
    proxy_port: Option<u16>,
    /// Port of the admin listener; 0 takes a free one.
    #[arg(long, value_name = "N")]
    admin_port: Option<u16>,
}

impl Common {
    fn apply(&self, config: &mut Config) {
        let listen = &mut config.listen;
        for (port, address) in [
            (self.gateway_port, &mut listen.gateway),
            (self.proxy_port, &mut listen.proxy),
            (self.admin_port, &mut listen.admin),
        ] {
            if let Some(port) = port {
                address.set_port(port);
            }
        }
    }
}

/// Arguments of `cordon up`.
#[derive(Args)]
pub struct Up {
    /// State folder, made when missing and found again; a `cordon.yaml` in it is honoured.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Weights (GGUF) instead of the one file under `DIR/models`.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// The engine's binary.
    #[arg(long, value_name = "FILE")]
    engine: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Up {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let mut config = Where {
            config: None,
            dir: self.dir,
        }
        .load()?;
        self.common.apply(&mut config);
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).with_context(|| format!("cannot use {}", path.display()))
        };
        if let Some(model) = self.model {
            config.engine.model = Some(absolute(model)?);
        }
        if let Some(engine) = self.engine {
            config.engine.binary = Some(absolute(engine)?);
        }
        serve::start_log(&config)?;
        let key = prepare(&config)?;
        let config_file = Some(config.dir.join("cordon.yaml")).filter(|file| file.is_file());
        run(config, config_file, self.common.json, Some(key))
    }
}

/// Makes what `up` needs and is not there yet; returns the API key.
fn prepare(config: &Config) -> Result<String> {
    let installation = Installation::of(config);
    installation.create()?;
    if !installation.root().exists() {
        let files = Authority::init(&installation.ca(), serve::scope(config), &SystemClock)?;
        complain(&format!(
            "Made a certificate authority in {}. Move {} to a safe place off this machine: nothing here needs it, and whoever has it can renew the authority.",
            installation.ca().display(),
            files.root_key.display(),
        ));
    }
    let path = installation.own_api_key();
    let mut keys = Keys::load(installation.keys(), installation.make_key()?.derive("api-keys"))?;
    if let Ok(key) = fs::read_to_string(&path) {
        let key = key.trim().to_owned();
        if keys.recognise(&key).is_ok() {
            return Ok(key);
        }
        complain("The API key that `cordon up` made was revoked, so a new one is made.");
    }
    let groups = BTreeSet::from(["users".to_owned()]);
    let (_, key) = keys.create(installation.keys(), "owner", groups, SystemClock.now())?;
    replace_private(&path, &key).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}

/// Arguments of `cordon serve`.
#[derive(Args)]
pub struct Serve {
    /// Configuration file; an empty one is valid.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Serve {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let mut config = Where {
            config: Some(self.config.clone()),
            dir: None,
        }
        .load()?;
        self.common.apply(&mut config);
        serve::start_log(&config)?;
        run(config, Some(self.config), self.common.json, None)
    }
}

fn run(config: Config, config_file: Option<PathBuf>, json: bool, key: Option<String>) -> Result<ExitCode> {
    let announce = |running: &Running| {
        let running = Running {
            key: key.clone(),
            ..running.clone()
        };
        if json {
            say(&serde_json::to_string(&running).unwrap_or_default());
        } else {
            say(&welcome(&running));
        }
    };
    runtime()?.block_on(serve::run(config, config_file, announce))?;
    Ok(ExitCode::SUCCESS)
}

/// What a person reads when all is ready.
fn welcome(running: &Running) -> String {
    let key = running.key.as_deref().unwrap_or("$CORDON_KEY");
    let (gateway, ca) = (&running.gateway, running.ca.display());
    let bundle = running.bundle.display();
    let proxy = running.proxy.replacen("://", &format!("://cordon:{key}@"), 1);
    format!(
        "\nCordon is ready.\n\n\
         Try it:\n  curl --cacert {ca} {gateway}/v1/chat/completions \\\n    -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\\n    -d '{{\"model\":\"default\",\"messages\":[{{\"role\":\"user\",\"content\":\"Say hello.\"}}]}}'\n\n\
         Point a program at the gateway:\n  OPENAI_BASE_URL={gateway}/v1  OPENAI_API_KEY={key}\n  ANTHROPIC_BASE_URL={gateway}  ANTHROPIC_API_KEY={key}\n  SSL_CERT_FILE={bundle}  NODE_EXTRA_CA_CERTS={ca}\n\n\
         Or put it behind the proxy, with no other change (`cordon env` prints it all):\n  HTTPS_PROXY={proxy}\n  SSL_CERT_FILE={bundle}  NODE_EXTRA_CA_CERTS={ca}\n\n\
         Instructions per program: {admin}/   Records: cordon audit search   Store: {store}\n",
        admin = running.admin,
        store = running.store,
    )
}
