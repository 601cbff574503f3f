//! Transparent mode, in a network of the test's own: connections that a router sends to Cordon are intercepted, passed
//! or cut by what they say themselves, wherever they were to lead. The router's rules are those of `docs/deployment.md`.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, UdpSocket},
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cordon_tests::{
    Places,
    caller::{PROVIDER_KEY, Reply},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    namespaces::{CALLER, Callers, GATEWAY, NOWHERE, apart, outside},
    replies::{Deltas, Talk, say},
    upstream::Upstream,
};
use futures_util::FutureExt as _;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::{EchConfig, EchGreaseConfig, EchMode},
    crypto::aws_lc_rs::{default_provider, hpke::DH_KEM_P256_HKDF_SHA256_AES_128},
    crypto::hpke::Hpke,
};
use rustls_pki_types::{CertificateDer, EchConfigListBytes, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

const EMAIL: &str = "jane.roe@corp.example";
/// Where the rules of the documentation send connections.
const PORT: u16 = 9999;

/// The rules of nftables that the documentation gives.
fn rules() -> String {
    let page = fs::read_to_string(Places::top().join("docs/deployment.md")).expect("the page is there");
    let (_, rest) = page.split_once("```nft\n").expect("the page has the rules");
    let (rules, _) = rest.split_once("```").expect("the rules end");
    rules.to_owned()
}

/// Three in one network: the callers, Cordon that they do not know of, and a provider behind it.
struct Scene {
    callers: Callers,
    cloud: Upstream,
    _on_prem: Upstream,
    home: Home,
    cordon: Cordon,
}

impl Scene {
    async fn new() -> Self {
        let callers = Callers::behind(&rules());
        let cloud = Upstream::behind_tls().await;
        cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
        let on_prem = Upstream::in_place_of_engine().await;
        let floor = "user: the-floor, groups: [staff]";
        let home = Home::new(&Plan {
            policy: Some(POLICY_REQUESTED.replace("door == \"proxy\"", "door == \"transparent\"")),
            tunnels: true,
            further: format!(
                "audit: {{ addresses: full }}\nidentity:\n  networks:\n    - {{ network: 198.51.100.0/24, {floor} }}\n    - {{ network: '2001:db8:1::/64', {floor} }}\n"
            ),
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        let file = home.path().join("cordon.yaml");
        let config = fs::read_to_string(file).expect("the configuration is there");
        let door = format!("admin: '127.0.0.1:0', transparent: '[::]:{PORT}' }}");
        home.write("cordon.yaml", &config.replace("admin: '127.0.0.1:0' }", &door));
        let cordon = home.serve().await;
        Self {
            callers,
            cloud,
            _on_prem: on_prem,
            home,
            cordon,
        }
    }

    /// TLS as a caller speaks it who trusts Cordon's root and offers these protocols.
    fn tls(&self, protocols: Vec<Vec<u8>>) -> ClientConfig {
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = protocols;
        config
    }

    fn with_ech(&self, mode: EchMode) -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_ech(mode)
            .expect("TLS 1.3 is there")
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.cordon.ca_pem().as_bytes()).expect("a certificate");
        roots.add(root).expect("a certificate");
        roots
    }

    /// Waits for the record of something that was turned away for that cause.
    async fn turned_away(&self, code: &str) -> Value {
        let is = |row: &Value| row["opening"]["body"]["code"] == code;
        let found = self
            .home
            .searched_until(&["--outcome", "refused"], |rows| rows.iter().any(is))
            .await;
        let row = found.iter().find(|row| is(row));
        let row = row.unwrap_or_else(|| panic!("nothing was turned away for {code}: {found:#?}"));
        row["opening"]["body"].clone()
    }

    async fn tunnel(&self, host: &str) -> Value {
        let mut found = self
            .home
            .searched_until(&["--host", host], |rows| {
                rows.len() == 1 && rows[0]["closing"].is_object()
            })
            .await;
        assert_eq!(found.len(), 1, "{host}: {found:#?}");
        found.remove(0)
    }
}

/// The public key of a provider's encrypted ClientHellos, as DNS gives it (RFC 9849, 4), under a public name.
fn ech_keys(public_name: &str) -> Vec<u8> {
    let (key, _) = DH_KEM_P256_HKDF_SHA256_AES_128
        .generate_key_pair()
        .expect("the crypto provider makes keys");
    let long = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).expect("it is short");
        [&length.to_be_bytes(), bytes].concat()
    };
    let mut contents = vec![7, 0, 0x10];
    contents.extend(long(&key.0));
    contents.extend(long(&[0, 1, 0, 1]));
    contents.push(64);
    contents.push(u8::try_from(public_name.len()).expect("it is short"));
    contents.extend(public_name.as_bytes());
    contents.extend(long(&[]));
    long(&[&[0xfe, 0x0d][..], &long(&contents)].concat())
}

