//! Cordon itself, as a child process with a state folder of its own.

use std::{path::Path, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::provider::Provider;

/// The key that Cordon logs in to the provider with.
const PROVIDER_KEY: &str = "bench-provider-key";
/// The header that comes of it.
pub const PROVIDER_LOGIN: &str = "Bearer bench-provider-key";

const START: Duration = Duration::from_secs(60);
/// Linux counts CPU time in hundredths of a second for user space, whatever its tick.
const TICKS_A_SECOND: f64 = 100.0;

/// Redaction on, everything to the provider: the longest way that a request can take.
const POLICY: &str = "unknown: block
routes:
  - id: everything
    to: provider
rules:
  - id: redact-all
    entities: [\"*\"]
    action: redact
";

/// The process under measurement.
pub struct Subject {
    /// Base URL of its gateway.
    pub gateway: String,
    /// Its CA certificate.
    pub ca_pem: String,
    /// An API key.
    pub key: String,
    child: Child,
    config: PathBuf,
}

impl Subject {
    /// Writes its configuration and starts it.
    pub async fn start(folder: &Path, provider: &Provider) -> Result<Self> {
        let config = folder.join("cordon.yaml");
        std::fs::write(folder.join("provider-ca.pem"), provider.ca_pem())?;
        std::fs::write(folder.join("policy.yaml"), POLICY)?;
        std::fs::write(
            &config,
            format!(
                "dir: state\nlisten: {{ gateway: '127.0.0.1:0', proxy: '127.0.0.1:0', admin: '127.0.0.1:0' }}\n\
                 intercept: {{ hosts: [provider.example], extra_roots: [provider-ca.pem] }}\npolicy: policy.yaml\n\
                 engine: {{ url: 'http://127.0.0.1:9' }}\nner: {{ enabled: false }}\nlog: {{ level: warn }}\n\
                 upstreams:\n  provider: {{ kind: cloud, hosts: [provider.example], url: '{}', credentials: {PROVIDER_KEY}, dialects: [openai-chat] }}\n",
                provider.url()
            ),
        )?;
        cordon(&config, &["ca", "init"]).await?;
        let made: Value =
            serde_json::from_str(&cordon(&config, &["key", "create", "--user", "bench", "--json"]).await?)?;
        let key = made["key"]
            .as_str()
            .context("`cordon key create --json` prints a key")?
            .to_owned();

        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--json", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("Cordon cannot be started")?;
        let output = child.stdout.take().context("standard output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let line = timeout(START, lines.next_line())
            .await
            .context("Cordon did not get ready")??;
        let ready: Value = serde_json::from_str(&line.context("Cordon ended before it was ready")?)?;
        let path = |name: &str| {
            ready[name]
                .as_str()
                .map(str::to_owned)
                .context("the line of a ready Cordon")
        };
        Ok(Self {
            gateway: path("gateway")?,
            ca_pem: std::fs::read_to_string(path("ca")?)?,
            key,
            child,
            config,
        })
    }

    /// CPU time that it has used, in seconds; 0 where `/proc` does not tell.
    pub fn cpu_seconds(&self) -> f64 {
        let Some(id) = self.child.id() else { return 0.0 };
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
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

    /// Stops it and verifies its audit; every request must have its record.
    pub async fn finish(mut self, requests: u64) -> Result<String> {
        let id = self.child.id().context("Cordon ended by itself")?;
        let asked = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await?;
        ensure!(asked.success(), "Cordon could not be asked to end");
        timeout(START, self.child.wait())
            .await
            .context("Cordon did not end")??;
        let verified = cordon(&self.config, &["audit", "verify"]).await?;
        // Two records an exchange, one each for start and stop.
        let records: u64 = verified
            .split(' ')
            .nth(1)
            .and_then(|count| count.parse().ok())
            .unwrap_or_default();
        ensure!(
            records == 2 * requests + 2,
            "{requests} requests left {records} records"
        );
        Ok(verified.lines().next().unwrap_or_default().to_owned())
    }
}

/// Runs a command of this binary and gives what it prints.
async fn cordon(config: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        bail!(
            "cordon {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}
