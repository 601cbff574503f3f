//! Records on their way out: to a receiver of syslog on OpenSSL and to the real nats-server, while all of them are killed in turn. Every record of
//! the store arrives, what arrives twice is the same twice, and nothing that people wrote is in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use async_nats::{
    ConnectOptions,
    jetstream::{self, stream::Stream},
};
use cordon_tests::{
    Places,
    caller::{Caller, Door, PROVIDER_KEY},
    cordon::{Cordon, Home, OnPrem, Plan},
    replies::{Deltas, Talk, echo_divided},
    syslog::{Message, Receiver, frames},
    tls::TestAuthority,
    upstream::Upstream,
};

const CANARIES: [&str; 4] = [
    "carla.canary@hanbit-semi.com",
    "4539 1488 0343 6467",
    "AKIAQ6CANARY7XWZ2PLM",
    "Rosalind Canary-Feather",
];
const PATIENCE: Duration = Duration::from_secs(90);

/// `nats-server` with JetStream in a folder.
struct Nats {
    child: Option<Child>,
    port: u16,
    config: PathBuf,
    options: Box<dyn Fn() -> ConnectOptions + Send + Sync>,
    secure: bool,
}

impl Nats {
    /// With TLS both ways and a login where there is an authority's folder of PEM files, else with neither.
    fn start(dir: &Path, files: Option<&Path>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut config = format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\" }}\n",
            dir.join("jetstream").display()
        );
        let mut options: Box<dyn Fn() -> ConnectOptions + Send + Sync> = Box::new(ConnectOptions::new);
        if let Some(files) = files {
            let path = |name: &str| files.join(name);
            config += &format!(
                "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\nauthorization {{ user: cordon, password: hush-hush }}\n",
                path("server.pem").display(),
                path("server.key").display(),
                path("ca.pem").display(),
            );
            let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
            options = Box::new(move || {
                ConnectOptions::with_user_and_password("cordon".into(), "hush-hush".into())
                    .add_root_certificates(ca.clone())
                    .add_client_certificate(certificate.clone(), key.clone())
            });
        }
        let file = dir.join("nats.conf");
        fs::write(&file, config).expect("a file");
        let mut nats = Self {
            child: None,
            port,
            config: file,
            options,
            secure: files.is_some(),
        };
        nats.start_again();
        nats
    }

    fn start_again(&mut self) {
        let program = ["/usr/sbin/nats-server", "nats-server"];
        let program = if Path::new(program[0]).exists() {
            program[0]
        } else {
            program[1]
        };
        let child = Command::new(program)
            .arg("-c")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("nats-server can be run: `scripts/setup test-packages` installs it"));
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn url(&self) -> String {
        let scheme = if self.secure { "tls" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    async fn context(&self) -> jetstream::Context {
        let until = Instant::now() + PATIENCE;
        loop {
            match (self.options)().connect(self.url()).await {
                Ok(client) => return jetstream::new(client),
                Err(error) => assert!(Instant::now() < until, "nats-server does not answer: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stream(&self, name: &str) -> Option<Stream> {
        self.context().await.get_stream(name).await.ok()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Certificates for a server on 127.0.0.1 and for Cordon, in a folder.
fn certificates(dir: &Path) -> TestAuthority {
    let authority = TestAuthority::new();
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("a file");
    write("ca.pem", authority.pem());
    let (chain, key) = authority.pems(&["127.0.0.1"]);
    write("server.pem", &chain);
    write("server.key", &key);
    let (chain, key) = authority.pems_of_client("cordon.example");
    write("client.pem", &chain);
    write("client.key", &key);
    authority
}

/// Every record of an embedded store: its id and its bytes.
fn store(home: &Home) -> BTreeMap<String, String> {
    let script = "import json, sqlite3, sys\n\
        for row in sqlite3.connect(sys.argv[1]).execute('SELECT writer, sequence, body FROM audit_record'): print(json.dumps(row))";
    python(
        script,
        &[&home.path().join("state/audit.db").display().to_string()],
    )
    .lines()
    .map(|line| {
        let (writer, sequence, body): (String, u64, String) = serde_json::from_str(line).expect("a row");
        (format!("{writer}/{sequence}"), body)
    })
    .collect()
}

fn python(script: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(Places::python());
    let output = command.args(["-B", "-c", script]).args(arguments).output();
    let output = output.expect("Python can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Frames that are whole: a receiver that was killed may have been about to write more.
fn messages(receiver: &Receiver) -> Vec<Message> {
    let bytes = receiver.read();
    frames(&bytes).into_iter().map(Message::parse).collect()
}

/// Asks for some answers, each with canaries.
async fn ask(cordon: &Cordon, key: &str, times: usize) {
    let caller = Caller::new(cordon, Door::Proxy, key);
    for turn in 0..times {
        let text = match turn % 3 {
            0 => format!("{} is {} and pays by {}", CANARIES[3], CANARIES[0], CANARIES[1]),
            1 => format!("Put {} into the script", CANARIES[2]),
            _ => "Good morning".to_owned(),
        };
        let reply = caller
            .post(Talk::Chat, &Talk::Chat.request(&text, turn % 2 == 0))
            .await;
        let reply = reply.expect("Cordon answers");
        assert!(reply.status == 200 || reply.status == 400, "{}", reply.text());
    }
}

async fn until(what: &str, home: &Home, mut look: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !look().await {
        assert!(Instant::now() < limit, "{what} does not come\n{}", home.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_arrives_whoever_is_killed() {
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path();
    certificates(dir);
    let mut nats = Nats::start(dir, Some(dir));
    let file = dir.join("received");
    let shown = (dir.join("server.pem"), dir.join("server.key"));
    let mut receiver = Receiver::start(Some((&shown.0, &shown.1)), Some(&dir.join("ca.pem")), &file);
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| echo_divided(seen, Deltas::Of(20)));
    let path = |name: &str| dir.join(name).display().to_string();
    let tls = format!(
        "tls: {{ ca: '{}', certificate: '{}', key: '{}' }}",
        path("ca.pem"),
        path("client.pem"),
        path("client.key")
    );
    fs::write(path("login"), "cordon:hush-hush\n").expect("a file");
    let home = Home::new(&Plan {
        further: format!(
            "audit:\n  heartbeat_seconds: 86400\n  tenants: {{ fab: {{ groups: [staff] }} }}\n  deliver:\n\
            \x20 - {{ name: siem, syslog: {{ address: '127.0.0.1:{}', confirm_seconds: 1, enterprise: 4711, {tls} }} }}\n\
            \x20 - {{ name: bus, nats: {{ url: '{}', subject: corp.audit, stream: AUDIT, create: true, credentials: '${{file:{}}}', {tls} }} }}\n",
            receiver.port(),
            nats.url(),
            path("login"),
        ),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("rosalind.canary", "staff");

    // Killed while records are on their way.
    for _ in 0..3 {
        let cordon = home.serve().await;
        ask(&cordon, &key, 24).await;
        cordon.kill().await;
    }
    let cordon = home.serve().await;
    until("the first records", &home, async || !receiver.read().is_empty()).await;
    ask(&cordon, &key, 12).await;
    receiver.kill();
    nats.kill();
    ask(&cordon, &key, 12).await;
    let failed = "cordon_audit_delivery_failures_total{destination=\"siem\",what=\"failed\"}";
    cordon
        .admin_until("/metrics", |reply| reply.text().contains(failed))
        .await;
    receiver.start_again();
    nats.start_again();
    ask(&cordon, &key, 12).await;
    let stored = store(&home);
    until("what is in the store", &home, async || {
        let arrived: BTreeSet<String> = messages(&receiver)
            .iter()
            .map(|message| message.parameters["id"].clone())
            .collect();
        stored.keys().all(|id| arrived.contains(id))
    })
    .await;
    let nothing_left = |reply: &cordon_tests::caller::Reply| {
        ["siem", "bus"].iter().all(|name| {
            reply.text().contains(&format!(
                "cordon_audit_delivery_lag_records{{destination=\"{name}\"}} 0"
            ))
        })
    };
    cordon.admin_until("/metrics", nothing_left).await;
    cordon.kill().await;

    let stored = store(&home);
    assert!(stored.len() > 200, "{}", stored.len());
    let sent = by_syslog(&receiver, &stored);
    let kept = by_jetstream(&nats, &stored).await;
    for canary in CANARIES
        .into_iter()
        .chain([key.as_str(), PROVIDER_KEY, "rosalind.canary", "hush-hush"])
    {
        assert!(
            !holds(&sent, canary) && !holds(&kept, canary),
            "{canary} was delivered"
        );
        assert!(!home.log().contains(canary), "{canary} is in the log");
    }
    let verified = home.run(&["audit", "verify"]);
    assert!(verified.stdout.starts_with(b"ok "));
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Checks what a receiver has, and gives it as it came.
fn by_syslog(receiver: &Receiver, stored: &BTreeMap<String, String>) -> Vec<u8> {
    let bytes = receiver.read();
    let mut seen: BTreeMap<String, &[u8]> = BTreeMap::new();
    let mut twice = 0;
    for frame in frames(&bytes) {
        let message = Message::parse(frame);
        let id = message.parameters["id"].clone();
        assert_eq!(
            (message.program.as_str(), message.element.as_str()),
            ("cordon", "cordon@4711")
        );
        assert_eq!(message.kind, message.parameters["kind"]);
        let body = message.body.expect("no record is so long");
        assert_eq!(Some(&body), stored.get(&id), "{id}");
        let record: serde_json::Value = serde_json::from_str(&body).expect("a record is JSON");
        let action = record["body"]["action"].as_str();
        let severity = match action {
            Some("block" | "coach") => 4,
            Some("alert" | "redact") => 5,
            _ => 6,
        };
        assert_eq!(message.priority, 13 * 8 + severity);
        assert_eq!(action, message.parameters.get("action").map(String::as_str));
        assert_eq!(
            record["tenant"].as_str().unwrap_or("default"),
            message.parameters["tenant"]
        );
        if action == Some("redact") {
            assert!(
                message.parameters["entities"].contains("EMAIL"),
                "{:?}",
                message.parameters
            );
        }
        if let Some(before) = seen.insert(id, frame) {
            twice += 1;
            assert_eq!(before, frame, "what comes again is the same");
        }
    }
    assert_eq!(seen.len(), stored.len());
    eprintln!("syslog: {} records, {twice} came again", seen.len());
    bytes
}

/// Checks what a stream has, and gives it as it is.
async fn by_jetstream(nats: &Nats, stored: &BTreeMap<String, String>) -> Vec<u8> {
    let mut stream = nats.stream("AUDIT").await.expect("the stream was made");
    let state = stream
        .info()
        .await
        .expect("a stream tells of itself")
        .state
        .clone();
    let mut all = Vec::new();
    let mut ids = BTreeSet::new();
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.expect("a message");
        let id = message.headers.get("Nats-Msg-Id").expect("an id").to_string();
        let body = std::str::from_utf8(&message.payload).expect("a record is text");
        assert_eq!(Some(body), stored.get(&id).map(String::as_str), "{id}");
        let record: serde_json::Value = serde_json::from_str(body).expect("a record is JSON");
        let tenant = record["tenant"].as_str().unwrap_or("default");
        let kind = record["body"]["kind"].as_str().expect("a kind");
        let class = record["class"].as_str().unwrap_or("standard");
        let subject = format!("corp.audit.{tenant}.{class}.{kind}");
        assert_eq!(message.subject.as_str(), subject);
        assert!(ids.insert(id), "a record is there twice");
        all.extend_from_slice(message.subject.as_bytes());
        all.extend_from_slice(format!("{:?}", message.headers).as_bytes());
        all.extend_from_slice(&message.payload);
    }
    assert_eq!(ids.len(), stored.len());
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_says_what_to_do_and_strangers_get_nothing() {
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path();
    certificates(dir);
    let nats = Nats::start(dir, None);
    let plain = Receiver::start(None, None, &dir.join("plain"));
    let shown = (dir.join("server.pem"), dir.join("server.key"));
    let stranger = Receiver::start(Some((&shown.0, &shown.1)), None, &dir.join("stranger"));
    fs::write(dir.join("other-ca.pem"), TestAuthority::new().pem()).expect("a file");
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan {
        further: format!(
            "audit:\n  heartbeat_seconds: 86400\n  deliver:\n\
            \x20 - {{ name: local, syslog: {{ address: 'tcp://127.0.0.1:{}', confirm_seconds: 1 }} }}\n\
            \x20 - {{ name: stranger, syslog: {{ address: '127.0.0.1:{}', tls: {{ ca: '{}' }} }} }}\n\
            \x20 - {{ name: bus, nats: {{ url: '{}' }} }}\n",
            plain.port(),
            stranger.port(),
            dir.join("other-ca.pem").display(),
            nats.url(),
        ),
        ..Plan::on(OnPrem::StandIn(&on_prem))
    });
    let cordon = home.serve().await;
    until("what is wrong", &home, async || {
        let log = home.log();
        log.contains("nats stream add --subjects 'cordon.audit.>'")
            && log.contains("no TLS with the receiver")
    })
    .await;
    // Records wait until somebody has made the stream.
    let context = nats.context().await;
    context
        .create_stream(jetstream::stream::Config {
            name: "ANY".to_owned(),
            subjects: vec!["cordon.>".to_owned()],
            ..Default::default()
        })
        .await
        .expect("a stream");
    let stored = store(&home);
    assert!(!stored.is_empty());
    until("what is in the store", &home, async || {
        let mut stream = nats.stream("ANY").await.expect("the stream is there");
        let kept = stream
            .info()
            .await
            .expect("a stream tells of itself")
            .state
            .messages;
        kept as usize >= stored.len() && messages(&plain).len() >= stored.len()
    })
    .await;
    assert!(stranger.read().is_empty());
    assert_eq!(cordon.terminate().await, Some(0));
}

/// How fast records that have gathered are brought to each destination. Nothing is asserted of the time; `CORDON_BACKLOG` says how many there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains() {
    let backlog = std::env::var("CORDON_BACKLOG").ok();
    let backlog: usize = backlog.and_then(|count| count.parse().ok()).unwrap_or(3000);
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = scratch.path();
    certificates(dir);
    let nats = Nats::start(dir, None);
    let shown = (dir.join("server.pem"), dir.join("server.key"));
    let receiver = Receiver::start(Some((&shown.0, &shown.1)), None, &dir.join("received"));
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan::on(OnPrem::StandIn(&on_prem)));
    let plan = fs::read_to_string(home.path().join("cordon.yaml")).expect("a configuration");
    let cordon = home.serve().await;
    assert_eq!(cordon.terminate().await, Some(0));
    // A writer of whom nobody has read yet, with as many records as are asked for, all alike but for their place.
    let gather = "import json, sqlite3, sys, uuid\n\
        store = sqlite3.connect(sys.argv[1])\n\
        writer = str(uuid.UUID(int=7))\n\
        columns = 'kind, at, exchange, actor, door, dialect, host, model, action, rule, upstream, outcome, entities, tenant, class'\n\
        row = store.execute(f\"SELECT {columns}, body FROM audit_record WHERE kind = 'started'\").fetchone()\n\
        body = json.loads(row[-1])\n\
        def rows():\n\
        \x20   for sequence in range(1, int(sys.argv[2]) + 1):\n\
        \x20       body.update(writer=writer, sequence=sequence)\n\
        \x20       yield (writer, sequence, *row[:-1], json.dumps(body, separators=(',', ':'), sort_keys=True))\n\
        store.executemany(f\"INSERT INTO audit_record (writer, sequence, {columns}, body) VALUES ({','.join('?' * 18)})\", rows())\n\
        store.execute(\"INSERT INTO audit_writer (writer, name, sequence, hash, moved_at) VALUES (?, 'gathered', ?, ?, 0)\", (writer, int(sys.argv[2]), '0' * 64))\n\
        store.commit()\n\
        print(len(json.dumps(body)))";
    let file = home.path().join("state/audit.db").display().to_string();
    let bytes = python(gather, &[&file, &backlog.to_string()]);
    let siem = format!(
        "{{ name: siem, syslog: {{ address: '127.0.0.1:{}', confirm_seconds: 1, tls: {{ ca: '{}' }} }} }}",
        receiver.port(),
        dir.join("ca.pem").display()
    );
    let bus = format!(
        "{{ name: bus, nats: {{ url: '{}', stream: AUDIT, create: true }} }}",
        nats.url()
    );
    for (name, destination) in [("siem", siem), ("bus", bus)] {
        home.write(
            "cordon.yaml",
            &format!("{plan}audit:\n  deliver: [{destination}]\n"),
        );
        let began = Instant::now();
        let cordon = home.serve().await;
        let delivered = |reply: &cordon_tests::caller::Reply| -> usize {
            let text = reply.text();
            let line = format!("cordon_audit_delivered_total{{destination=\"{name}\"}} ");
            let count = text.lines().find_map(|found| found.strip_prefix(line.as_str()));
            count.and_then(|count| count.parse().ok()).unwrap_or(0)
        };
        let arrived = async || match name {
            "siem" => frames(&receiver.read()).len(),
            _ => match nats.stream("AUDIT").await {
                Some(mut stream) => {
                    let info = stream.info().await.expect("a stream tells of itself");
                    usize::try_from(info.state.messages).expect("they are few")
                }
                None => 0,
            },
        };
        let (mut first, mut last) = (None, None);
        until("the backlog", &home, async || {
            let count = arrived().await;
            if count > 0 {
                first.get_or_insert((Instant::now(), count));
            }
            last = Some((Instant::now(), count));
            count >= backlog
        })
        .await;
        cordon
            .admin_until("/metrics", |reply| delivered(reply) >= backlog)
            .await;
        let (from, to) = (first.expect("some arrived"), last.expect("all arrived"));
        eprintln!(
            "{name}: {backlog} records of {} bytes: all there {:.1} s after the start; {} records in {:.2} s once they came",
            bytes.trim(),
            (to.0 - began).as_secs_f64(),
            to.1 - from.1,
            (to.0 - from.0).as_secs_f64(),
        );
        assert_eq!(cordon.terminate().await, Some(0));
    }
}
