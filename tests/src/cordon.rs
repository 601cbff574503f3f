//! The real binary in a folder of its own.
//!
//! A [`Home`] is an installation: configuration, policy, keys and state, which outlive the process.
//! [`Home::serve`] starts a process on it; dropping the [`Cordon`] it returns, or
//! [`Cordon::kill`], ends that process as a power cut would.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{Places, caller::Reply, upstream::Upstream};

/// How long a start may take; the engine's weights are read within it.
const START: Duration = Duration::from_secs(60);

/// Everything is answered by the upstream that was addressed; findings are redacted, secrets stop.
pub const POLICY_REQUESTED: &str = include_str!("../policies/requested.yaml");

/// Which on-prem model an installation has.
pub enum OnPrem<'a> {
    /// One that runs already: the shared engine, or an [`Upstream`] in its place.
    Url(String),
    /// A stand-in.
    StandIn(&'a Upstream),
    /// The real one, spawned and watched by Cordon itself.
    Spawned,
    /// The same with further settings, as the configuration has them.
    SpawnedWith(String),
}

/// What an installation is made of.
pub struct Plan<'a> {
    /// The on-prem model.
    pub engine: OnPrem<'a>,
    /// The provider that takes the place of the hosts of OpenAI and Anthropic.
    pub cloud: Option<&'a Upstream>,
    /// Hosts of web applications whose place the provider takes, too.
    pub apps: &'a [&'a str],
    /// The policy; the embedded default when absent.
    pub policy: Option<String>,
    /// Further hosts whose place that provider takes, with their dialects, as the configuration lists them.
    pub hosts: &'a [(&'static str, &'static str)],
    /// Servers of their own: the host of each, its address, and the CA that it is certified by.
    pub servers: &'a [(&'static str, SocketAddr, &'a str)],
    /// What Cordon tells the provider about who pays: `passthrough`, or a key of the company's.
    pub credentials: &'static str,
    /// PostgreSQL URL; SQLite when absent.
    pub database: Option<String>,
    /// Whether other hosts are reached unread, on loopback too; they are refused otherwise.
    pub tunnels: bool,
    /// Further top-level keys of the configuration, in YAML. The token classifier is off unless they name it.
    pub further: String,
}

impl<'a> Plan<'a> {
    /// Engine only, all else by default.
    #[must_use]
    pub fn on(engine: OnPrem<'a>) -> Self {
        Self {
            engine,
            cloud: None,
            apps: &[],
            policy: None,
            hosts: &[],
            servers: &[],
            credentials: "passthrough",
            database: None,
            tunnels: false,
            further: String::new(),
        }
    }

    /// With a provider, which every caller may reach.
    #[must_use]
    pub fn with_cloud(engine: OnPrem<'a>, cloud: &'a Upstream) -> Self {
        Self {
            cloud: Some(cloud),
            policy: Some(POLICY_REQUESTED.to_owned()),
            ..Self::on(engine)
        }
    }
}

/// The real engine's settings.
fn spawned() -> String {
    format!(
        "binary: '{}', model: '{}', slots: 2, context: 2048",
        Places::engine().display(),
        Places::weights().display()
    )
}

