//! What is on the wire below a request: framing that two readers would read differently, heads that no
//! standard knows, frames of HTTP/2 out of order, and callers that take without giving.
//!
//! Each row is sent by the byte to the real program, before an upstream that writes down what was made of
//! it: nothing, or exactly one request with framing of our own. Memory is measured while it goes on.

use std::{fmt::Write as _, io::Write as _, time::Duration};

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, Plan},
    frames::{self, End},
    replies::{Deltas, Talk, say},
    upstream::{Seen, Upstream},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const HOST: &str = "api.openai.com";
/// Longer than any deadline of the rows below.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    cloud: Upstream,
    on_prem: Upstream,
    home: Home,
    cordon: Cordon,
    key: String,
}

impl Scene {
    async fn new(limits: &str, tunnels: bool) -> Self {
        Self::before(Upstream::behind_tls_http1().await, limits, tunnels).await
    }

    /// Before a provider that speaks HTTP/2, since callers are offered what the provider speaks.
    async fn of_http2(limits: &str) -> Self {
        Self::before(Upstream::behind_tls().await, limits, false).await
    }

    async fn before(cloud: Upstream, limits: &str, tunnels: bool) -> Self {
        let on_prem = Upstream::in_place_of_engine().await;
        for upstream in [&cloud, &on_prem] {
            upstream.answer(|seen| say(seen, "answered", Deltas::Whole));
        }
        let plan = Plan {
            tunnels,
            further: format!("limits: {{ {limits} }}\n"),
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

    /// Sends raw bytes to the intercepted host and reads until the connection ends.
    async fn raw(&self, name: &str, bytes: &[u8]) -> String {
        let mut stream = self.caller().open(HOST, &["http/1.1"]).await.expect(name);
        // Where Cordon has read enough it closes, and the rest finds nobody.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{name}: the connection stays open");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn assert_alive(&self) {
        let reply = self
            .caller()
            .post(Talk::Chat, &Talk::Chat.request("hello", false))
            .await;
        assert_eq!(reply.expect("Cordon answers").said(Talk::Chat).text, "answered");
        assert!(!self.cordon.log().contains("panicked"), "{}", self.cordon.log());
    }

    /// Resident memory of the process, in MiB.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.cordon.id())).expect("the process runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes
            .and_then(|number| number.parse::<u64>().ok())
            .expect("Linux tells it")
            / 1024
    }
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug)]
enum Becomes {
    /// Refused with one of these statuses; nothing goes on.
    Refused(&'static [u16]),
    /// One request goes on, with framing of our own and the body that was inspected.
    One,
}
use Becomes::{One, Refused};

/// A good body.
fn body() -> String {
    Talk::Chat.request("hello", false).to_string()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// A request that must not be taken for one.
fn smuggled() -> String {
    let body = Talk::Chat.request("smuggled", false).to_string();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nX-Smuggled: 1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A head with the usual fields and further lines (each with its end), then a body.
fn post(lines: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nAuthorization: Bearer sk-x\r\n{lines}\r\n{body}"
    )
}

/// The same with a length and `Connection: close`.
fn whole(lines: &str) -> String {
    let body = body();
    post(
        &format!("Connection: close\r\nContent-Length: {}\r\n{lines}", body.len()),
        &body,
    )
}

fn rows() -> Vec<(&'static str, String, Becomes)> {
    let body = body();
    let (length, chunks, more) = (body.len(), chunked(&body), smuggled());
    let te = "Transfer-Encoding: chunked\r\n";
    let long = |size: usize| "a".repeat(size);
    let many = (0..120).fold(String::new(), |mut lines, index| {
        let _ = write!(lines, "X-{index}: 1\r\n");
        lines
    });
    vec![
        ("plain", whole(""), One),
        ("chunked", post(te, &chunks), One),
        (
            "a length that covers more than the chunks",
            post(
                &format!("Content-Length: {}\r\n{te}", chunks.len() + more.len()),
                &format!("{chunks}{more}"),
            ),
            One,
        ),
        (
            "chunks before a length",
            post(&format!("{te}Content-Length: 4\r\n"), &format!("{chunks}{more}")),
            One,
        ),
        (
            "a length beside chunks that end at once",
            post(
                &format!("Content-Length: {}\r\n{te}", 5 + more.len()),
                &format!("0\r\n\r\n{more}"),
            ),
            Refused(&[400]),
        ),
        (
            "two lengths that differ",
            post(
                &format!(
                    "Content-Length: {length}\r\nContent-Length: {}\r\n",
                    length + more.len()
                ),
                &format!("{body}{more}"),
            ),
            Refused(&[400]),
        ),
        (
            "the same length twice",
            whole(&format!("Content-Length: {length}\r\n")),
            One,
        ),
        (
            "a list of lengths",
            post(&format!("Content-Length: {length}, {length}\r\n"), &body),
            Refused(&[400]),
        ),
        (
            "a length with a sign",
            post(&format!("Content-Length: +{length}\r\n"), &body),
            Refused(&[400]),
        ),
        (
            "a negative length",
            post("Content-Length: -1\r\n", &body),
            Refused(&[400]),
        ),
        (
            "a length in hexadecimal",
            post(&format!("Content-Length: {length:#x}\r\n"), &body),
            Refused(&[400]),
        ),
        (
            "a length past all bounds",
            post("Content-Length: 99999999999999999999999\r\n", &body),
            Refused(&[400]),
        ),
        (
            "an empty length",
            post("Content-Length: \r\n", &body),
            Refused(&[400]),
        ),
        (
            "chunks not last",
            post("Transfer-Encoding: chunked, identity\r\n", &chunks),
            Refused(&[400]),
        ),
        (
            "chunks that are none",
            post("Transfer-Encoding: xchunked\r\n", &chunks),
            Refused(&[400]),
        ),
        (
            "chunks over another coding",
            post("Transfer-Encoding: gzip, chunked\r\n", &chunks),
            Refused(&[400]),
        ),
        (
            "chunks twice",
            post(&format!("{te}{te}"), &chunks),
            Refused(&[400]),
        ),
        (
            "chunks with a vertical tab",
            post("Transfer-Encoding: \x0bchunked\r\n", &chunks),
            Refused(&[400]),
        ),
        (
            "space before the colon",
            post("Transfer-Encoding : chunked\r\n", &chunks),
            Refused(&[400]),
        ),
        (
            "chunks in HTTP/1.0",
            post(te, &chunks).replacen("HTTP/1.1", "HTTP/1.0", 1),
            Refused(&[400]),
        ),
        (
            "a chunk size that is no number",
            post(te, "zz\r\nhello\r\n0\r\n\r\n"),
            Refused(&[400]),
        ),
        (
            "a negative chunk size",
            post(te, "-5\r\nhello\r\n0\r\n\r\n"),
            Refused(&[400]),
        ),
        (
            "a chunk size past all bounds",
            post(te, "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
            Refused(&[400]),
        ),
        (
            "a chunk longer than its size",
            post(te, &format!("5\r\nhello!{body}\r\n0\r\n\r\n")),
            Refused(&[400]),
        ),
        (
            "a chunk extension without end",
            post(te, &format!("5;{}\r\nhello\r\n0\r\n\r\n", long(100_000))),
            Refused(&[400]),
        ),
        (
            "trailers",
            post(te, &format!("{length:x}\r\n{body}\r\n0\r\nX-Smuggled: 1\r\n\r\n")),
            One,
        ),
        ("a folded line", whole("X-Folded: a\r\n b\r\n"), Refused(&[400])),
        ("NUL in a value", whole("X-Nul: a\0b\r\n"), Refused(&[400])),
        (
            "CR in a value",
            whole("X-Cr: a\rX-Smuggled: 1\r\n"),
            Refused(&[400]),
        ),
        ("a name with a space", whole("X Name: 1\r\n"), Refused(&[400])),
        ("a line without a colon", whole("nothing\r\n"), Refused(&[400])),
        ("an empty name", whole(": 1\r\n"), Refused(&[400])),
        (
            "lines that end in LF alone",
            whole("").replacen("\r\n", "\n", 99),
            One,
        ),
        (
            "a second Host",
            whole(&format!("Host: {HOST}\r\n")),
            Refused(&[400]),
        ),
        (
            "no Host",
            whole("").replacen(&format!("Host: {HOST}\r\n"), "", 1),
            Refused(&[400]),
        ),
        (
            "another Host",
            whole("").replacen(&format!("Host: {HOST}"), "Host: evil.example", 1),
            Refused(&[421]),
        ),
        (
            "a Host with a user",
            whole("").replacen(&format!("Host: {HOST}"), &format!("Host: x@{HOST}"), 1),
            Refused(&[421]),
        ),
        (
            "an absolute target",
            whole("").replacen("POST /v1", &format!("POST https://{HOST}/v1"), 1),
            One,
        ),
        (
            "an absolute target elsewhere",
            whole("").replacen("POST /v1", "POST https://evil.example/v1", 1),
            Refused(&[421]),
        ),
        ("HTTP/1.0", whole("").replacen("HTTP/1.1", "HTTP/1.0", 1), One),
        (
            "HTTP/1.2",
            whole("").replacen("HTTP/1.1", "HTTP/1.2", 1),
            Refused(&[400]),
        ),
        ("HTTP/0.9", "GET /\r\n".to_owned(), Refused(&[400])),
        (
            "NUL in the target",
            whole("").replacen("/v1/", "/v1\0/", 1),
            Refused(&[400]),
        ),
        (
            "two spaces in the first line",
            whole("").replacen("POST /", "POST  /", 1),
            Refused(&[400]),
        ),
        (
            "a method that is none",
            whole("").replacen("POST", "PO(ST", 1),
            Refused(&[400]),
        ),
        (
            "CONNECT inside",
            format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"),
            Refused(&[405]),
        ),
        (
            "a long target",
            whole("").replacen("/v1/", &format!("/v1/?{}/", long(20_000)), 1),
            Refused(&[414]),
        ),
        (
            "a very long target",
            whole("").replacen("/v1/", &format!("/v1/?{}/", long(80_000)), 1),
            Refused(&[414, 431]),
        ),
        ("many fields", whole(&many), Refused(&[431])),
        (
            "a long field",
            whole(&format!("X-Long: {}\r\n", long(100_000))),
            Refused(&[431]),
        ),
    ]
}

/// What went on was framed by us: one length that is the body's, nothing of the caller's connection.
fn assert_ours(name: &str, seen: &Seen) {
    let values = |wanted: &str| -> Vec<&[u8]> {
        let named = seen.headers.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| value.as_slice()).collect()
    };
    assert_eq!(
        values("content-length"),
        [seen.body.len().to_string().as_bytes()],
        "{name}"
    );
    assert_eq!(values("host"), [HOST.as_bytes()], "{name}");
    for gone in ["transfer-encoding", "connection", "x-smuggled", "trailer", "te"] {
        assert!(values(gone).is_empty(), "{name}: {gone} went on");
    }
    assert_eq!(seen.body, body().as_bytes(), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_framing_makes_two_requests_of_one() {
    let scene = Scene::new("uri_bytes: 16384", false).await;
    for (name, bytes, becomes) in rows() {
        scene.cloud.forget();
        let answer = scene.raw(name, bytes.as_bytes()).await;
        let answers = answer.matches("HTTP/1.1 ").count() + answer.matches("HTTP/1.0 ").count();
        assert!(answers <= 1, "{name}: {answer}");
        let status: u16 = answer
            .get(9..12)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0);
        let seen = scene.cloud.seen();
        match becomes {
            One => {
                assert_eq!(status, 200, "{name}: {answer}");
                assert_eq!(seen.len(), 1, "{name}");
                assert_ours(name, &seen[0]);
            }
            Refused(statuses) => {
                assert!(statuses.contains(&status), "{name}: {answer:?}");
                assert!(seen.is_empty(), "{name}: something went on");
            }
        }
    }
    assert!(!scene.cloud.knows("smuggled"));
    scene.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_requests_that_pass_unread_are_framed_anew() {
    let scene = Scene::new("uri_bytes: 16384", true).await;
    let place = scene.on_prem.address().to_string();
    let login = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        STANDARD.encode(format!("ann:{}", scene.key))
    };
    let (body, more) = (chunked("hello"), smuggled());
    let rows = [
        (
            format!(
                "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                body.len() + more.len()
            ),
            true,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".to_owned(),
            true,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\nConnection: content-length\r\n".to_owned(),
            true,
        ),
        ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), false),
        ("Content-Length: 4\r\nContent-Length: 5\r\n".to_owned(), false),
        (
            "Host: evil.example\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            false,
        ),
    ];
    for (lines, passes) in rows {
        scene.on_prem.forget();
        let request = format!(
            "POST http://{place}/anything HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: Basic {login}\r\n{lines}\r\n{body}{more}"
        );
        let mut stream = TcpStream::connect(scene.cordon.proxy())
            .await
            .expect("the proxy accepts");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{lines:?}: the connection stays open");
        let seen = scene.on_prem.seen();
        assert_eq!(
            seen.len(),
            usize::from(passes),
            "{lines:?}: {}",
            String::from_utf8_lossy(&answer)
        );
        for seen in seen {
            assert_eq!(&seen.body[..], b"hello", "{lines:?}");
            let framing = seen
                .headers
                .iter()
                .filter(|(name, _)| matches!(name.as_str(), "content-length" | "transfer-encoding"));
            assert_eq!(framing.count(), 1, "{lines:?}");
            assert!(!seen.headers.iter().any(|(name, _)| name.starts_with("proxy-")));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_http2_that_break_its_rules_come_to_nothing() {
    let scene = Scene::of_http2("uri_bytes: 16384").await;
    let length = body().len().to_string();
    let good = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/v1/chat/completions"),
        ("content-type", "application/json"),
        ("authorization", "Bearer sk-x"),
    ];
    let without = |name: &str| -> Vec<(&str, &str)> {
        good.iter().copied().filter(|(given, _)| *given != name).collect()
    };
    let with = |more: &[(&'static str, &'static str)]| [&good[..], more].concat();
    let mut odd_path = without(":path");
    odd_path.insert(0, (":path", "v1/chat/completions"));
    let mut late = without(":path");
    late.push((":path", "/v1/chat/completions"));
    let rows: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("an upper-case name", with(&[("X-Name", "1")])),
        ("Connection", with(&[("connection", "keep-alive")])),
        ("Transfer-Encoding", with(&[("transfer-encoding", "chunked")])),
        ("Upgrade", with(&[("upgrade", "h2c")])),
        ("TE", with(&[("te", "gzip")])),
        ("a second :path", with(&[(":path", "/v1/models")])),
        ("an unknown pseudo-field", with(&[(":shape", "round")])),
        ("no :path", without(":path")),
        ("no :method", without(":method")),
        ("a :path that is none", odd_path),
        (":path after other fields", late),
        ("CR and LF in a value", with(&[("x-split", "a\r\nx-smuggled: 1")])),
        ("NUL in a value", with(&[("x-nul", "a\0b")])),
        ("a colon in a name", with(&[("x:y", "1")])),
        ("another Host", with(&[("host", "evil.example")])),
        ("two Hosts", with(&[("host", HOST), ("host", HOST)])),
        (
            "a length that is not the body's",
            with(&[("content-length", "3")]),
        ),
        (
            "two lengths",
            with(&[("content-length", "3"), ("content-length", "4")]),
        ),
        ("a length that is none", with(&[("content-length", "many")])),
    ];
    let send = async |name: &str, fields: &[(&str, &str)]| {
        let mut stream = scene.caller().open(HOST, &["h2"]).await.expect(name);
        let bytes = [
            frames::preface(),
            frames::headers(1, fields, false),
            frames::data(1, body().as_bytes()),
        ];
        let _ = stream.write_all(&bytes.concat()).await;
        tokio::time::timeout(PATIENCE, frames::end_of(&mut stream, 1))
            .await
            .expect(name)
    };
    assert_eq!(send("good", &good).await, End::Answered);
    assert_eq!(
        send(
            "with its length",
            &[&good[..], &[("content-length", length.as_str())]].concat()
        )
        .await,
        End::Answered
    );
    assert_eq!(scene.cloud.seen().len(), 2, "the good ones go on");
    for (name, fields) in rows {
        send(name, &fields).await;
        assert_eq!(scene.cloud.seen().len(), 2, "{name}: something went on");
    }
    scene.assert_alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_actor_and_one_address_have_their_share_only() {
    let scene = Scene::new(
        "exchanges_per_actor: 1, tunnels_per_actor: 1, connections_per_address: 5",
        true,
    )
    .await;
    let hold = std::sync::Arc::new(tokio::sync::Notify::new());
    let until = hold.clone();
    scene.cloud.answer(move |seen| {
        let mut answer = say(seen, "answered", Deltas::Whole);
        answer
            .pieces
            .insert(0, cordon_tests::upstream::Piece::Wait(until.clone()));
        answer
    });
    let mut line = scene.caller().line(HOST, true).await.expect("Cordon takes it");
    let held = line.begin("POST", Talk::Chat.path(), body().into_bytes(), &[]);
    let second = async {
        scene.cloud.arrived(1).await;
        let reply = scene
            .caller()
            .post(Talk::Chat, &Talk::Chat.request("me too", false))
            .await;
        let reply = reply.expect("Cordon answers");
        hold.notify_one();
        reply
    };
    let (first, refused) = tokio::join!(held, second);
    assert_eq!(first.expect("the first is answered").status(), 200);
    assert_eq!(refused.status.as_u16(), 429);
    assert_eq!(
        refused.json()["error"]["type"],
        "rate_limit_error",
        "{}",
        refused.text()
    );
    let record = scene.home.record(refused.exchange()).await;
    assert_eq!(
        record["opening"]["body"]["code"], "cordon_actor_busy",
        "{record:#}"
    );

    let target = scene.on_prem.address().to_string();
    let mut tunnels = Vec::new();
    for expected in ["HTTP/1.1 200", "HTTP/1.1 429"] {
        let mut stream = TcpStream::connect(scene.cordon.proxy())
            .await
            .expect("the proxy accepts");
        let head = scene
            .caller()
            .ask_connect(&mut stream, &target)
            .await
            .expect("an answer");
        assert!(head.starts_with(expected), "{head}");
        tunnels.push(stream);
    }
    let mut answers = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(scene.cordon.proxy())
            .await
            .expect("the proxy accepts");
        let answer = scene.caller().ask_connect(&mut stream, &target).await;
        answers.push(answer.unwrap_or_default());
        tunnels.push(stream);
    }
    let last = answers.last().expect("six of them");
    assert!(
        last.contains("429") && !last.contains("x-cordon-exchange"),
        "{answers:?}"
    );
    drop(tunnels);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_under_attack() {
    let scene = Scene::of_http2(
        "connections_per_address: 4000, body_bytes: 1000000, given_up_per_minute: 1000000, requests_per_connection: 1000000, first_byte_seconds: 600, header_seconds: 600",
    )
    .await;
    scene.assert_alive().await;
    let before = scene.memory();
    let measured = |what: &str, most: u64| {
        let grown = scene.memory().saturating_sub(before);
        eprintln!("{what}: {before} MiB before, {grown} MiB more");
        assert!(grown <= most, "{what}: memory grew by {grown} MiB");
    };

    let mut slow = Vec::new();
    for _ in 0..2000 {
        let mut stream = TcpStream::connect(scene.cordon.proxy())
            .await
            .expect("the proxy accepts");
        stream
            .write_all(b"CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.op")
            .await
            .expect("the proxy reads");
        slow.push(stream);
    }
    scene.assert_alive().await;
    measured("2,000 connections with half a head", 100);
    drop(slow);

    // Rapid reset: streams opened and given up in one breath.
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/v1/chat/completions"),
    ];
    for _ in 0..4 {
        let mut stream = scene.caller().open(HOST, &["h2"]).await.expect("Cordon takes it");
        let _ = stream.write_all(&frames::preface()).await;
        let sending = async {
            for batch in 0..200_u32 {
                let mut bytes = Vec::new();
                for number in 0..100 {
                    let id = (batch * 100 + number) * 2 + 1;
                    bytes.extend(frames::headers(id, &fields, false));
                    bytes.extend(frames::reset(id));
                }
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        // Cordon gives the connection up; if it does not read on either, that will do as well.
        let _ = tokio::time::timeout(Duration::from_secs(20), sending).await;
    }
    scene.assert_alive().await;
    measured("80,000 streams opened and reset", 100);

    // A header block that never ends.
    for _ in 0..4 {
        let mut stream = scene.caller().open(HOST, &["h2"]).await.expect("Cordon takes it");
        let mut bytes = frames::preface();
        bytes.extend(frames::frame(0x1, 0, 1, &frames::block(&fields)));
        let _ = stream.write_all(&bytes).await;
        let more = frames::frame(0x9, 0, 1, &frames::block(&[("x-more", &"a".repeat(16_000))]));
        let sending = async {
            for _ in 0..4000 {
                if stream.write_all(&more).await.is_err() {
                    return true;
                }
            }
            false
        };
        let closed = tokio::time::timeout(PATIENCE, sending).await;
        assert_eq!(closed, Ok(true), "64 MB of CONTINUATION were taken");
    }
    scene.assert_alive().await;
    measured("CONTINUATION without end", 100);

    let zeros = vec![b' '; 64 << 20];
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&zeros).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    };
    let bombs = [
        ("gzip", gzip),
        ("zstd", zstd::encode_all(&zeros[..], 19).expect("memory takes it")),
    ];
    drop(zeros);
    for (encoding, bomb) in bombs {
        let sent = (0..16).map(|_| {
            let (caller, bomb) = (scene.caller(), bomb.clone());
            async move {
                caller
                    .post_bytes(Talk::Chat, bomb, &[("content-encoding", encoding)])
                    .await
            }
        });
        for reply in futures_util::future::join_all(sent).await {
            assert_eq!(reply.expect("Cordon answers").status.as_u16(), 413, "{encoding}");
        }
    }
    scene.assert_alive().await;
    measured("32 bodies that unfold to 64 MB each", 100);
}
