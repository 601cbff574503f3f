//! HTTP/3 leads past a proxy, by UDP. Nothing of Cordon's listens there, and whatever way a provider tells of it, by a
//! header, an early answer, trailers or a frame of HTTP/2, the caller does not hear it.

use std::{collections::HashSet, fs, net::SocketAddr, time::Duration};

use cordon_tests::{
    caller::{Caller, Door, Line},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    frames,
    replies::{Deltas, Talk, say},
    tls::TestAuthority,
    upstream::{Answer, Upstream},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

const OPENAI: &str = "api.openai.com";
const RAW: &str = "raw.provider.example";
const WAY: &str = "h3=\":443\"; ma=86400, h3-29=\"quic.example:443\"";
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads the head of a request of HTTP/1.1.
async fn head(io: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    head
}

/// A provider that tells of HTTP/3 in every way that its protocol has.
async fn tell(mut io: impl AsyncRead + AsyncWrite + Unpin, http2: bool) {
    if !http2 {
        head(&mut io).await;
        let answer = format!(
            "HTTP/1.1 103 Early Hints\r\nalt-svc: {WAY}\r\n\r\n\
             HTTP/1.1 200 OK\r\nalt-svc: {WAY}\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\
             trailer: alt-svc\r\n\r\n4\r\ntold\r\n0\r\nalt-svc: {WAY}\r\n\r\n"
        );
        let _ = io.write_all(answer.as_bytes()).await;
        let _ = io.shutdown().await;
        return;
    }
    let mut preface = [0; 24];
    let _ = io.read_exact(&mut preface).await;
    let _ = io.write_all(&frames::frame(0x4, 0, 0, &[])).await;
    loop {
        let mut head = [0; 9];
        if io.read_exact(&mut head).await.is_err() {
            return;
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        let _ = io.read_exact(&mut payload).await;
        let answer = match head[3] {
            0x4 if head[4] & 1 == 0 => frames::frame(0x4, 1, 0, &[]),
            0x1 => told_on(u32::from(head[7]) << 8 | u32::from(head[8])),
            _ => continue,
        };
        let _ = io.write_all(&answer).await;
    }
}

/// An answer of HTTP/2, with all that could stand before, beside and behind it.
fn told_on(stream: u32) -> Vec<u8> {
    // RFC 7838, section 4: an origin and its value on stream 0, the value alone on another.
    let origin = format!("https://{RAW}");
    let length = u16::try_from(origin.len()).expect("a short one").to_be_bytes();
    let on_connection = [&length[..], origin.as_bytes(), WAY.as_bytes()].concat();
    let on_stream = [&[0, 0], WAY.as_bytes()].concat();
    let told = [
        frames::frame(0xa, 0, 0, &on_connection),
        frames::frame(0xa, 0, stream, &on_stream),
        frames::headers(stream, &[(":status", "103"), ("alt-svc", WAY)], false),
        frames::headers(
            stream,
            &[
                (":status", "200"),
                ("content-type", "text/plain"),
                ("alt-svc", WAY),
            ],
            false,
        ),
        frames::frame(0x0, 0, stream, b"told"),
        frames::headers(stream, &[("alt-svc", WAY)], true),
    ];
    told.concat()
}

struct Raw {
    address: SocketAddr,
    authority: TestAuthority,
    task: JoinHandle<()>,
}

impl Raw {
    async fn start(http2: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let authority = TestAuthority::new();
        let acceptor = TlsAcceptor::from(authority.server(&[RAW], http2));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        tell(stream, http2).await;
                    }
                });
            }
        });
        Self {
            address,
            authority,
            task,
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Says a word behind each answer: the way past Cordon.
fn telling(cloud: &Upstream) {
    cloud.answer(|seen| match seen.path() {
        "/v1/models" => Answer::new(500, "application/json", "{}").with_header("alt-svc", WAY),
        "/v1/realtime" => Answer::new(403, "application/json", "{}").with_header("alt-svc", WAY),
        _ => say(seen, "answered", Deltas::Of(3)).with_header("alt-svc", WAY),
    });
}

async fn asked(line: &mut Line) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    for (what, stream) in [("a plain reply", false), ("a stream", true)] {
        let body = Talk::Chat.request("hello", stream).to_string().into_bytes();
        let reply = line.post(Talk::Chat, body, &[]).await.expect(what);
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        told.push((what, reply.header("alt-svc").to_owned()));
    }
    let reply = line
        .send("GET", "/v1/models", &[])
        .await
        .expect("an error comes as well");
    told.push(("an error", reply.header("alt-svc").to_owned()));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_tells_of_another_way_at_any_door() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    telling(&cloud);
    on_prem.answer(|_| Answer::new(200, "text/plain", "told").with_header("alt-svc", WAY));
    let home = Home::new(&Plan {
        credentials: "the-companys-key",
        tunnels: true,
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    for (door, expected) in [(Door::Proxy, "clear"), (Door::Gateway, "")] {
        let caller = Caller::new(&cordon, door, &key);
        for http2 in [false, true] {
            let mut line = caller.line(OPENAI, http2).await.expect("Cordon takes it");
            for (what, told) in asked(&mut line).await {
                assert_eq!(told, expected, "{door:?}, HTTP/2: {http2}, {what}");
            }
        }
    }
    assert!(cloud.knows("hello"), "the provider was asked");

    // Plain HTTP to a host that is not listed passes unread, but for what belongs to the connection.
    let place = on_prem.address().to_string();
    let login = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        STANDARD.encode(format!("ann:{key}"))
    };
    let mut stream = TcpStream::connect(cordon.proxy())
        .await
        .expect("the proxy accepts");
    let request = format!(
        "GET http://{place}/anything HTTP/1.1\r\nHost: {place}\r\nProxy-Authorization: Basic {login}\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the proxy reads");
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("it ends")
        .expect("it is text");
    assert!(
        answer.contains("\r\ntold\r\n") && !answer.to_lowercase().contains("alt-svc"),
        "{answer}"
    );
    assert_no_udp(&cordon);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_tells_of_no_other_way() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    telling(&cloud);
    let home = Home::new(&Plan {
        credentials: "the-companys-key",
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    for door in [Door::Proxy, Door::Gateway] {
        let caller = Caller::new(&cordon, door, &key);
        let mut stream = caller.open(OPENAI, &["http/1.1"]).await.expect("Cordon takes it");
        let host = if door == Door::Proxy { OPENAI } else { "localhost" };
        let credentials = caller.credentials();
        let (_, bearer) = credentials.first().expect("a key");
        let request = format!(
            "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("Cordon reads");
        let answer = String::from_utf8(head(&mut stream).await).expect("a head is text");
        assert!(answer.starts_with("HTTP/1.1 403"), "{door:?}: {answer}");
        assert!(!answer.contains("h3="), "{door:?}: {answer}");
    }
    assert!(!cloud.seen().is_empty(), "the provider refused them, not Cordon");
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_an_early_answer_a_frame_or_what_stands_behind_an_answer() {
    for from_http2 in [false, true] {
        let raw = Raw::start(from_http2).await;
        let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
        let home = Home::new(&Plan {
            policy: Some(POLICY_REQUESTED.replace("unknown: block", "unknown: pass")),
            servers: &[(RAW, raw.address, raw.authority.pem())],
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        let caller = Caller::new(&cordon, Door::Proxy, &key);

        let request =
            format!("GET /told HTTP/1.1\r\nHost: {RAW}\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n");
        let mut stream = caller.open(RAW, &["http/1.1"]).await.expect("Cordon takes it");
        stream.write_all(request.as_bytes()).await.expect("Cordon reads");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "the connection stays open");
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(
            answer.starts_with("http/1.1 200") && answer.contains("told"),
            "{answer}"
        );
        assert!(
            !answer.contains("h3=") && !answer.contains("http/1.1 103"),
            "{answer}"
        );
        assert_eq!(answer.matches("alt-svc: clear").count(), 1, "{answer}");

        if !from_http2 {
            // Callers are offered what the provider speaks.
            continue;
        }
        let mut stream = caller.open(RAW, &["h2"]).await.expect("Cordon takes it");
        let asks = [
            frames::preface(),
            frames::headers(
                1,
                &[
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", RAW),
                    (":path", "/told"),
                    ("te", "trailers"),
                ],
                true,
            ),
        ];
        stream.write_all(&asks.concat()).await.expect("Cordon reads");
        let kinds = tokio::time::timeout(PATIENCE, kinds(&mut stream, 1))
            .await
            .expect("it ends");
        assert!(!kinds.contains(&0xa), "ALTSVC came: {kinds:?}");
        let heads = kinds.iter().filter(|kind| **kind == 0x1).count();
        assert_eq!(heads, 1, "one head and no trailers: {kinds:?}");
    }
}

/// The kinds of the frames that come until a stream ends.
async fn kinds(io: &mut (impl AsyncRead + Unpin), stream: u32) -> Vec<u8> {
    let mut kinds = Vec::new();
    loop {
        let mut head = [0; 9];
        io.read_exact(&mut head).await.expect("the stream ends first");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        io.read_exact(&mut payload).await.expect("a frame is whole");
        kinds.push(head[3]);
        let on = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        assert!(head[3] != 0x3 || on != stream, "the stream was reset");
        if on == stream && matches!(head[3], 0x0 | 0x1) && head[4] & 1 == 1 {
            return kinds;
        }
    }
}

/// No socket of the process is one of UDP.
fn assert_no_udp(cordon: &Cordon) {
    let folder = format!("/proc/{}/fd", cordon.id());
    let own: HashSet<String> = fs::read_dir(folder)
        .expect("the process runs")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?;
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    assert!(!own.is_empty(), "it listens");
    for table in ["udp", "udp6"] {
        let rows = fs::read_to_string(format!("/proc/{}/net/{table}", cordon.id())).unwrap_or_default();
        // The tenth column is the socket's inode.
        let sockets = rows.lines().filter_map(|row| row.split_whitespace().nth(9));
        let open: Vec<&str> = sockets.filter(|inode| own.contains(*inode)).collect();
        assert!(open.is_empty(), "sockets of {table} are open");
    }
}
