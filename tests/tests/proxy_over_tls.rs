//! The proxy over TLS, and callers' own certificates in place of keys: who shows one is its holder, who shows a revoked
//! one is nobody, and what it opened before is cut. The PAC file sends programs to either port of the proxy.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use cordon_tests::{
    caller::{Caller, Door, PROVIDER_KEY, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    program::Program,
    providers::{Issued, authority, leaf, revoking},
    replies::{Deltas, Talk, say},
    tls::trusting,
    upstream::Upstream,
};
use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, SanType, SerialNumber};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const EMAIL: &str = "jane.roe@corp.example";

/// An employee's certificate.
fn employee(mail: &str, unit: &str, serial: u64) -> CertificateParams {
    let mut params = leaf("employee.corp.example");
    params.subject_alt_names = vec![SanType::Rfc822Name(mail.try_into().expect("an address"))];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(serial));
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, unit);
    params
}

struct Scene {
    company: Issued,
    cloud: Upstream,
    _on_prem: Upstream,
    home: Home,
}

impl Scene {
    /// An installation that asks callers for certificates of the company's, of which these are revoked.
    async fn new(revoked: &[u64]) -> Self {
        let company = Issued::of(authority("Tests' company"), None);
        let cloud = Upstream::behind_tls().await;
        cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
        let on_prem = Upstream::in_place_of_engine().await;
        let home = Home::new(&Plan {
            further: "identity: { client_ca: company.pem, certificate_groups: [staff] }\n".to_owned(),
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        home.write("company.pem", &company.pem);
        let file = home.path().join("cordon.yaml");
        let config = fs::read_to_string(file).expect("the configuration is there");
        let config = config
            .replace(
                "admin: '127.0.0.1:0' }",
                "admin: '127.0.0.1:0', proxy_tls: '127.0.0.1:0' }",
            )
            .replace(
                "intercept:\n",
                "intercept:\n  crls: [crls]\n  bypass: [status.api.openai.com, 10.0.0.0/8]\n",
            );
        home.write("cordon.yaml", &config);
        fs::create_dir(home.path().join("crls")).expect("the folder is ours");
        let scene = Self {
            company,
            cloud,
            _on_prem: on_prem,
            home,
        };
        scene.revoke(revoked);
        scene
    }

    fn revoke(&self, serials: &[u64]) {
        let serials: Vec<_> = serials.iter().copied().map(SerialNumber::from).collect();
        self.home
            .write("crls/company.pem", &revoking(&self.company, &serials, false));
    }

    /// What was recorded of the gateway itself, newest first, once it suffices.
    async fn events(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let found = self.home.search(&["--events"]);
            if enough(&found) || tokio::time::Instant::now() > deadline {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// How a caller takes TLS up with one of Cordon's own ports.
struct Shaking {
    roots: String,
    address: SocketAddr,
}

impl Shaking {
    /// With a certificate or none.
    async fn shake(&self, certificate: Option<&Issued>) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.roots.as_bytes()).expect("a certificate");
        roots.add(root).expect("a certificate");
        let builder = ClientConfig::builder().with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(vec![own.der.clone()], own.key())
                .expect("key and certificate belong together"),
        };
        let stream = TcpStream::connect(self.address).await.expect("Cordon accepts");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .expect("Cordon's own certificate verifies")
    }
}

/// A TLS connection to one of Cordon's own ports, with a certificate or none.
async fn shake(cordon: &Cordon, door: Door, certificate: Option<&Issued>) -> TlsStream<TcpStream> {
    let address = match door {
        Door::Gateway => cordon.gateway(),
        Door::Proxy => cordon.proxy_tls(),
    };
    let roots = cordon.ca_pem();
    Shaking { roots, address }.shake(certificate).await
}

/// A CONNECT over TLS, with further lines of its head; the answer's head, or nothing where the connection was closed.
async fn ask(stream: &mut TlsStream<TcpStream>, lines: &str) -> String {
    let target = "api.openai.com:443";
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{lines}\r\n");
    // Over TLS 1.3 a caller learns only by reading that its certificate was refused.
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.flush().await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

async fn chat<IO>(io: IO, host: &str) -> Reply
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
        .await
        .expect("Cordon speaks HTTP");
    tokio::spawn(connection);
    let request = Request::post(Talk::Chat.path())
        .header("host", host)
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {PROVIDER_KEY}"))
        .body(Full::new(bytes::Bytes::from(
            Talk::Chat.request(EMAIL, false).to_string(),
        )))
        .expect("a plain request");
    Reply::read(sender.send_request(request).await.expect("Cordon answers"))
        .await
        .expect("Cordon answers whole")
}

/// The provider's TLS, inside a CONNECT that was granted.
async fn inside(cordon: &Cordon, stream: TlsStream<TcpStream>) -> TlsStream<TlsStream<TcpStream>> {
    let name = ServerName::try_from("api.openai.com").expect("a name");
    TlsConnector::from(trusting(&cordon.ca_pem(), &["http/1.1"]))
        .connect(name, stream)
        .await
        .expect("TLS is taken up inside TLS")
}

async fn refused_certificates(home: &Home, count: usize) {
    let is = |row: &&Value| row["opening"]["body"]["code"] == "certificate_refused";
    let rows = home
        .searched_until(&["--outcome", "refused"], |rows| {
            rows.iter().filter(is).count() >= count
        })
        .await;
    assert_eq!(rows.iter().filter(is).count(), count, "{rows:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_a_key_at_the_proxy_and_at_the_gateway() {
    let scene = Scene::new(&[]).await;
    let key = scene.home.key("bob", "guests");
    let cordon = scene.home.serve().await;
    let ann = Issued::of(
        employee("ann@corp.example", "design", 0x0a11),
        Some(&scene.company),
    );

    let mut stream = shake(&cordon, Door::Proxy, Some(&ann)).await;
    let head = ask(&mut stream, "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let reply = chat(inside(&cordon, stream).await, "api.openai.com").await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    let record = scene.home.record(reply.exchange()).await;
    let actor = &record["opening"]["body"]["actor"];
    let reference = scene.home.reference("ann@corp.example");
    assert_eq!(actor["user"], reference, "{record:#}");
    assert_eq!(actor["groups"], json!(["design", "staff"]), "{record:#}");
    let serial = actor["identity"]["certificate"]["serial"]
        .as_str()
        .unwrap_or_default();
    assert!(serial.starts_with("p-") && !serial.contains("0a11"), "{record:#}");
    assert_eq!(scene.cloud.seen().len(), 1);
    assert!(!scene.cloud.knows(EMAIL));

    let address = cordon.gateway().to_string();
    let reply = chat(shake(&cordon, Door::Gateway, Some(&ann)).await, &address).await;
    let record = scene.home.record(reply.exchange()).await;
    assert_eq!(
        record["opening"]["body"]["actor"]["user"], reference,
        "{record:#}"
    );

    // Nobody must show one: a key does as well, and neither does not.
    let mut stream = shake(&cordon, Door::Proxy, None).await;
    assert!(ask(&mut stream, "").await.starts_with("HTTP/1.1 407"));
    let mut stream = shake(&cordon, Door::Proxy, None).await;
    let login = format!("Proxy-Authorization: Bearer {key}\r\n");
    assert!(ask(&mut stream, &login).await.starts_with("HTTP/1.1 200"));
    let reply = chat(inside(&cordon, stream).await, "api.openai.com").await;
    let record = scene.home.record(reply.exchange()).await;
    assert_eq!(
        record["opening"]["body"]["actor"]["user"],
        scene.home.reference("bob")
    );

    // One of another authority's is refused, on record.
    let stranger = Issued::of(authority("Nobody's company"), None);
    let eve = Issued::of(employee("eve@corp.example", "design", 1), Some(&stranger));
    let mut stream = shake(&cordon, Door::Proxy, Some(&eve)).await;
    assert_eq!(ask(&mut stream, "").await, "");
    refused_certificates(&scene.home, 1).await;
    assert_eq!(cordon.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_comes_in_by_tls_and_a_certificate() {
    let scene = Scene::new(&[]).await;
    let cordon = scene.home.serve().await;
    let ann = Issued::of(employee("ann@corp.example", "design", 7), Some(&scene.company));
    scene.home.write("ann.pem", &ann.pem);
    fs::write(scene.home.path().join("ann.der"), ann.key().secret_der()).expect("the folder is ours");
    let ca = cordon.ca().display().to_string();
    let output = Command::new("curl")
        .current_dir(scene.home.path())
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", ""])
        .args([
            "--proxy",
            &format!("https://localhost:{}", cordon.proxy_tls().port()),
        ])
        .args(["--proxy-cacert", &ca, "--proxy-cert", "ann.pem"])
        .args(["--proxy-key", "ann.der", "--proxy-key-type", "DER"])
        .args(["--cacert", &ca, "--header", "content-type: application/json"])
        .args(["--data", &Talk::Chat.request(EMAIL, false).to_string()])
        .arg("https://api.openai.com/v1/chat/completions")
        .output()
        .await
        .expect("curl is installed (scripts/test-packages)");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("fine"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rows = scene
        .home
        .searched_until(&["--user", "ann@corp.example"], |rows| !rows.is_empty())
        .await;
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert!(!scene.cloud.knows(EMAIL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_opens_nothing_and_what_it_opened_is_cut() {
    let scene = Scene::new(&[12]).await;
    let cordon = scene.home.serve().await;
    let ann = Issued::of(employee("ann@corp.example", "design", 11), Some(&scene.company));
    let bob = Issued::of(employee("bob@corp.example", "design", 12), Some(&scene.company));
    let cat = Issued::of(employee("cat@corp.example", "design", 13), Some(&scene.company));
    let mut stream = shake(&cordon, Door::Proxy, Some(&bob)).await;
    assert_eq!(ask(&mut stream, "").await, "");
    refused_certificates(&scene.home, 1).await;

    // Two connections each, to the proxy with an intercepted one inside, and to the gateway.
    let mut open = Vec::new();
    for own in [&ann, &cat] {
        let mut stream = shake(&cordon, Door::Proxy, Some(own)).await;
        assert!(ask(&mut stream, "").await.starts_with("HTTP/1.1 200"));
        open.push((
            inside(&cordon, stream).await,
            shake(&cordon, Door::Gateway, Some(own)).await,
        ));
    }
    scene.revoke(&[12, 11]);
    cordon
        .admin_until("/metrics", |page| {
            page.text().contains("cordon_reloads_total{outcome=\"done\"} 1\n")
        })
        .await;
    let (mut at_proxy, mut at_gateway) = open.remove(0);
    for stream in [
        &mut at_proxy as &mut (dyn AsyncRead + Unpin + Send),
        &mut at_gateway,
    ] {
        let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_u8()).await;
        assert!(ended.expect("the connection is cut").is_err());
    }
    let mut stream = shake(&cordon, Door::Proxy, Some(&ann)).await;
    assert_eq!(ask(&mut stream, "").await, "");
    refused_certificates(&scene.home, 2).await;
    // Others' connections go on.
    let (at_proxy, at_gateway) = open.remove(0);
    assert_eq!(chat(at_proxy, "api.openai.com").await.status.as_u16(), 200);
    let address = cordon.gateway().to_string();
    let record = scene
        .home
        .record(chat(at_gateway, &address).await.exchange())
        .await;
    assert_eq!(
        record["opening"]["body"]["actor"]["user"],
        scene.home.reference("cat@corp.example"),
        "{record:#}"
    );

    // The change is on record, with what was in force before it; so is one that is refused.
    scene.home.write("crls/company.pem", "no list\n");
    cordon
        .admin_until("/metrics", |page| {
            page.text()
                .contains("cordon_reloads_total{outcome=\"refused\"} 1\n")
        })
        .await;
    let events = scene.events(|events| events.len() >= 3).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let body = &event["body"];
            (&body["kind"], &body["part"], &body["accepted"])
        })
        .collect();
    let (trust, part) = (json!("trust_reloaded"), json!("verification"));
    assert_eq!(
        told,
        [
            (&trust, &part, &json!(false)),
            (&trust, &part, &json!(true)),
            (&json!("started"), &Value::Null, &Value::Null),
        ],
        "{events:#?}"
    );
    let hash = |event: &Value| event["body"]["trust"]["files_hash"].clone();
    assert!(hash(&events[0]).is_string(), "{events:#?}");
    assert_eq!(hash(&events[0]), hash(&events[1]), "the old ones stay in force");
    assert_ne!(hash(&events[1]), hash(&events[2]));
    assert_eq!(cordon.terminate().await, Some(0));
    scene.home.run(&["audit", "verify"]);
}

/// The certificate that the proxy over TLS shows.
async fn shown(cordon: &Cordon, roots: &str) -> CertificateDer<'static> {
    let stream = TcpStream::connect(cordon.proxy_tls())
        .await
        .expect("Cordon accepts");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(trusting(roots, &["http/1.1"]))
        .connect(name, stream)
        .await
        .expect("the company's own certificate verifies");
    let chain = stream.get_ref().1.peer_certificates().expect("it was shown");
    chain[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_for_callers_and_a_renewed_certificate_are_taken_up() {
    let scene = Scene::new(&[]).await;
    let other = Issued::of(authority("Tests' next company"), None);
    let ann = Issued::of(employee("ann@corp.example", "design", 11), Some(&scene.company));
    let eve = Issued::of(employee("eve@corp.example", "design", 12), Some(&other));
    let own = || Issued::of(leaf("localhost"), Some(&scene.company));
    let show = |own: &Issued| {
        scene.home.write("own.pem", &own.pem);
        let key = rcgen::KeyPair::try_from(own.key().secret_der()).expect("a key");
        scene.home.write("own.key", &key.serialize_pem());
    };
    let (first, second) = (own(), own());
    show(&first);
    let file = scene.home.path().join("cordon.yaml");
    let config = fs::read_to_string(file).expect("the configuration is there");
    let certificate = "gateway: { certificate: own.pem, key: own.key }\n";
    scene.home.write("cordon.yaml", &format!("{config}{certificate}"));
    let cordon = scene.home.serve().await;
    assert_eq!(shown(&cordon, &scene.company.pem).await, first.der);
    let trusts = |roots: &str| Shaking {
        roots: roots.to_owned(),
        address: cordon.proxy_tls(),
    };
    let at = trusts(&scene.company.pem);
    let mut open = at.shake(Some(&ann)).await;
    assert!(ask(&mut open, "").await.starts_with("HTTP/1.1 200"));
    assert_eq!(ask(&mut at.shake(Some(&eve)).await, "").await, "");

    show(&second);
    scene.home.write("company.pem", &other.pem);
    cordon
        .admin_until("/metrics", |page| {
            page.text().contains("cordon_reloads_total{outcome=\"done\"} ")
        })
        .await;
    assert_eq!(shown(&cordon, &scene.company.pem).await, second.der);
    let ended = tokio::time::timeout(Duration::from_secs(30), open.read_u8()).await;
    assert!(ended.expect("the connection is cut").is_err());
    assert_eq!(ask(&mut at.shake(Some(&ann)).await, "").await, "");
    let head = ask(&mut at.shake(Some(&eve)).await, "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    // What is no CA is told before a start, and changes nothing in what runs.
    scene.home.write("company.pem", "no certificate\n");
    let checked = scene.home.try_run(&["check"]);
    let told =
        String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.code() == Some(1) && told.contains("identity.client_ca"),
        "{told}"
    );
    cordon
        .admin_until("/metrics", |page| {
            page.text().contains("cordon_reloads_total{outcome=\"refused\"} ")
        })
        .await;
    let head = ask(&mut at.shake(Some(&eve)).await, "").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pac_file_sends_listed_hosts_to_the_proxy_and_others_past_it() {
    let scene = Scene::new(&[]).await;
    let cordon = scene.home.serve().await;
    let caller = Caller::without_key(&cordon, Door::Proxy);
    // Those who need it cannot log in yet.
    let mut line = caller
        .line("cordon.internal", false)
        .await
        .expect("the pages are there for everybody");
    for (path, way) in [
        ("/proxy.pac", format!("PROXY {}", cordon.proxy())),
        (
            "/proxy-tls.pac",
            format!("HTTPS localhost:{}", cordon.proxy_tls().port()),
        ),
    ] {
        let page = line.send("GET", path, &[]).await.expect("the page comes");
        assert_eq!(page.header("content-type"), "application/x-ns-proxy-autoconfig");
        if path == "/proxy.pac" {
            assert_eq!(cordon.admin_get(path).await.text(), page.text());
        }
        scene.home.write("proxy.pac", &page.text());
        let file = scene.home.path().join("proxy.pac").display().to_string();
        let hosts = [
            ("api.openai.com", way.as_str()),
            ("EU.API.OpenAI.com.", &way),
            ("cordon.internal", &way),
            ("status.api.openai.com", "DIRECT"),
            ("notapi.openai.com", "DIRECT"),
            ("intranet", "DIRECT"),
            ("10.1.2.3", "DIRECT"),
        ];
        let mut arguments = vec![file.as_str()];
        arguments.extend(hosts.iter().map(|(host, _)| *host));
        let ran = Program::node("pac.mjs", &arguments).run().await;
        let told: Vec<&str> = ran.stdout.lines().collect();
        let wanted: Vec<&str> = hosts.iter().map(|(_, way)| *way).collect();
        assert_eq!(told, wanted, "{}", ran.output());
    }
}
