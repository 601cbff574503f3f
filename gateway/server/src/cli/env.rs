//! `cordon env`: what a program exports to go through the proxy. Which variable each program reads
//! was measured; `docs/clients.md` holds the table.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{Where, say};
use crate::{config::Config, installation::Installation, running::Running};

/// Arguments of `cordon env`.
#[derive(Args)]
pub struct Env {
    /// Form of the output.
    #[arg(long, value_enum, default_value = "sh")]
    format: Format,
    /// API key to put into the proxy's URL; the key that `cordon up` made when absent.
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    place: Where,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Sh,
    Powershell,
    Json,
}

impl Env {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let config = self.place.load()?;
        let variables = variables(&config, &Running::or_configured(&config), self.key.as_deref());
        match self.format {
            Format::Sh => {
                for (name, value) in &variables {
                    say(&format!("export {name}={}", sh_quoted(value)));
                }
            }
            Format::Powershell => {
                for (name, value) in &variables {
                    say(&format!("$env:{name} = '{}'", value.replace('\'', "''")));
                }
            }
            Format::Json => {
                let object: Map<String, Value> = variables
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), Value::String(value)))
                    .collect();
                say(&Value::Object(object).to_string());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The variables, in the order printed.
pub fn variables(config: &Config, running: &Running, key: Option<&str>) -> Vec<(&'static str, String)> {
    let installation = Installation::of(config);
    let key = key.map(str::to_owned).or_else(|| {
        std::fs::read_to_string(installation.own_api_key())
            .ok()
            .map(|key| key.trim().to_owned())
    });
    let proxy = match key {
        Some(key) => running.proxy.replacen("://", &format!("://cordon:{key}@"), 1),
        None => running.proxy.clone(),
    };
    let bundle = installation.bundle().display().to_string();
    let root = installation.root().display().to_string();
    // Loopback stays direct, so that local services of the developer keep working.
    let mut direct = "localhost,127.0.0.1,::1".to_owned();
    for entry in &config.intercept.bypass {
        direct.push(',');
        direct.push_str(entry);
    }
    vec![
        ("HTTPS_PROXY", proxy.clone()),
        ("https_proxy", proxy),
        ("NO_PROXY", direct.clone()),
        ("no_proxy", direct),
        ("SSL_CERT_FILE", bundle.clone()),
        ("REQUESTS_CA_BUNDLE", bundle.clone()),
        ("CURL_CA_BUNDLE", bundle.clone()),
        // git, pip, Cargo, Deno, the AWS tools and gRPC each have one of their own.
        ("GIT_SSL_CAINFO", bundle.clone()),
        ("PIP_CERT", bundle.clone()),
        ("CARGO_HTTP_CAINFO", bundle.clone()),
        ("AWS_CA_BUNDLE", bundle.clone()),
        ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", bundle),
        ("DENO_CERT", root.clone()),
        ("NODE_EXTRA_CA_CERTS", root.clone()),
        ("NODE_USE_ENV_PROXY", "1".to_owned()),
        ("CODEX_CA_CERTIFICATE", root),
    ]
}

/// A word of a POSIX shell.
pub fn sh_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}