fn grease() -> EchMode {
    let suite = DH_KEM_P256_HKDF_SHA256_AES_128;
    let (key, _) = suite.generate_key_pair().expect("the crypto provider makes keys");
    EchMode::Grease(EchGreaseConfig::new(suite, key))
}

/// What a program says first.
fn hello(config: ClientConfig, name: &str) -> Vec<u8> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a sound configuration");
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).expect("memory takes it");
    }
    bytes
}

/// Writes a few bytes at a time, each of which goes its own way in the network.
struct Trickling(TcpStream, usize);

impl AsyncRead for Trickling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Trickling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let few = &bytes[..bytes.len().min(self.1)];
        Pin::new(&mut self.0).poll_write(cx, few)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Asks for a chat over a connection that stands, with further headers.
async fn chat<IO>(io: IO, host: &str, headers: &[(&str, &str)]) -> Reply
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
        .await
        .expect("Cordon speaks HTTP");
    tokio::spawn(connection);
    let body = Talk::Chat.request(EMAIL, false).to_string();
    let mut request = Request::post(Talk::Chat.path())
        .header("host", host)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {PROVIDER_KEY}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request
        .body(Full::new(bytes::Bytes::from(body)))
        .expect("a plain request");
    let answer = sender.send_request(request).await.expect("Cordon answers");
    Reply::read(answer).await.expect("Cordon answers whole")
}

#[test]
fn a_listed_host_is_intercepted_wherever_the_caller_dialled() {
    apart(
        "a_listed_host_is_intercepted_wherever_the_caller_dialled",
        async || {
            let scene = Scene::new().await;
            // Post-quantum key shares take a ClientHello past one packet; these take it past one record.
            let many = std::iter::repeat_n(vec![b'x'; 250], 80);
            let large: Vec<_> = many.chain([b"http/1.1".to_vec()]).collect();
            assert!(hello(scene.tls(large.clone()), "api.openai.com").len() > 20_000);
            assert!(hello(scene.tls(Vec::new()), "api.openai.com").len() > 1_000);
            for (family, protocols, step) in [
                (0, Vec::new(), 1 << 20),
                (1, Vec::new(), 1 << 20),
                (0, Vec::new(), 5),
                (0, large.clone(), 1 << 20),
                (1, large, 900),
            ] {
                let stream = Trickling(scene.callers.connect(outside(family, 443)), step);
                let connector = TlsConnector::from(Arc::new(scene.tls(protocols)));
                let name = ServerName::try_from("api.openai.com").expect("a name");
                let tls = connector
                    .connect(name, stream)
                    .await
                    .expect("TLS is taken up with a certificate that verifies");
                let reply = chat(tls, "api.openai.com", &[]).await;
                assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
                let record = scene.home.record(reply.exchange()).await;
                let opening = &record["opening"]["body"];
                assert_eq!(
                    (&opening["door"], &opening["host"], &opening["actor"]["user"]),
                    (
                        &"transparent".into(),
                        &"api.openai.com".into(),
                        &"the-floor".into()
                    ),
                    "{record:#}"
                );
                let caller = CALLER[family].split('/').next().unwrap_or_default();
                assert!(
                    opening["peer"].as_str().is_some_and(|peer| peer.contains(caller)),
                    "{record:#}"
                );
            }
            assert_eq!(scene.cloud.seen().len(), 5);
            assert!(!scene.cloud.knows(EMAIL), "a text passed unread");

            // Who has a key of their own is who they are. An encrypted ClientHello that is noise changes nothing.
            let key = scene.home.key("ann", "staff");
            scene
                .cordon
                .admin_until("/metrics", |page| {
                    page.text().contains("cordon_reloads_total{outcome=\"done\"} 1\n")
                })
                .await;
            let connector = TlsConnector::from(Arc::new(scene.with_ech(grease())));
            let name = ServerName::try_from("api.openai.com").expect("a name");
            let tls = connector
                .connect(name, scene.callers.connect(outside(0, 443)))
                .await
                .expect("TLS is taken up");
            let reply = chat(tls, "api.openai.com", &[("x-cordon-key", &key)]).await;
            assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
            let record = scene.home.record(reply.exchange()).await;
            assert_eq!(
                record["opening"]["body"]["actor"]["user"],
                scene.home.reference("ann")
            );
            assert_eq!(scene.cordon.terminate().await, Some(0));
        },
    );
}

