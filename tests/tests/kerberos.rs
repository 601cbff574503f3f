//! Kerberos at the proxy: who is logged in to the company's domain needs no key. A real key distribution centre gives
//! the tickets, curl shows them, and whatever else is shown is refused with 407, on record, and told apart there.
//!
//! It needs a Cordon with the feature `kerberos`, as `make test` builds it.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command as StdCommand, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, Plan},
    kdc::{CORP, Kdc, LAB, Tickets, curl, token},
    replies::{Deltas, Talk, say},
    upstream::Upstream,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const EMAIL: &str = "jane.roe@corp.example";
const SERVICE: &str = "HTTP/localhost";

struct Scene {
    kdc: Kdc,
    cloud: Upstream,
    _on_prem: Upstream,
    home: Home,
}

/// What curl came back with.
struct Told {
    /// The status of the CONNECT, or of the answer where there was none.
    status: String,
    stdout: String,
    stderr: String,
}

impl Scene {
    /// An installation with the service's keys.
    async fn new() -> Self {
        let kdc = Kdc::start();
        let cloud = Upstream::behind_tls().await;
        cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
        let on_prem = Upstream::in_place_of_engine().await;
        let home = Home::new(&Plan {
            tunnels: true,
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        home.set("KRB5_CONFIG", &kdc.config().display().to_string());
        let scene = Self {
            kdc,
            cloud,
            _on_prem: on_prem,
            home,
        };
        scene.kdc.keys(SERVICE, &scene.keytab());
        scene.configure("strip_realm: true, lower_case: true, groups: [staff], members: { design: [ann] }");
        scene
    }

    fn keytab(&self) -> PathBuf {
        self.home.path().join("http.keytab")
    }

    /// Writes the configuration with further keys of `identity.kerberos`.
    fn configure(&self, further: &str) {
        let file = self.home.path().join("cordon.yaml");
        let config = fs::read_to_string(file).expect("the configuration is there");
        let rest = config.split("identity:").next().unwrap_or_default();
        self.home.write(
            "cordon.yaml",
            &format!(
                "{rest}identity:\n  kerberos: {{ keytab: http.keytab, principal: {SERVICE}@{CORP}, {further} }}\n"
            ),
        );
    }

    /// Asks the provider by curl, as a user with these tickets or with none.
    async fn curl(&self, cordon: &Cordon, tickets: Option<&Tickets>, arguments: &[&str]) -> Told {
        let mut command = curl(tickets);
        command
            .args(["--proxy", &format!("http://localhost:{}", cordon.proxy().port())])
            .args(["--cacert", &cordon.ca().display().to_string()])
            .args(["--write-out", "%{stderr}\n%{http_connect} %{http_code}\n"])
            .args(["--header", "content-type: application/json"])
            .args(["--data", &Talk::Chat.request(EMAIL, false).to_string()])
            .args(arguments);
        if !arguments.iter().any(|argument| argument.starts_with("http:")) {
            command.arg("https://api.openai.com/v1/chat/completions");
        }
        let output = command
            .output()
            .await
            .expect("curl is installed (scripts/test-packages)");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let (connect, code) = stderr
            .trim_end()
            .rsplit('\n')
            .next()
            .and_then(|statuses| statuses.split_once(' '))
            .unwrap_or_default();
        Told {
            status: if connect == "000" { code } else { connect }.to_owned(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr,
        }
    }

    /// What was refused so far with a code, once it is so many.
    async fn refused(&self, code: &str, count: usize) -> Vec<Value> {
        let is = |row: &Value| row["opening"]["body"]["code"] == code;
        let mut rows = self
            .home
            .searched_until(&["--outcome", "refused"], |rows| {
                rows.iter().filter(|row| is(row)).count() >= count
            })
            .await;
        rows.retain(is);
        assert_eq!(rows.len(), count, "{code}: {rows:#?}");
        rows
    }

    /// The newest record of a user's exchanges.
    async fn actor(&self, user: &str) -> Value {
        let rows = self
            .home
            .searched_until(&["--user", user], |rows| !rows.is_empty())
            .await;
        rows.first()
            .map_or(Value::Null, |row| row["opening"]["body"]["actor"].clone())
    }
}

/// A CONNECT with such a login; the whole answer, or its head where it is granted, and the connection.
async fn connect(cordon: &Cordon, host: &str, login: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(cordon.proxy()).await.expect("Cordon accepts");
    let request = format!(
        "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\nProxy-Authorization: {login}\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("Cordon listens");
    let mut answer = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        answer.push(byte);
        if answer.ends_with(b"\r\n\r\n") && answer.starts_with(b"HTTP/1.1 200") {
            break;
        }
    }
    (String::from_utf8_lossy(&answer).into_owned(), stream)
}

async fn shown(cordon: &Cordon, login: &str) -> String {
    connect(cordon, "api.openai.com", login).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_ticket_is_let_in_and_on_record_by_it() {
    let scene = Scene::new().await;
    let key = scene.home.key("bob", "guests");
    let cordon = scene.home.serve().await;
    let ann = scene.kdc.log_in("Ann", CORP, "1h");
    let told = scene.curl(&cordon, Some(&ann), &[]).await;
    assert!(
        told.status == "200" && told.stdout.contains("fine"),
        "{}{}",
        told.stdout,
        told.stderr
    );
    assert!(scene.cloud.seen().len() == 1 && !scene.cloud.knows(EMAIL));
    assert!(!scene.cloud.knows("Negotiate"));
    let actor = scene.actor("ann").await;
    assert_eq!(actor["user"], scene.home.reference("ann"));
    assert_eq!(actor["groups"], json!(["design", "staff"]));
    let principal = actor["identity"]["kerberos"]["principal"]
        .as_str()
        .unwrap_or_default();
    assert!(principal.starts_with("p-"), "{actor}");

    // A program with a keytab of its own is as good.
    let robot = scene.kdc.log_in_by_keytab("svc-report");
    assert_eq!(scene.curl(&cordon, Some(&robot), &[]).await.status, "200");
    assert_eq!(scene.actor("svc-report").await["groups"], json!(["staff"]));

    // Both ways to log in are offered; without either there is no way in, and a key goes on to be one.
    let told = scene.curl(&cordon, None, &["--include"]).await;
    assert_eq!(told.status, "407", "{}", told.stderr);
    let offered: Vec<&str> = told
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("proxy-authenticate: "))
        .collect();
    assert_eq!(
        offered,
        ["Negotiate", "Basic realm=\"cordon\""],
        "{}",
        told.stdout
    );
    scene.refused("cordon_proxy_login", 1).await;
    let by_key = Caller::new(&cordon, Door::Proxy, &key);
    let reply = by_key
        .post(Talk::Chat, &Talk::Chat.request(EMAIL, false))
        .await
        .expect("Cordon answers");
    assert_eq!(reply.status.as_u16(), 200);

    // A tunnel is opened by a ticket, too, and we prove to the caller who we are. The ticket is kept nowhere.
    let ticket = token(&ann, &[]).await;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has free ports");
    let at = listener.local_addr().expect("a bound socket has an address");
    let ask =
        format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\nProxy-Authorization: negotiate {ticket}\r\n\r\n");
    let mut stream = TcpStream::connect(cordon.proxy()).await.expect("Cordon accepts");
    stream.write_all(ask.as_bytes()).await.expect("Cordon listens");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("Cordon answers"));
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let reply = answer
        .lines()
        .find_map(|line| line.strip_prefix("proxy-authenticate: Negotiate "))
        .unwrap_or_else(|| panic!("no word for the caller: {answer}"));
    let reply_bytes = STANDARD.decode(reply).expect("it is base64");
    // A NegTokenResp of SPNEGO (RFC 4178, 4.2.2) that says accept-completed.
    assert_eq!(reply_bytes.first(), Some(&0xa1), "{reply}");
    assert!(
        reply_bytes
            .windows(5)
            .any(|part| part == [0xa0, 3, 0x0a, 1, 0].as_slice()),
        "{reply}"
    );
    for secret in [&ticket, reply] {
        let part = &secret[secret.len() - 40..];
        assert!(!scene.home.keeps(part) && !scene.home.log().contains(part));
    }
    assert_eq!(cordon.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_is_shown_is_refused_and_told_apart() {
    let scene = Scene::new().await;
    let cordon = scene.home.serve().await;
    let ann = scene.kdc.log_in("ann", CORP, "1h");
    let eve = scene.kdc.log_in("eve", LAB, "1h");
    scene
        .kdc
        .keys("imap/localhost", &scene.home.path().join("imap.keytab"));

    let replayed = token(&ann, &[]).await;
    let login = format!("Negotiate {replayed}");
    assert!(shown(&cordon, &login).await.starts_with("HTTP/1.1 200"));
    let elsewhere = token(&ann, &["--proxy-service-name", "imap"]).await;
    let foreign = token(&eve, &[]).await;
    let mut damaged = STANDARD.decode(token(&ann, &[]).await).expect("it is base64");
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let ntlm = STANDARD.encode(b"NTLMSSP\0\x01\0\0\0\x06\x82\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    // SPNEGO that names Kerberos and brings no token of it: the next would come in another leg (RFC 4178, 4.2.1).
    let mut two_legs = vec![
        0x60, 27, 6, 6, 0x2b, 6, 1, 5, 5, 2, 0xa0, 17, 0x30, 15, 0xa0, 13, 0x30, 11,
    ];
    two_legs.extend([6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2]);
    for (what, token, code) in [
        ("nothing", String::new(), "malformed"),
        ("no base64", "not*base64".to_owned(), "malformed"),
        ("half of base64", "YII".to_owned(), "malformed"),
        ("no token", STANDARD.encode(b"hello, this is nobody"), "malformed"),
        ("too much", "A".repeat(64_100), "too_large"),
        ("NTLM", ntlm, "mechanism"),
        ("two legs", STANDARD.encode(&two_legs), "mechanism"),
        ("again", replayed, "replayed"),
        ("another service's", elsewhere, "service"),
        ("another realm's", foreign, "realm"),
        ("a damaged one", STANDARD.encode(&damaged), "service"),
    ] {
        let answer = shown(&cordon, &format!("Negotiate {token}")).await;
        let code = format!("cordon_ticket_{code}");
        assert!(answer.starts_with("HTTP/1.1 407"), "{what}: {answer}");
        assert!(
            answer.contains("proxy-authenticate: Negotiate\r\n"),
            "{what}: {answer}"
        );
        assert!(answer.contains(&code), "{what}: {answer}");
    }
    for (code, count) in [
        ("malformed", 4),
        ("too_large", 1),
        ("mechanism", 2),
        ("replayed", 1),
        ("service", 2),
        ("realm", 1),
    ] {
        for row in scene.refused(&format!("cordon_ticket_{code}"), count).await {
            let body = &row["opening"]["body"];
            assert_eq!(body["actor"]["identity"], "unidentified", "{row:#}");
            assert_eq!(
                (&body["status"], &body["host"]),
                (&json!(407), &json!("api.openai.com"))
            );
        }
    }
    assert!(
        !scene.home.log().contains("eve") && !scene.home.log().contains("imap"),
        "the log names who was refused: {}",
        scene.home.log()
    );
    assert!(scene.cloud.seen().is_empty());
    // A caller of the laboratory's, by a program: no way in.
    assert_eq!(scene.curl(&cordon, Some(&eve), &[]).await.status, "407");
    assert_eq!(scene.curl(&cordon, Some(&ann), &[]).await.status, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_has_expired_opens_nothing() {
    let scene = Scene::new().await;
    scene.home.set(
        "KRB5_CONFIG",
        &scene.kdc.config_with_skew(2).display().to_string(),
    );
    let cordon = scene.home.serve().await;
    let ann = scene.kdc.log_in("ann", CORP, "4s");
    let expired = token(&ann, &[]).await;
    let bob = scene.kdc.log_in("bob", CORP, "1h");
    let late = token(&bob, &[]).await;
    assert!(
        shown(&cordon, &format!("Negotiate {}", token(&bob, &[]).await))
            .await
            .starts_with("HTTP/1.1 200")
    );
    // Nothing is waited for but the time itself: the ticket's four seconds, and the two of the clocks.
    tokio::time::sleep(Duration::from_secs(8)).await;
    for (token, code) in [(expired, "cordon_ticket_expired"), (late, "cordon_ticket_clock")] {
        let answer = shown(&cordon, &format!("Negotiate {token}")).await;
        assert!(
            answer.starts_with("HTTP/1.1 407") && answer.contains(code),
            "{code}: {answer}"
        );
        scene.refused(code, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_requests_show_a_ticket_each() {
    let scene = Scene::new().await;
    let cordon = scene.home.serve().await;
    let ann = scene.kdc.log_in("ann", CORP, "1h");
    let site = Upstream::in_place_of_engine().await;
    site.answer(|seen| say(seen, "fine", Deltas::Whole));
    let url = format!("{}/v1/chat/completions", site.url());
    let told = scene.curl(&cordon, Some(&ann), &["--include", &url]).await;
    assert_eq!(told.status, "200", "{}{}", told.stdout, told.stderr);
    assert!(
        told.stdout.contains("proxy-authenticate: Negotiate oY"),
        "{}",
        told.stdout
    );
    // Two over one connection.
    let told = scene.curl(&cordon, Some(&ann), &[&url, &url]).await;
    assert_eq!(told.status, "200", "{}{}", told.stdout, told.stderr);
    assert_eq!(site.seen().len(), 3);
    assert!(!site.knows("Negotiate"));
    // To a listed host, without TLS, it is an exchange that is refused, and its ticket counts once there.
    let url = "http://api.openai.com/v1/chat/completions";
    assert_eq!(scene.curl(&cordon, Some(&ann), &[url]).await.status, "400");
    let rows = scene.refused("cordon_unknown_shape", 1).await;
    assert_eq!(
        rows[0]["opening"]["body"]["actor"]["user"],
        scene.home.reference("ann")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_realms_change_while_it_runs() {
    let scene = Scene::new().await;
    scene.configure(&format!("realms: [{CORP}, {LAB}]"));
    let cordon = scene.home.serve().await;
    let (ann, eve) = (
        scene.kdc.log_in("ann", CORP, "1h"),
        scene.kdc.log_in("eve", LAB, "1h"),
    );
    assert_eq!(scene.curl(&cordon, Some(&ann), &[]).await.status, "200");
    assert_eq!(scene.curl(&cordon, Some(&eve), &[]).await.status, "200");
    assert_eq!(scene.actor("eve@LAB.EXAMPLE").await["groups"], json!([]));

    // Tickets under the old key and under the new one are good.
    scene.kdc.keys(SERVICE, &scene.keytab());
    let later = scene.kdc.log_in("ann", CORP, "1h");
    assert_eq!(scene.curl(&cordon, Some(&eve), &[]).await.status, "200");
    assert_eq!(scene.curl(&cordon, Some(&later), &[]).await.status, "200");

    // A realm that is not admitted any more: not on a connection that is open either.
    let ticket = format!("Negotiate {}", token(&eve, &[]).await);
    let (head, stream) = connect(&cordon, "api.openai.com", &ticket).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    scene.configure(&format!("realms: [{CORP}]"));
    cordon
        .admin_until("/metrics", |page| {
            page.text().contains("cordon_reloads_total{outcome=\"done\"} 1\n")
        })
        .await;
    let mut inside =
        tokio_rustls::TlsConnector::from(cordon_tests::tls::trusting(&cordon.ca_pem(), &["http/1.1"]))
            .connect(
                rustls_pki_types::ServerName::try_from("api.openai.com").expect("a name"),
                stream,
            )
            .await
            .expect("TLS is taken up");
    inside
        .write_all(b"GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nConnection: close\r\n\r\n")
        .await
        .expect("Cordon listens");
    let mut answer = Vec::new();
    let _ = inside.read_to_end(&mut answer).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 401"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(scene.curl(&cordon, Some(&eve), &[]).await.status, "407");
    assert_eq!(scene.curl(&cordon, Some(&later), &[]).await.status, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_child_that_checks_tickets_may_die() {
    let scene = Scene::new().await;
    let cordon = scene.home.serve().await;
    let ann = scene.kdc.log_in("ann", CORP, "1h");
    assert_eq!(scene.curl(&cordon, Some(&ann), &[]).await.status, "200");
    let child = fs::read_to_string(format!("/proc/{0}/task/{0}/children", cordon.id())).unwrap_or_default();
    // Whichever thread has started it.
    let tasks = fs::read_dir(format!("/proc/{}/task", cordon.id())).expect("Linux tells of threads");
    let children: Vec<String> = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|all| all.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(children.len(), 1, "{child} {children:?}");
    let killed = StdCommand::new("kill").args(["-KILL", &children[0]]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    assert_eq!(scene.curl(&cordon, Some(&ann), &[]).await.status, "200");

    // Many at once wait for one another.
    let mut tokens = Vec::new();
    for _ in 0..20 {
        tokens.push(token(&ann, &[]).await);
    }
    let answers = futures_util::future::join_all(tokens.iter().map(|token| {
        let cordon = &cordon;
        async move { shown(cordon, &format!("Negotiate {token}")).await }
    }))
    .await;
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keytab_that_cannot_be_used_is_told_at_the_start() {
    let scene = Scene::new().await;
    let keytab = scene.keytab();
    scene.home.run(&["check"]);
    let refused = |why: &str| {
        for (command, code) in [("check", 1), ("serve", 2)] {
            let output = scene.home.try_run(&[command]);
            let told = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(output.status.code(), Some(code), "{told}");
            assert!(told.contains(why), "{why}: {told}");
        }
    };
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    refused("everybody on this machine can get at");
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o600)).expect("the file is ours");

    let config = fs::read_to_string(scene.home.path().join("cordon.yaml")).expect("it is there");
    scene
        .home
        .write("cordon.yaml", &config.replace(SERVICE, "HTTP/elsewhere"));
    refused("has no key for HTTP/elsewhere@CORP.EXAMPLE that can be used");
    scene
        .home
        .write("cordon.yaml", &config.replace(SERVICE, "localhost"));
    refused("is written HTTP/HOST@REALM");
    scene.home.write("cordon.yaml", &config);

    fs::write(&keytab, "no keytab").expect("the file is ours");
    refused("that can be used");
    fs::remove_file(&keytab).expect("the file is ours");
    refused("there is no file");
}
