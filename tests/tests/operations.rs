//! What happens to a running Cordon: rules change, keys are revoked, the engine dies, the spool fills;
//! and what passes it unread is on record.

use std::time::Duration;

use cordon_tests::{
    caller::{Caller, Door, Line},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    replies::{Deltas, Talk, say},
    upstream::Upstream,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// Callers who fill the spool together.
const CROWD: usize = 16;
const EMAIL: &str = "jane.roe@corp.example";

fn reloads(outcome: &str, count: u32) -> String {
    format!("cordon_reloads_total{{outcome=\"{outcome}\"}} {count}\n")
}

async fn reloaded(cordon: &Cordon, outcome: &str, count: u32) {
    let line = reloads(outcome, count);
    cordon
        .admin_until("/metrics", |page| page.text().contains(&line))
        .await;
}

async fn chat(line: &mut Line, text: &str) -> (u16, String) {
    let body = Talk::Chat.request(text, false).to_string().into_bytes();
    let reply = line
        .post(Talk::Chat, body, &[])
        .await
        .expect("the connection is still there");
    (reply.status.as_u16(), reply.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rules_come_into_force_on_open_connections() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let mut line = Caller::new(&cordon, Door::Proxy, &key)
        .line(Talk::Chat.host(), false)
        .await
        .expect("Cordon takes a connection");
    assert_eq!(chat(&mut line, EMAIL).await.0, 200);
    assert!(!cloud.knows(EMAIL));

    let stricter = POLICY_REQUESTED.replacen(
        "rules:\n",
        "rules:\n  - id: no-mail-today\n    entities: [EMAIL]\n    action: block\n    advice: Leave it out.\n",
        1,
    );
    home.write("policy.yaml", &stricter);
    reloaded(&cordon, "done", 1).await;
    let (status, text) = chat(&mut line, EMAIL).await;
    assert!(status == 400 && text.contains("no-mail-today"), "{status} {text}");

    // What is invalid stays out, is told, and is told once.
    home.write(
        "policy.yaml",
        &stricter.replace("action: block", "action: explode"),
    );
    reloaded(&cordon, "refused", 1).await;
    let (status, text) = chat(&mut line, EMAIL).await;
    assert!(status == 400 && text.contains("no-mail-today"), "{status} {text}");
    assert!(cordon.log().contains("policy.yaml:"), "{}", cordon.log());
    home.write("policy.yaml", POLICY_REQUESTED);
    reloaded(&cordon, "done", 2).await;
    assert_eq!(chat(&mut line, EMAIL).await.0, 200);

    // A key that is revoked opens nothing more, on a connection that it opened neither.
    let keys = home.run(&["key", "list", "--json"]);
    let entry: Value = serde_json::from_slice(&keys.stdout).expect("one JSON object a key");
    home.run(&["key", "revoke", entry["id"].as_str().expect("a key has an id")]);
    reloaded(&cordon, "done", 3).await;
    let (status, text) = chat(&mut line, "hello").await;
    assert_eq!(status, 401, "{text}");
    assert_eq!(cordon.terminate().await, Some(0));
    home.run(&["audit", "verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_taken_off_the_list_lets_nobody_in_any_more() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
    let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
    let file = home.path().join("cordon.yaml");
    let without = std::fs::read_to_string(&file).expect("the configuration is there");
    let network = "{ network: 127.0.0.0/8, user: the-floor, groups: [GROUP] }";
    let with = |group: &str| {
        format!(
            "{without}identity: {{ networks: [{}] }}\n",
            network.replace("GROUP", group)
        )
    };
    home.write("cordon.yaml", &with("staff"));
    let cordon = home.serve().await;
    let caller = Caller::without_key(&cordon, Door::Proxy);
    let mut line = caller
        .line(Talk::Chat.host(), false)
        .await
        .expect("Cordon takes a connection");
    assert_eq!(chat(&mut line, "hello").await.0, 200);

    // Groups change while it runs, on connections that are open too.
    home.write("cordon.yaml", &with("guests"));
    reloaded(&cordon, "done", 1).await;
    assert_eq!(chat(&mut line, "hello").await.0, 200);
    let rows = home
        .searched_until(&["--user", "the-floor"], |rows| rows.len() == 2)
        .await;
    let groups: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["opening"]["body"]["actor"]["groups"][0].as_str())
        .collect();
    assert_eq!(groups, ["guests", "staff"], "{rows:#?}");

    home.write("cordon.yaml", &without);
    reloaded(&cordon, "done", 2).await;
    let (status, text) = chat(&mut line, "hello").await;
    assert_eq!(status, 401, "{text}");
    let mut stream = TcpStream::connect(cordon.proxy())
        .await
        .expect("the proxy accepts");
    let head = caller.ask_connect(&mut stream, "api.openai.com:443").await;
    assert!(
        head.as_deref().is_ok_and(|head| head.starts_with("HTTP/1.1 407")),
        "{head:?}"
    );
}

/// The engine that a Cordon has spawned.
fn engine_of(cordon: &Cordon) -> Option<u32> {
    let children = std::fs::read_dir("/proc").expect("Linux tells of its processes");
    children
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .find(|id: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // Behind the name in brackets: state, then the parent (proc(5)).
            let (before, after) = stat.rsplit_once(')').unwrap_or_default();
            before.contains("cordon-engine")
                && after.split_whitespace().nth(1) == Some(cordon.id().to_string().as_str())
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_is_started_again() {
    let home = Home::new(&Plan::on(OnPrem::Spawned));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Gateway, &key);
    let mut request = Talk::Chat.request("Say hello.", false);
    request["max_tokens"] = 4.into();
    let reply = caller.post(Talk::Chat, &request).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());

    let first = engine_of(&cordon).expect("Cordon spawned an engine");
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &first.to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let page = cordon
        .admin_until("/readyz", |page| page.status.as_u16() == 503)
        .await;
    assert!(page.text().contains("engine"), "{}", page.text());
    let reply = caller.post(Talk::Chat, &request).await.expect("an answer");
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(!reply.header("retry-after").is_empty());
    assert!(reply.refusal(Talk::Chat).contains(reply.exchange()));
    home.record(reply.exchange()).await;

    cordon
        .admin_until("/readyz", |page| page.status.as_u16() == 200)
        .await;
    let reply = caller.post(Talk::Chat, &request).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let second = engine_of(&cordon).expect("Cordon spawned another engine");
    assert_ne!(first, second);
    assert_eq!(cordon.terminate().await, Some(0));
    assert!(
        !std::path::Path::new(&format!("/proc/{second}")).exists(),
        "the engine outlived Cordon"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_unread_is_recorded() {
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan {
        tunnels: true,
        ..Plan::on(OnPrem::StandIn(&on_prem))
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = listener.local_addr().expect("it is bound").to_string();

    let mut stream = TcpStream::connect(cordon.proxy())
        .await
        .expect("the proxy accepts");
    let head = Caller::without_key(&cordon, Door::Proxy)
        .ask_connect(&mut stream, &target)
        .await
        .expect("an answer to CONNECT");
    assert!(head.starts_with("HTTP/1.1 407"), "{head}");

    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let mut stream = TcpStream::connect(cordon.proxy())
        .await
        .expect("the proxy accepts");
    let asked = caller.ask_connect(&mut stream, &target);
    let (head, accepted) = tokio::join!(asked, listener.accept());
    assert!(
        head.as_deref().is_ok_and(|head| head.starts_with("HTTP/1.1 200")),
        "{head:?}"
    );
    let (mut far, _) = accepted.expect("the tunnel arrives");
    stream
        .write_all(b"\x00any bytes")
        .await
        .expect("the tunnel takes bytes");
    let mut got = [0; 10];
    far.read_exact(&mut got).await.expect("they arrive");
    assert_eq!(&got, b"\x00any bytes");
    far.write_all(b"back").await.expect("and back");
    drop(far);
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.expect("to the end");
    assert_eq!(back, b"back");
    drop(stream);

    // Plain HTTP is a tunnel of one request.
    let mut stream = TcpStream::connect(cordon.proxy())
        .await
        .expect("the proxy accepts");
    let login = base64_login(&key);
    let request = format!(
        "GET http://{target}/page HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\nProxy-Authorization: Basic {login}\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the proxy takes it");
    let (mut far, _) = listener.accept().await.expect("the request arrives");
    let mut head = vec![0; 4096];
    let count = far.read(&mut head).await.expect("it can be read");
    let head = String::from_utf8_lossy(&head[..count]).to_ascii_lowercase();
    assert!(head.starts_with("get /page http/1.1"), "{head}");
    assert!(!head.contains("proxy-authorization"), "{head}");
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .expect("it takes the answer");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the answer comes");
    assert!(answer.ends_with("ok"), "{answer}");

    let rows = home
        .searched_until(&["--user", "ann"], |rows| {
            rows.len() == 2 && rows.iter().all(|row| row["closing"].is_object())
        })
        .await;
    let passed: Vec<(&str, u64, u64)> = rows
        .iter()
        .map(|row| {
            let closing = &row["closing"]["body"];
            let count = |name: &str| closing[name].as_u64().unwrap_or_default();
            (
                row["opening"]["body"]["kind"].as_str().unwrap_or_default(),
                count("bytes_up"),
                count("bytes_down"),
            )
        })
        .collect();
    assert_eq!(
        passed,
        [("tunnel_opened", 0, 2), ("tunnel_opened", 10, 4)],
        "{rows:#?}"
    );
    home.run(&["audit", "verify"]);
}

/// A listener whose places for connections that nobody takes are all taken: whoever else connects waits.
async fn crowded() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("sockets can be had");
    socket
        .bind("127.0.0.1:0".parse().expect("an address"))
        .expect("loopback has free ports");
    let listener = socket.listen(1).expect("it can be listened on");
    let address = listener.local_addr().expect("it is bound");
    let mut waiting = Vec::new();
    let patience = Duration::from_millis(500);
    while let Ok(taken) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        waiting.push(taken.expect("there is a place, or none is told of"));
    }
    (listener, waiting)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_whose_caller_leaves_before_it_is_there_ends_on_record() {
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan {
        tunnels: true,
        ..Plan::on(OnPrem::StandIn(&on_prem))
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let (listener, _waiting) = crowded().await;
    let target = listener.local_addr().expect("it is bound");
    let login = base64_login(&key);
    for ask in ["CONNECT ", "GET http://"] {
        let end = if ask == "CONNECT " { "" } else { "/" };
        let mut stream = TcpStream::connect(cordon.proxy())
            .await
            .expect("the proxy accepts");
        let request = format!(
            "{ask}{target}{end} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {login}\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the proxy takes it");
        cordon
            .admin_until("/metrics", |page| page.text().contains("cordon_tunnels 1\n"))
            .await;
        drop(stream);
        cordon
            .admin_until("/metrics", |page| page.text().contains("cordon_tunnels 0\n"))
            .await;
    }
    let rows = home
        .searched_until(&["--user", "ann"], |rows| {
            rows.len() == 2 && rows.iter().all(|row| row["closing"].is_object())
        })
        .await;
    for row in &rows {
        assert_eq!(row["closing"]["body"]["kind"], "tunnel_closed", "{rows:#?}");
    }
}

fn base64_login(key: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(format!("cordon:{key}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_are_refused_where_the_configuration_says_so() {
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan::on(OnPrem::StandIn(&on_prem)));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let mut stream = TcpStream::connect(cordon.proxy())
        .await
        .expect("the proxy accepts");
    let head = caller
        .ask_connect(&mut stream, "files.example:443")
        .await
        .expect("an answer to CONNECT");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let rows = home
        .searched_until(&["--user", "ann"], |rows| !rows.is_empty())
        .await;
    let refused = &rows[0]["opening"]["body"];
    assert_eq!(
        (refused["kind"].as_str(), refused["host"].as_str()),
        (Some("refused"), Some("files.example"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_nothing_waits_and_a_full_spool_answers_nobody() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
    let home = Home::new(&Plan {
        // Nobody listens there.
        database: Some("postgres://nobody@127.0.0.1:9/none".to_owned()),
        further: "limits: { spool_bytes: 33554432 }\n".to_owned(),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let until_refused = async || {
        let mut line = caller
            .line(Talk::Chat.host(), false)
            .await
            .expect("Cordon takes a connection");
        let mut answered = 0;
        loop {
            let (status, text) = chat(&mut line, "hello").await;
            if status != 200 {
                return (answered, status, text);
            }
            answered += 1;
        }
    };
    let all = futures_util::future::join_all((0..CROWD).map(|_| until_refused()));
    let all = tokio::time::timeout(Duration::from_secs(240), all)
        .await
        .expect("the spool fills");
    let answered: u32 = all.iter().map(|(answered, ..)| answered).sum();
    assert!(answered > 1000, "only {answered} answers fit into the spool");
    for (_, status, text) in &all {
        assert!(*status == 503 && text.contains("record"), "{status} {text}");
    }
    let asked = cloud.asked().len();
    let (more, ..) = until_refused().await;
    assert_eq!(
        (more, cloud.asked().len()),
        (0, asked),
        "what cannot be recorded went upstream"
    );
    let page = cordon.admin_get("/readyz").await;
    assert!(
        page.status == 503 && page.text().contains("records"),
        "{}",
        page.text()
    );
}
