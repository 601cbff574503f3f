//! Hostile and broken requests, upstreams that die, callers that leave: a clear answer in the
//! dialect, a sealed record, no panic, no leak.
//!
//! Every body here carries [`MARK`], which must show up neither in the answer nor in the log nor in
//! the records.

use std::{sync::Arc, time::Duration};

use cordon_tests::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    encodings::{self, encoded},
    events,
    replies::{Deltas, Talk, say},
    upstream::{Answer, Piece, Upstream},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};

/// A text of the caller's that must stay with the caller.
const MARK: &str = "zebra-mark-77813";
/// The installation's limit on bodies, in bytes.
const BODY_LIMIT: usize = 200_000;

struct Scene {
    cloud: Upstream,
    on_prem: Upstream,
    home: Home,
    cordon: Cordon,
    key: String,
}

impl Scene {
    async fn new() -> Self {
        let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
        let further = format!("limits: {{ body_bytes: {BODY_LIMIT}, json_depth: 64 }}\n");
        let plan = Plan {
            further,
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        };
        let home = Home::new(&plan);
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        Self {
            cloud,
            on_prem,
            home,
            cordon,
            key,
        }
    }

    fn caller(&self) -> Caller {
        Caller::new(&self.cordon, Door::Proxy, &self.key)
    }

    /// The answer is this error in the dialect, says nothing of the body, and has its one record.
    async fn assert_refused(&self, what: &str, talk: Talk, reply: &Reply, status: &[u16]) -> Value {
        let text = reply.text();
        assert!(
            status.contains(&reply.status.as_u16()),
            "{what}, {talk:?}: {} {text}",
            reply.status
        );
        let message = reply.refusal(talk);
        assert!(message.contains(reply.exchange()), "{what}, {talk:?}: {message}");
        assert!(
            !text.contains(MARK),
            "{what}, {talk:?}: the answer quotes the request: {text}"
        );
        let record = self.home.record(reply.exchange()).await;
        let kind = &record["opening"]["body"]["kind"];
        assert!(
            kind == "refused" || record["closing"].is_object(),
            "{what}, {talk:?}: {record:#}"
        );
        record
    }

    /// Nothing went on, nothing was written down, and the process works.
    async fn assert_quiet(&self) {
        for upstream in [&self.cloud, &self.on_prem] {
            assert!(!upstream.knows(MARK), "a refused body reached an upstream");
        }
        self.assert_alive().await;
    }

    async fn assert_alive(&self) {
        self.cloud.answer(|seen| say(seen, "still here", Deltas::Whole));
        let reply = self
            .caller()
            .post(Talk::Chat, &Talk::Chat.request("hello", false))
            .await;
        let reply = reply.expect("Cordon answers after all that");
        assert_eq!(reply.said(Talk::Chat).text, "still here");
        let log = self.cordon.log();
        assert!(!log.contains(MARK), "the log quotes a request");
        assert!(!log.contains("panicked"), "{log}");
        for record in self.home.search(&[]) {
            assert!(
                !record.to_string().contains(MARK),
                "a record quotes a request: {record:#}"
            );
        }
    }
}