/// An installation.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// Writes the files of an installation and makes its CA.
    #[must_use]
    pub fn new(plan: &Plan<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let home = Self { folder };
        let mut config = String::from("dir: state\n");
        config.push_str("listen: { gateway: '127.0.0.1:0', proxy: '127.0.0.1:0', admin: '127.0.0.1:0' }\n");
        config.push_str("intercept:\n  hosts: [api.openai.com, api.anthropic.com, chatgpt.com");
        let apps = plan.apps.iter().filter(|app| **app != "chatgpt.com");
        let servers = plan.servers.iter().map(|(host, ..)| host);
        for host in apps.chain(plan.hosts.iter().map(|(host, _)| host)).chain(servers) {
            let _ = write!(config, ", {host}");
        }
        config.push_str("]\n");
        config.push_str(if plan.tunnels {
            "  allow_private_tunnels: true\n"
        } else {
            "  other_hosts: refuse\n"
        });
        let mut roots = plan
            .cloud
            .map(|cloud| cloud.ca_pem().to_owned())
            .unwrap_or_default();
        roots.extend(plan.servers.iter().map(|(_, _, ca)| *ca));
        if !roots.is_empty() {
            home.write("upstream-ca.pem", &roots);
            config.push_str("  extra_roots: [upstream-ca.pem]\n");
        }
        if let Some(policy) = &plan.policy {
            home.write("policy.yaml", policy);
            config.push_str("policy: policy.yaml\n");
        }
        let engine = match &plan.engine {
            OnPrem::Url(url) => format!("url: '{url}'"),
            OnPrem::StandIn(upstream) => format!("url: '{}'", upstream.url()),
            OnPrem::Spawned => spawned(),
            OnPrem::SpawnedWith(further) => format!("{}, {further}", spawned()),
        };
        let _ = writeln!(config, "engine: {{ {engine} }}");
        if plan.cloud.is_some() || !plan.servers.is_empty() {
            config.push_str("upstreams:\n");
        }
        if let Some(cloud) = plan.cloud {
            let (address, credentials) = (cloud.address(), plan.credentials);
            let further = plan
                .hosts
                .iter()
                .map(|(host, dialects)| (host.replace('.', "-"), *host, *dialects));
            for (name, host, dialects) in [
                (
                    "openai".to_owned(),
                    "api.openai.com",
                    "openai-chat, openai-responses",
                ),
                ("anthropic".to_owned(), "api.anthropic.com", "anthropic-messages"),
            ]
            .into_iter()
            .chain(further)
            {
                let _ = writeln!(
                    config,
                    "  {name}: {{ kind: cloud, hosts: [{host}], address: '{address}', credentials: {credentials}, dialects: [{dialects}] }}"
                );
            }
        }
        if let Some(cloud) = plan.cloud {
            for app in plan.apps {
                let _ = writeln!(
                    config,
                    "  {app}: {{ kind: cloud, hosts: [{app}], address: '{}', dialects: [] }}",
                    cloud.address()
                );
            }
        }
        for (host, address, _) in plan.servers {
            let _ = writeln!(
                config,
                "  {host}: {{ kind: cloud, hosts: [{host}], address: '{address}', dialects: [] }}"
            );
        }
        if plan.database.is_some() {
            config.push_str("store: '${env:CORDON_TEST_DATABASE}'\n");
            home.write("database-url", plan.database.as_deref().unwrap_or_default());
        }
        if !plan.further.contains("ner:") {
            config.push_str("ner: { enabled: false }\n");
        }
        config.push_str(&plan.further);
        home.write("cordon.yaml", &config);
        home.run(&["ca", "init"]);
        home
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("the temporary folder takes files");
    }

    /// Whether a file under the state folder, where records rest as JSON, holds a text.
    #[must_use]
    pub fn keeps(&self, text: &str) -> bool {
        lies_under(&self.path().join("state"), text.as_bytes())
    }

    /// What the processes have written to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Makes an API key.
    #[must_use]
    pub fn key(&self, user: &str, group: &str) -> String {
        let made = self.run(&["key", "create", "--user", user, "--group", group, "--json"]);
        let made: Value = serde_json::from_slice(&made.stdout).expect("`key create --json` prints JSON");
        made["key"]
            .as_str()
            .expect("`key create --json` prints the key")
            .to_owned()
    }

    /// What stands in records for a user.
    #[must_use]
    pub fn reference(&self, user: &str) -> String {
        let printed = self.run(&["audit", "reference", user]);
        String::from_utf8_lossy(&printed.stdout).trim().to_owned()
    }

    /// Runs a command of `cordon` on this installation, and expects it to succeed.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.try_run(arguments);
        assert!(
            output.status.success(),
            "cordon {} ended with {}: {}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        output
    }

    /// Runs a command of `cordon` on this installation.
    #[must_use]
    pub fn try_run(&self, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(Places::cordon());
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path().join("cordon.yaml"));
        command.envs(self.environment());
        command
            .stdin(Stdio::null())
            .output()
            .expect("the binary can be run")
    }

    /// Sets a variable for every process on this installation from now on.
    pub fn set(&self, name: &str, value: &str) {
        let mut all = fs::read_to_string(self.path().join("environment")).unwrap_or_default();
        let _ = writeln!(all, "{name}={value}");
        self.write("environment", &all);
    }

    fn environment(&self) -> Vec<(String, String)> {
        let set = fs::read_to_string(self.path().join("environment")).unwrap_or_default();
        let mut all: Vec<_> = set
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if let Ok(url) = fs::read_to_string(self.path().join("database-url")) {
            all.push(("CORDON_TEST_DATABASE".to_owned(), url));
        }
        all
    }

    /// The records that a search finds, as printed.
    #[must_use]
    pub fn search(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["audit", "search", "--format", "jsonl", "--limit", "100000"];
        all.extend(arguments);
        let output = self.run(&all);
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|_| panic!("`audit search` printed {line:?}"))
            })
            .collect()
    }

    /// The record of one exchange, which must be there with its final state within half a minute, exactly
    /// once. Intent and seal may reach the store one after the other.
    pub async fn record(&self, exchange: &str) -> Value {
        assert!(!exchange.is_empty(), "the answer names no exchange");
        let mut found = self
            .searched_until(&["--exchange", exchange], |found| {
                found
                    .iter()
                    .any(|row| row["closing"].is_object() || row["opening"]["body"]["kind"] == "refused")
            })
            .await;
        assert_eq!(found.len(), 1, "records of {exchange}: {found:#?}");
        found.remove(0)
    }

    /// Searches until what is found suffices, for half a minute at most: records take a moment from
    /// the spool to the store.
    pub async fn searched_until(&self, arguments: &[&str], enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.search(arguments);
            if enough(&found) || tokio::time::Instant::now() > deadline {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Starts a process and waits until it says that all is ready.
    pub async fn serve(&self) -> Cordon {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("log"));
        let mut child = Command::new(Places::cordon())
            .args(["serve", "--json", "--config"])
            .arg(self.path().join("cordon.yaml"))
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("the temporary folder takes files"))
            .kill_on_drop(true)
            .spawn()
            .expect("the binary can be run");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START, lines.next_line()).await;
        let Ok(Ok(Some(line))) = first else {
            panic!("`cordon serve` did not get ready: {first:?}\n{}", self.log())
        };
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("`cordon serve --json` printed {line:?}"));
        Cordon {
            child,
            ready,
            log: self.path().join("log"),
        }
    }
}