#[test]
fn a_program_that_knows_nothing_of_cordon_is_answered() {
    apart("a_program_that_knows_nothing_of_cordon_is_answered", async || {
        let scene = Scene::new().await;
        let far = outside(0, 443).to_string();
        let ca = scene.cordon.ca().display().to_string();
        let mut openssl = scene
            .callers
            .program("openssl")
            .args(["s_client", "-connect", &far, "-servername", "api.openai.com"])
            .args([
                "-CAfile",
                &ca,
                "-verify_return_error",
                "-verify_hostname",
                "api.openai.com",
            ])
            .args(["-quiet", "-no_ign_eof"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed (scripts/packages)");
        let body = Talk::Chat.request(EMAIL, false).to_string();
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer {PROVIDER_KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            Talk::Chat.path(),
            body.len()
        );
        let mut stdin = openssl.stdin.take().expect("it is piped");
        stdin.write_all(request.as_bytes()).expect("openssl reads");
        let output = tokio::task::spawn_blocking(move || openssl.wait_with_output());
        let output = tokio::time::timeout(Duration::from_secs(60), output)
            .await
            .expect("Cordon closes the connection, and openssl ends with it")
            .expect("nothing panics")
            .expect("its output can be read");
        drop(stdin);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            told.starts_with("HTTP/1.1 200") && told.contains("fine"),
            "{told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(scene.cloud.seen().len(), 1);
        assert!(!scene.cloud.knows(EMAIL));
    });
}

/// Sends bytes from the callers' side, and gives what comes to a listener outside.
async fn passed(scene: &Scene, far: &TcpListener, bytes: &[u8]) -> Vec<u8> {
    let to = far.local_addr().expect("it is bound");
    let mut stream = scene.callers.connect(to);
    let sending = async {
        for piece in bytes.chunks(100) {
            stream.write_all(piece).await.expect("it is taken");
        }
        stream.shutdown().await.expect("it is taken");
    };
    let taking = async {
        let (mut stream, _) = far.accept().await.expect("it comes");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.expect("it ends");
        got
    };
    let both = async { tokio::join!(sending, taking) };
    let ((), got) = tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .expect("what is passed arrives");
    got
}

#[test]
fn other_hosts_are_reached_where_the_caller_dialled_and_recorded_as_tunnels() {
    apart(
        "other_hosts_are_reached_where_the_caller_dialled_and_recorded_as_tunnels",
        async || {
            let scene = Scene::new().await;
            for (family, name, config) in [
                (0, "shop.example", scene.tls(Vec::new())),
                (1, "six.example", scene.tls(Vec::new())),
                // Browsers send noise in place of an encrypted ClientHello, beside the true name.
                (0, "noise.example", scene.with_ech(grease())),
            ] {
                let far = TcpListener::bind(outside(family, 443))
                    .await
                    .expect("the address is ours");
                let bytes = hello(config, name);
                assert_eq!(passed(&scene, &far, &bytes).await, bytes, "{name}");
                let row = scene.tunnel(name).await;
                let opening = &row["opening"]["body"];
                assert_eq!(
                    (&opening["kind"], &opening["door"], &opening["port"]),
                    (&"tunnel_opened".into(), &"transparent".into(), &443.into()),
                    "{row:#}"
                );
                assert_eq!(row["closing"]["body"]["bytes_up"], bytes.len());
            }

            // Plain HTTP goes by its Host, to where it was dialled; to a provider it is none of the requests that
            // are understood, since none of them offers it.
            let far = TcpListener::bind(outside(0, 80))
                .await
                .expect("the address is ours");
            let mut stream = scene.callers.connect(outside(0, 80));
            stream
                .write_all(b"GET /page HTTP/1.1\r\nHost: plain.example\r\nConnection: close\r\n\r\n")
                .await
                .expect("it is taken");
            let (mut taken, _) = far.accept().await.expect("it comes");
            let mut head = vec![0; 4096];
            let count = taken.read(&mut head).await.expect("it can be read");
            let head = String::from_utf8_lossy(&head[..count]).to_ascii_lowercase();
            assert!(
                head.starts_with("get /page http/1.1") && head.contains("host: plain.example"),
                "{head}"
            );
            taken
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage")
                .await
                .expect("it takes the answer");
            let mut answer = String::new();
            stream
                .read_to_string(&mut answer)
                .await
                .expect("the answer comes");
            assert!(answer.ends_with("page"), "{answer}");
            assert_eq!(scene.tunnel("plain.example").await["opening"]["body"]["port"], 80);
            let reply = chat(scene.callers.connect(outside(0, 80)), "api.openai.com", &[]).await;
            assert_eq!(reply.status.as_u16(), 400, "{}", reply.text());
            assert_eq!(reply.json()["error"]["code"], "cordon_unknown_shape");
            assert!(scene.cloud.seen().is_empty());
            assert!(
                far.accept().now_or_never().is_none(),
                "it went where it was dialled"
            );
        },
    );
}

/// Sends bytes to an address and waits until the connection is closed; nothing must come back.
async fn cut(scene: &Scene, to: SocketAddr, bytes: &[u8]) {
    let mut stream = scene.callers.connect(to);
    stream.write_all(bytes).await.expect("it is taken");
    let mut got = Vec::new();
    // A close with bytes unread is a reset.
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut got)).await;
    assert!(read.is_ok(), "the connection stays open");
    assert!(got.is_empty(), "{got:?}");
}