/// A request whose user message is the source text given, which may be no JSON string.
fn body_with(talk: Talk, content: &[u8]) -> Vec<u8> {
    let whole = talk.request("@@", false).to_string().into_bytes();
    let at = whole
        .windows(4)
        .position(|window| window == b"\"@@\"")
        .expect("the text is in the request");
    [&whole[..at], content, &whole[at + 4..]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_are_refused_in_the_dialect() {
    let scene = Scene::new().await;
    for talk in Talk::ALL {
        let mut line = scene
            .caller()
            .line(talk.host(), false)
            .await
            .expect("Cordon takes a connection");
        let good = body_with(talk, format!("\"{MARK}\"").as_bytes());
        let truncated = good[..good.len() - 3].to_vec();
        let mut trailing = good.clone();
        trailing.extend_from_slice(b" {}");
        let deep = body_with(
            talk,
            format!("[{{\"{MARK}\":{}1{}}}]", "[".repeat(5000), "]".repeat(5000)).as_bytes(),
        );
        let duplicate = {
            let text = String::from_utf8(good.clone()).expect("the request is UTF-8");
            text.replacen('{', &format!("{{\"model\":\"{MARK}\","), 1)
                .into_bytes()
        };
        let cases: [(&str, Vec<u8>, &[u16]); 12] = [
            ("no JSON", format!("hello {MARK}").into_bytes(), &[400]),
            ("empty", Vec::new(), &[400]),
            ("truncated JSON", truncated, &[400]),
            ("trailing bytes", trailing, &[400]),
            ("too deep", deep, &[400, 413]),
            ("duplicate key", duplicate, &[400]),
            (
                "invalid UTF-8",
                body_with(talk, &[b"\"", MARK.as_bytes(), b"\xff\xfe\""].concat()),
                &[400],
            ),
            (
                "overlong UTF-8",
                body_with(talk, &[b"\"", MARK.as_bytes(), b"\xc0\xaf\""].concat()),
                &[400],
            ),
            (
                "lone surrogate",
                body_with(talk, format!("\"{MARK} \\ud800\"").as_bytes()),
                &[400],
            ),
            (
                "control character",
                body_with(talk, format!("\"{MARK} \u{1}\"").as_bytes()),
                &[400],
            ),
            ("an array", format!("[\"{MARK}\"]").into_bytes(), &[400]),
            (
                "a byte order mark",
                [b"\xef\xbb\xbf", good.as_slice()].concat(),
                &[400],
            ),
        ];
        for (what, body, status) in cases {
            let reply = line
                .post(talk, body, &[("content-type", "application/json")])
                .await
                .expect("Cordon answers");
            scene.assert_refused(what, talk, &reply, status).await;
        }
    }
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_encodings_are_kept() {
    let scene = Scene::new().await;
    let talk = Talk::Chat;
    let caller = scene.caller();
    let good = talk
        .request(&format!("{MARK} {}", "a".repeat(2000)), false)
        .to_string()
        .into_bytes();
    let big = talk
        .request(&format!("{MARK} {}", "word ".repeat(BODY_LIMIT / 4)), false)
        .to_string()
        .into_bytes();
    let bomb = talk
        .request(&format!("{MARK} {}", "a".repeat(150_000_000)), false)
        .to_string()
        .into_bytes();

    // What is understood passes, in each encoding, and arrives plainly.
    for (encoding, body) in encodings::ALL.map(|name| (name, encoded(name, &good))) {
        scene.cloud.forget();
        let reply = caller
            .post_bytes(talk, body, &[("content-encoding", encoding)])
            .await
            .expect("Cordon answers");
        assert_eq!(reply.status, 200, "{encoding}: {}", reply.text());
        let asked = scene.cloud.asked();
        assert_eq!(asked[0].body, good, "{encoding}: other bytes arrived");
        assert_eq!(asked[0].header("content-encoding"), None, "{encoding}");
    }
    scene.cloud.forget();

    let cases: [(&str, Vec<u8>, &str, &[u16]); 9] = [
        ("oversize", big.clone(), "identity", &[413]),
        ("oversize in gzip", encoded("gzip", &big), "gzip", &[413]),
        ("a bomb in gzip", encoded("gzip", &bomb), "gzip", &[413]),
        ("a bomb in zstd", encoded("zstd", &bomb), "zstd", &[413]),
        ("a bomb in br", encoded("br", &bomb), "br", &[413]),
        ("an unknown encoding", good.clone(), "compress", &[415]),
        ("a made-up encoding", good.clone(), "zebra", &[415]),
        ("no gzip at all", good.clone(), "gzip", &[400]),
        (
            "half of a gzip",
            encoded("gzip", &good)[..40].to_vec(),
            "gzip",
            &[400],
        ),
    ];
    for (what, body, encoding, status) in cases {
        let reply = caller
            .post_bytes(talk, body, &[("content-encoding", encoding)])
            .await
            .expect("Cordon answers");
        scene.assert_refused(what, talk, &reply, status).await;
    }
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_and_recorded() {
    let scene = Scene::new().await;
    let mut line = scene
        .caller()
        .line("api.openai.com", false)
        .await
        .expect("Cordon takes a connection");
    for (method, target, headers, status) in [
        ("POST", "/v1/vector_stores", &[][..], 400),
        ("GET", "/v1/assistants", &[], 400),
        ("PUT", "/v1/chat/completions", &[], 400),
        (
            "GET",
            "/v1/live",
            &[
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ],
            426,
        ),
    ] {
        let target = format!("{target}?note={MARK}");
        let reply = line.send(method, &target, headers).await.expect("Cordon answers");
        scene.assert_refused(&target, Talk::Chat, &reply, &[status]).await;
    }
    scene.assert_quiet().await;
    assert_eq!(scene.cloud.seen().len(), 1, "only the last, good request went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_nobody_knows_are_told_how_to_log_in() {
    let scene = Scene::new().await;
    let gateway = Caller::without_key(&scene.cordon, Door::Gateway);
    for talk in Talk::ALL {
        let reply = gateway
            .post(talk, &talk.request(MARK, false))
            .await
            .expect("Cordon answers");
        let record = scene.assert_refused("no key", talk, &reply, &[401]).await;
        assert_eq!(record["opening"]["body"]["status"], 401, "{record:#}");
    }
    let wrong = Caller::new(&scene.cordon, Door::Gateway, &scene.key.replace('_', "_x"));
    let reply = wrong
        .post(Talk::Chat, &Talk::Chat.request(MARK, false))
        .await
        .expect("Cordon answers");
    scene
        .assert_refused("wrong key", Talk::Chat, &reply, &[401])
        .await;

    let nobody = Caller::without_key(&scene.cordon, Door::Proxy);
    let mut stream = TcpStream::connect(scene.cordon.proxy())
        .await
        .expect("the proxy accepts");
    let answer = nobody
        .ask_connect(&mut stream, "api.openai.com:443")
        .await
        .expect("the proxy answers");
    assert!(answer.starts_with("HTTP/1.1 407"), "{answer}");
    assert!(
        answer.to_lowercase().contains("proxy-authenticate: basic"),
        "{answer}"
    );
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_disagree_are_misdirected() {
    let scene = Scene::new().await;
    let body = Talk::Chat.request(MARK, false).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = scene
        .caller()
        .raw("api.openai.com", head.as_bytes(), false)
        .await
        .expect("Cordon answers");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_are_refused_where_the_configuration_says_so() {
    let scene = Scene::new().await;
    let mut stream = TcpStream::connect(scene.cordon.proxy())
        .await
        .expect("the proxy accepts");
    let answer = scene
        .caller()
        .ask_connect(&mut stream, "example.org:443")
        .await
        .expect("the proxy answers");
    assert!(
        answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    let records = scene
        .home
        .searched_until(&["--host", "example.org"], |found| !found.is_empty())
        .await;
    assert_eq!(records.len(), 1, "{records:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_is_recorded_and_goes_nowhere() {
    let scene = Scene::new().await;
    let body = Talk::Chat.request(MARK, false).to_string();
    for head in [
        format!("Content-Length: {}\r\n\r\n{body}", body.len() + 500),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}",
            body.len() + 500
        ),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len()),
    ] {
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n{head}"
        );
        // The caller's side closes after that: nothing more is to come.
        scene
            .caller()
            .raw("api.openai.com", request.as_bytes(), true)
            .await
            .expect("Cordon closes in the end");
    }
    let records = scene
        .home
        .searched_until(&["--user", "ann"], |found| found.len() >= 3)
        .await;
    assert_eq!(records.len(), 3, "{records:#?}");
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_no_http_do_no_harm() {
    let scene = Scene::new().await;
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
        "a".repeat(300_000)
    );
    let headers = format!(
        "GET / HTTP/1.1\r\nHost: api.openai.com\r\n{}\r\n",
        "X-A: b\r\n".repeat(5000)
    );
    for bytes in [
        &b"\x16\x03\x01\x02\x00 not http"[..],
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        long.as_bytes(),
        headers.as_bytes(),
    ] {
        let answer = scene.caller().raw("api.openai.com", bytes, true).await.unwrap_or_default();
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
        for address in [scene.cordon.proxy(), scene.cordon.gateway(), scene.cordon.admin()] {
            let mut stream = TcpStream::connect(address).await.expect("Cordon accepts");
            // Torn down from the other side is as good as taken.
            let _ = stream.write_all(bytes).await;
        }
    }
    assert!(scene.cloud.seen().is_empty(), "one of them went on");
    scene.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_dies_gives_a_clear_end_and_a_record() {
    let scene = Scene::new().await;
    for talk in Talk::ALL {
        for stream in [false, true] {
            let request = talk.request("tell me a long story", stream);
            // Before its answer.
            scene.cloud.answer(|_| Answer::hang_up());
            let reply = scene.caller().post(talk, &request).await.expect("Cordon answers");
            let record = scene.assert_refused("hung up", talk, &reply, &[502]).await;
            assert_eq!(
                record["closing"]["body"]["outcome"], "upstream_failed",
                "{record:#}"
            );

            // Amid its answer.
            scene.cloud.answer(|seen| {
                say(seen, &"once upon a time ".repeat(20), Deltas::Of(10)).after(500, vec![Piece::Cut])
            });
            let reply = scene.caller().post(talk, &request).await.expect("Cordon answers");
            if stream {
                assert_eq!(reply.status, 200, "{}", reply.text());
                let said = reply.said(talk);
                assert!(
                    said.text.starts_with("once upon"),
                    "{talk:?}: what had come was not passed on: {said:?}"
                );
                assert!(
                    !said.complete,
                    "{talk:?}: a broken stream ends as a whole one: {}",
                    reply.text()
                );
                let told = events::error_message(&reply.body);
                assert!(
                    told.is_some(),
                    "{talk:?}: the stream's end says nothing: {}",
                    reply.text()
                );
            } else {
                scene.assert_refused("cut off", talk, &reply, &[502]).await;
            }
            let record = scene.home.record(reply.exchange()).await;
            assert_eq!(
                record["closing"]["body"]["outcome"], "upstream_failed",
                "{record:#}"
            );
        }
    }
    scene.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstreams_own_errors_are_passed_on() {
    let scene = Scene::new().await;
    let error = json!({"error": {"message": "slow down", "type": "rate_limit_error", "param": null, "code": "rate_limited"}});
    let answer = Answer::new(429, "application/json", error.to_string()).with_header("retry-after", "7");
    scene.cloud.answer(move |_| answer.clone());
    for stream in [false, true] {
        let reply = scene
            .caller()
            .post(Talk::Chat, &Talk::Chat.request("hello", stream))
            .await
            .expect("Cordon answers");
        assert_eq!(reply.status, 429, "{}", reply.text());
        assert_eq!((reply.header("retry-after"), reply.json()), ("7", error.clone()));
        scene.home.record(reply.exchange()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_is_recorded_and_the_upstream_is_let_go() {
    let scene = Scene::new().await;
    let gate = Arc::new(Notify::new());
    let wait = Arc::clone(&gate);
    scene.cloud.answer(move |seen| {
        say(seen, &"once upon a time ".repeat(50), Deltas::Of(10))
            .after(500, vec![Piece::Wait(Arc::clone(&wait))])
    });
    for talk in Talk::ALL {
        let mut line = scene
            .caller()
            .line(talk.host(), false)
            .await
            .expect("Cordon takes a connection");
        let body = talk
            .request("tell me a long story", true)
            .to_string()
            .into_bytes();
        let answer = line
            .begin("POST", talk.path(), body, &[])
            .await
            .expect("Cordon begins to answer");
        let exchange = answer.headers()["x-cordon-exchange"]
            .to_str()
            .expect("an id is text")
            .to_owned();
        drop(answer);
        drop(line);
        let left = |found: &[Value]| found.iter().any(|record| record["closing"].is_object());
        let records = scene.home.searched_until(&["--exchange", &exchange], left).await;
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(
            records[0]["closing"]["body"]["outcome"], "client_left",
            "{:#}",
            records[0]
        );
    }
    gate.notify_waiters();
    scene.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_callers_get_the_same() {
    let scene = Scene::new().await;
    for talk in Talk::ALL {
        let mut line = scene
            .caller()
            .line(talk.host(), true)
            .await
            .expect("Cordon speaks HTTP/2");
        scene.cloud.answer(|seen| say(seen, "by two", Deltas::Of(2)));
        for stream in [false, true] {
            let body = talk.request("hello", stream).to_string().into_bytes();
            let reply = line.post(talk, body, &[]).await.expect("Cordon answers");
            assert_eq!(
                (reply.status.as_u16(), reply.said(talk).text.as_str()),
                (200, "by two"),
                "{}",
                reply.text()
            );
        }
        let reply = line
            .post(talk, format!("nonsense {MARK}").into_bytes(), &[])
            .await
            .expect("Cordon answers");
        scene
            .assert_refused("nonsense by HTTP/2", talk, &reply, &[400])
            .await;
    }
    scene.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_good_order_when_asked_to() {
    let scene = Scene::new().await;
    let gate = Arc::new(Notify::new());
    let wait = Arc::clone(&gate);
    scene.cloud.answer(move |seen| {
        let whole = say(seen, "the end of the story", Deltas::Of(4));
        let Some(Piece::Bytes(bytes)) = whole.pieces.first().cloned() else {
            return whole;
        };
        let half = bytes.len() / 2;
        let pieces = vec![
            Piece::Bytes(bytes.slice(..half)),
            Piece::Wait(Arc::clone(&wait)),
            Piece::Bytes(bytes.slice(half..)),
        ];
        Answer { pieces, ..whole }
    });
    let mut line = scene
        .caller()
        .line("api.openai.com", false)
        .await
        .expect("Cordon takes a connection");
    let body = Talk::Chat.request("tell me", true).to_string().into_bytes();
    let answer = line
        .begin("POST", Talk::Chat.path(), body, &[])
        .await
        .expect("Cordon begins to answer");
    let reading = tokio::spawn(Reply::read(answer));
    let Scene { cordon, home, .. } = scene;
    let proxy = cordon.proxy();
    let ending = tokio::spawn(cordon.terminate());
    let closed = async {
        while TcpStream::connect(proxy).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let closed = tokio::time::timeout(Duration::from_secs(10), closed).await;
    assert!(
        closed.is_ok(),
        "new connections are taken ten seconds after SIGTERM"
    );
    // Nobody new gets in, and the stream that was open still comes to its end.
    gate.notify_one();
    let reply = reading.await.expect("no panic").expect("the answer is read");
    assert_eq!(reply.said(Talk::Chat).text, "the end of the story");
    assert!(reply.complete);
    assert_eq!(ending.await.expect("no panic"), Some(0));
    let verified = home.run(&["audit", "verify"]);
    assert!(
        verified.stdout.starts_with(b"ok "),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    assert_eq!(
        home.record(reply.exchange()).await["closing"]["body"]["outcome"],
        "completed"
    );
}