/// Whether a file of a folder holds some bytes.
fn lies_under(folder: &Path, wanted: &[u8]) -> bool {
    let entries = fs::read_dir(folder).expect("the state folder can be read");
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .any(|path| match path.is_dir() {
            true => lies_under(&path, wanted),
            false => {
                fs::read(&path).is_ok_and(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
            }
        })
}

/// A running process.
pub struct Cordon {
    child: Child,
    ready: Value,
    log: PathBuf,
}

impl Cordon {
    /// Where the reverse gateway listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        self.address("gateway")
    }

    /// Where the forward proxy listens.
    #[must_use]
    pub fn proxy(&self) -> SocketAddr {
        self.address("proxy")
    }

    /// Where the forward proxy listens for TLS, where it does.
    #[must_use]
    pub fn proxy_tls(&self) -> SocketAddr {
        self.address("proxy_tls")
    }

    /// Where health, metrics and the CA certificate are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.address("admin")
    }

    /// The CA certificate's path.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.text("ca").into()
    }

    /// The path of system roots and our CA in one file.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.text("bundle").into()
    }

    /// The CA certificate.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        fs::read_to_string(self.ca()).expect("the CA certificate that was announced is there")
    }

    /// What was written to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Waits until a page of the admin listener is as wanted, for half a minute at most.
    pub async fn admin_until(&self, path: &str, wanted: impl Fn(&Reply) -> bool) -> Reply {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let reply = self.admin_get(path).await;
            if wanted(&reply) {
                return reply;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{path} stays at {} {}",
                reply.status,
                reply.text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the process as a power cut would: SIGKILL, no last words.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Asks the process to end, as an orchestrator would, and waits for it. Returns its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().expect("the process runs");
        let status = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await;
        assert!(
            status.is_ok_and(|status| status.success()),
            "SIGTERM could not be sent"
        );
        let ended = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        ended
            .expect("it ends within a minute of SIGTERM")
            .expect("a child can be waited for")
            .code()
    }

    /// GET on the admin listener.
    pub async fn admin_get(&self, path: &str) -> Reply {
        let stream = tokio::net::TcpStream::connect(self.admin())
            .await
            .expect("the admin listener accepts");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
                .await
                .expect("the admin listener speaks HTTP");
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header("host", self.admin().to_string())
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .expect("a plain GET");
        Reply::read(
            sender
                .send_request(request)
                .await
                .expect("the admin listener answers"),
        )
        .await
        .expect("the admin listener answers whole")
    }

    fn address(&self, name: &str) -> SocketAddr {
        let url = self.text(name);
        let authority = url.split("://").nth(1).unwrap_or_default().trim_end_matches('/');
        let (_, port) = authority
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{name} is announced as {url:?}"));
        SocketAddr::from((
            [127, 0, 0, 1],
            port.parse()
                .unwrap_or_else(|_| panic!("{name} is announced as {url:?}")),
        ))
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is not announced: {}", self.ready))
    }
}