#[test]
fn what_hides_or_does_not_say_where_it_leads_is_cut_and_recorded() {
    apart(
        "what_hides_or_does_not_say_where_it_leads_is_cut_and_recorded",
        async || {
            let scene = Scene::new().await;
            let to = outside(0, 443);
            let far = TcpListener::bind(to).await.expect("the address is ours");

            // A provider's name inside, the public name of its content network outside.
            let keys = EchConfigListBytes::from(ech_keys("cloudflare-ech.com"));
            let suites: &[&'static dyn Hpke] = &[DH_KEM_P256_HKDF_SHA256_AES_128];
            let hidden = EchConfig::new(keys, suites).expect("the keys are in order");
            let bytes = hello(scene.with_ech(EchMode::Enable(hidden)), "chatgpt.com");
            let holds = |name: &str| bytes.windows(name.len()).any(|part| part == name.as_bytes());
            assert!(holds("cloudflare-ech.com") && !holds("chatgpt.com"));
            cut(&scene, to, &bytes).await;
            let record = scene.turned_away("name_hidden").await;
            assert_eq!(
                (&record["door"], &record["host"]),
                (&"transparent".into(), &"cloudflare-ech.com".into())
            );

            // TLS to a bare address names nobody, and neither does what is no TLS.
            cut(&scene, to, &hello(scene.tls(Vec::new()), "203.0.113.10")).await;
            scene.turned_away("name_missing").await;
            let before = scene.home.search(&["--outcome", "refused"]).len();
            cut(&scene, to, b"\x00\x01\x02\x03").await;
            let enough = |rows: &[Value]| rows.len() > before;
            let rows = scene.home.searched_until(&["--outcome", "refused"], enough).await;
            assert_eq!(rows.len(), before + 1, "{rows:#?}");
            assert_eq!(rows[0]["opening"]["body"]["code"], "name_missing");

            // What looks like TLS and cannot be read could say to its server what it did not say to us.
            cut(&scene, to, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00").await;
            scene.turned_away("tunnel_unreadable").await;

            // Who dials the port itself was not redirected.
            let gateway = GATEWAY[0].split('/').next().unwrap_or_default();
            let own = format!("{gateway}:{PORT}").parse().expect("an address");
            cut(&scene, own, &hello(scene.tls(Vec::new()), "shop.example")).await;
            scene.turned_away("no_destination").await;

            assert!(far.accept().now_or_never().is_none(), "something came through");
            assert!(scene.cloud.seen().is_empty());
        },
    );
}

#[test]
fn http3_is_blocked_by_the_rules_and_other_datagrams_are_not() {
    apart(
        "http3_is_blocked_by_the_rules_and_other_datagrams_are_not",
        async || {
            let callers = Callers::behind(&rules());
            let ask = |port: u16| {
                callers.there(|| {
                    let socket = UdpSocket::bind("0.0.0.0:0").expect("sockets can be had");
                    socket
                        .set_read_timeout(Some(Duration::from_secs(2)))
                        .expect("sockets can be set up");
                    // Nobody lives there: what is let through gets no answer at all.
                    socket.connect((NOWHERE[1], port)).expect("there is a way");
                    socket.send(&[0xc0; 1200]).expect("it is sent");
                    socket.recv(&mut [0; 1500]).expect_err("nobody answers").kind()
                })
            };
            assert_eq!(ask(443), io::ErrorKind::ConnectionRefused);
            assert_eq!(ask(444), io::ErrorKind::WouldBlock);
        },
    );
}
