//! Cordon itself, as a child process with a state folder of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::{
    machine::Cores,
    provider::{HOST, Provider},
    talk::Target,
};

/// The key that Cordon logs in to the provider with.
const PROVIDER_KEY: &str = "bench-provider-key";
/// The header that comes of it.
pub const PROVIDER_LOGIN: &str = "Bearer bench-provider-key";

const START: Duration = Duration::from_secs(60);
/// How long the store may take for what is in the spool after a measurement.
const SHIP: Duration = Duration::from_secs(120);

/// Exchanges at once, a thousand streams among them.
const PLACES: u64 = 4096;

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
    /// Its gateway.
    pub gateway: SocketAddr,
    /// Its forward proxy.
    pub proxy: SocketAddr,
    /// Its CA certificate.
    pub ca_pem: String,
    /// An API key.
    pub key: String,
    admin: SocketAddr,
    child: Child,
    config: PathBuf,
}

impl Subject {
    /// Writes its configuration and starts it.
    pub async fn start(folder: &Path, provider: &Provider, cores: &Cores, most: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let config = folder.join("cordon.yaml");
        std::fs::write(folder.join("provider-ca.pem"), provider.ca_pem())?;
        std::fs::write(folder.join("policy.yaml"), POLICY)?;
        // One caller at one address does here what thousands do elsewhere. Records are counted, so none comes by the clock.
        let connections = most + PLACES;
        std::fs::write(
            &config,
            format!(
                "dir: state\nlisten: {{ gateway: '127.0.0.1:0', proxy: '127.0.0.1:0', admin: '127.0.0.1:0' }}\n\
                 intercept: {{ hosts: [{HOST}], extra_roots: [provider-ca.pem], allow_private_tunnels: true }}\npolicy: policy.yaml\n\
                 engine: {{ url: 'http://127.0.0.1:9' }}\nner: {{ enabled: false }}\nlog: {{ level: warn }}\naudit: {{ heartbeat_seconds: 86400 }}\n\
                 limits: {{ tunnels: {most}, tunnels_per_actor: {most}, exchanges: {PLACES}, exchanges_per_actor: {PLACES}, connections: {connections}, \
                 connections_per_address: {connections}, requests_per_connection: 100000000, given_up_per_minute: 1000000 }}\n\
                 upstreams:\n  provider: {{ kind: cloud, hosts: [{HOST}], url: '{}', credentials: {PROVIDER_KEY}, dialects: [openai-chat], allow_private: true }}\n",
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

        let mut child = cores
            .command(&std::env::current_exe()?)
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
        let told = |name: &str| ready[name].as_str().context("the line of a ready Cordon");
        let address = |name: &str| -> Result<SocketAddr> {
            let url: http::Uri = told(name)?.parse()?;
            let port = url.port_u16().context("a URL with a port")?;
            Ok(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        Ok(Self {
            gateway: address("gateway")?,
            proxy: address("proxy")?,
            admin: address("admin")?,
            ca_pem: std::fs::read_to_string(told("ca")?)?,
            key,
            child,
            config,
        })
    }

    /// Its gateway as the load's target.
    pub fn target(&self) -> Result<Target> {
        Target::new(self.gateway, "localhost", &self.ca_pem, &self.key)
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Waits until the store has every record, so that what shipping costs is counted where it was caused.
    pub async fn shipped(&self) -> Result<()> {
        let until = Instant::now() + SHIP;
        while self.waiting().await? > 0 {
            ensure!(Instant::now() < until, "the store did not take all records");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Records that the store does not have yet.
    async fn waiting(&self) -> Result<u64> {
        let mut line = TcpStream::connect(self.admin).await?;
        line.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await?;
        let mut text = String::new();
        line.read_to_string(&mut text).await?;
        text.lines()
            .find_map(|line| line.strip_prefix("cordon_spool_depth "))
            .and_then(|depth| depth.trim().parse().ok())
            .context("the metrics tell how many records wait")
    }

    /// Stops it and verifies its audit; every request and every tunnel must have its two records.
    pub async fn finish(mut self, exchanges: u64) -> Result<String> {
        self.shipped().await?;
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
            records == 2 * exchanges + 2,
            "{exchanges} requests and tunnels left {records} records"
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
