//! Where the company's own proxy is the only way out: clouds and tunnels go through it, with its login, over TLS
//! where it speaks that; what it refuses is told and recorded as its refusal.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    replies::{Deltas, Talk, say},
    tls::TestAuthority,
    upstream::Upstream,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// A proxy that writes down what it was asked, and leads everybody to one place.
struct RecordingProxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl RecordingProxy {
    /// `status` is what it answers; with 200 bytes go to `place`.
    async fn start(place: SocketAddr, status: u16, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let kept = heads.clone();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (kept, tls) = (kept.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => lead(tcp, place, status, &kept).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                lead(stream, place, status, &kept).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, heads, task }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for RecordingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn lead<IO>(mut io: IO, place: SocketAddr, status: u16, kept: &Mutex<Vec<String>>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    kept.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(String::from_utf8_lossy(&head).into_owned());
    let answer = format!("HTTP/1.1 {status} Answer\r\nvia: the company\r\n\r\n");
    if io.write_all(answer.as_bytes()).await.is_err() || io.flush().await.is_err() || status != 200 {
        return;
    }
    if let Ok(mut on) = TcpStream::connect(place).await {
        let _ = copy_bidirectional(&mut io, &mut on).await;
    }
}

/// An installation whose way out is that proxy, and whose provider is known by name alone.
fn home(cloud: &Upstream, on_prem: &Upstream, url: &str, roots: &str, no_proxy: &str) -> Home {
    let home = Home::new(&Plan {
        policy: Some(POLICY_REQUESTED.to_owned()),
        tunnels: true,
        ..Plan::on(OnPrem::StandIn(on_prem))
    });
    home.write("roots.pem", &format!("{}{roots}", cloud.ca_pem()));
    home.write("proxy-url", &format!("{url}\n"));
    let config =
        fs::read_to_string(home.path().join("cordon.yaml")).expect("the installation has a configuration");
    let config = config.replace("intercept:\n", "intercept:\n  extra_roots: [roots.pem]\n");
    home.write(
        "cordon.yaml",
        &format!("{config}upstream_proxy: {{ url: '${{file:proxy-url}}', no_proxy: [{no_proxy}] }}\n"),
    );
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn clouds_and_tunnels_go_through_it_with_its_login() {
    let cloud = Upstream::behind_tls().await;
    cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
    let on_prem = Upstream::in_place_of_engine().await;
    let authority = TestAuthority::new();
    let acceptor = TlsAcceptor::from(authority.server(&["localhost"], false));
    for (scheme, tls) in [("http", None), ("https", Some(acceptor))] {
        let proxy = RecordingProxy::start(cloud.address(), 200, tls).await;
        let url = format!("{scheme}://cordon:pass%2Fword@localhost:{}", proxy.address.port());
        let home = home(
            &cloud,
            &on_prem,
            &url,
            authority.pem(),
            "'127.0.0.1', .inside.example",
        );
        assert!(home.run(&["check"]).stdout.ends_with(b"ok\n"));
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        let caller = Caller::new(&cordon, Door::Proxy, &key);
        let reply = caller
            .post(Talk::Chat, &Talk::Chat.request("hello", false))
            .await
            .expect("Cordon answers");
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
        let login = STANDARD.encode("cordon:pass/word");
        assert_eq!(
            proxy.heads(),
            [format!(
                "CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\nProxy-Authorization: Basic {login}\r\n\r\n"
            )]
        );

        // A tunnel: the caller's own TLS, end to end, through both proxies.
        let mut tunnel = TcpStream::connect(cordon.proxy()).await.expect("Cordon accepts");
        let answer = caller
            .ask_connect(&mut tunnel, "elsewhere.example:443")
            .await
            .expect("Cordon answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(proxy.heads()[1].starts_with("CONNECT elsewhere.example:443 HTTP/1.1\r\n"));
        assert!(proxy.heads()[1].contains(&login));
        drop(tunnel);

        // What is spared goes straight.
        let mut straight = TcpStream::connect(cordon.proxy()).await.expect("Cordon accepts");
        let target = format!("127.0.0.1:{}", cloud.address().port());
        let answer = caller
            .ask_connect(&mut straight, &target)
            .await
            .expect("Cordon answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(proxy.heads().len(), 2);
        assert!(!home.log().contains("pass/word") && !home.log().contains(&login));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_refuses_and_who_it_is_not_is_told_and_recorded() {
    let cloud = Upstream::behind_tls().await;
    let on_prem = Upstream::in_place_of_engine().await;
    let refusing = RecordingProxy::start(cloud.address(), 407, None).await;
    // Its certificate is another authority's than those that are trusted.
    let stranger = TestAuthority::new();
    let acceptor = TlsAcceptor::from(stranger.server(&["localhost"], false));
    let unknown = RecordingProxy::start(cloud.address(), 200, Some(acceptor)).await;
    for url in [
        format!("http://localhost:{}", refusing.address.port()),
        format!("https://localhost:{}", unknown.address.port()),
    ] {
        let home = home(&cloud, &on_prem, &url, "", "");
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        let caller = Caller::new(&cordon, Door::Proxy, &key);
        let reply = caller
            .post(Talk::Chat, &Talk::Chat.request("hello", false))
            .await
            .expect("Cordon answers");
        assert_eq!(reply.status.as_u16(), 502);
        assert_eq!(
            reply.json()["error"]["code"],
            "cordon_upstream_proxy",
            "{}",
            reply.text()
        );
        let record = home.record(reply.exchange()).await;
        assert_eq!(record["closing"]["body"]["code"], "cordon_upstream_proxy");
        let mut tunnel = TcpStream::connect(cordon.proxy()).await.expect("Cordon accepts");
        let answer = caller
            .ask_connect(&mut tunnel, "elsewhere.example:443")
            .await
            .expect("Cordon answers");
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    assert!(
        unknown.heads().is_empty(),
        "a login went to a proxy that is not the company's"
    );
    assert!(cloud.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_certificate_is_judged_by_the_roots_of_the_moment() {
    let cloud = Upstream::behind_tls().await;
    cloud.answer(|seen| say(seen, "fine", Deltas::Whole));
    let on_prem = Upstream::in_place_of_engine().await;
    let authority = TestAuthority::new();
    let acceptor = TlsAcceptor::from(authority.server(&["localhost"], false));
    let proxy = RecordingProxy::start(cloud.address(), 200, Some(acceptor)).await;
    let url = format!("https://localhost:{}", proxy.address.port());
    let home = home(&cloud, &on_prem, &url, authority.pem(), "");
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let hello = Talk::Chat.request("hello", false);
    let reply = caller.post(Talk::Chat, &hello).await.expect("Cordon answers");
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());

    // The company trusts that authority no longer: neither requests nor tunnels go on through it.
    home.write("roots.pem", cloud.ca_pem());
    cordon
        .admin_until("/metrics", |page| {
            page.text().contains("cordon_reloads_total{outcome=\"done\"} 1\n")
        })
        .await;
    let reply = caller.post(Talk::Chat, &hello).await.expect("Cordon answers");
    assert_eq!(reply.status.as_u16(), 502, "{}", reply.text());
    assert_eq!(reply.json()["error"]["code"], "cordon_upstream_proxy");
    let mut tunnel = TcpStream::connect(cordon.proxy()).await.expect("Cordon accepts");
    let answer = caller
        .ask_connect(&mut tunnel, "elsewhere.example:443")
        .await
        .expect("Cordon answers");
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(proxy.heads().len(), 1);
}
