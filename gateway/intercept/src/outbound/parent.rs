//! The company's own proxy between us and the internet: every connection is a CONNECT through it.
//!
//! It may ask for a login (Basic) and may speak TLS, in which case its certificate is verified like
//! any other. Its answer is read to the end of its head and no further than 16 KiB.
//!
//! On failure: a [`DialError`] that says that it is the company's proxy which failed, with its status.

use std::{fmt, net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use http::Uri;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{DialError, Stream, Way};
use crate::{
    names::{is_within, normal_host},
    reach::Network,
    watched::Prefixed,
};

/// A longer answer to a CONNECT is none.
const MAX_HEAD: usize = 16 * 1024;

/// A proxy that connections to the outside go through.
pub struct ParentProxy {
    host: String,
    port: u16,
    tls: Option<(ArcSwap<ClientConfig>, ServerName<'static>)>,
    /// The value of `Proxy-Authorization`.
    login: Option<Zeroizing<String>>,
    spared: Vec<Spared>,
}

/// What is reached without the proxy.
#[derive(Debug)]
enum Spared {
    Everything,
    /// A host and its subdomains.
    Host(String),
    Network(Network),
}

/// The proxy's settings are wrong. Its URL may hold a password, so none of it is quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParent {
    /// The URL.
    #[error("the URL must be http://[USER:PASSWORD@]HOST:PORT or https://..., with nothing behind it")]
    Url,
    /// An entry of those that are reached without it.
    #[error("`{0}` in `no_proxy` is no host, domain, address or network")]
    Spared(String),
}

impl ParentProxy {
    /// A proxy at `url`, with `user:password@` where it asks for a login. `no_proxy` names hosts (with their
    /// subdomains, with or without a dot or star in front), addresses and networks that are reached without it;
    /// `tls` is used where the URL says https.
    ///
    /// # Errors
    /// When the URL or an entry is none.
    pub fn new(url: &str, no_proxy: &[String], tls: &ClientConfig) -> Result<Self, InvalidParent> {
        let uri: Uri = url.parse().map_err(|_| InvalidParent::Url)?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(InvalidParent::Url),
        };
        let authority = uri.authority().ok_or(InvalidParent::Url)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(InvalidParent::Url);
        }
        let host = normal_host(authority.host()).ok_or(InvalidParent::Url)?;
        let login = match authority.as_str().rsplit_once('@') {
            None => None,
            Some((user, _)) => Some(basic(user).ok_or(InvalidParent::Url)?),
        };
        let tls = secure
            .then(|| {
                ServerName::try_from(host.clone())
                    .map(|name| (ArcSwap::from_pointee(of_http1(tls)), name))
                    .map_err(|_| InvalidParent::Url)
            })
            .transpose()?;
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            host,
            tls,
            login,
            spared: no_proxy
                .iter()
                .map(|entry| spared(entry))
                .collect::<Result<_, _>>()?,
        })
    }

    /// From now on its certificate is verified by this.
    pub(super) fn trust(&self, tls: &ClientConfig) {
        if let Some((trusted, _)) = &self.tls {
            trusted.store(Arc::new(of_http1(tls)));
        }
    }

    /// Whether that host is reached without it.
    pub(super) fn spares(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        self.spared.iter().any(|spared| match (spared, address) {
            (Spared::Everything, _) => true,
            (Spared::Host(name), None) => is_within(&host.to_ascii_lowercase(), name),
            (Spared::Network(network), Some(address)) => network.contains(address),
            _ => false,
        })
    }

    /// A connection through it.
    pub(super) async fn connect(&self, host: &str, port: u16) -> Result<Stream, DialError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|_| DialError::ParentUnreachable)?;
        // Without it small events wait for each other; a failure costs only that.
        let _ = tcp.set_nodelay(true);
        let Some((tls, name)) = &self.tls else {
            return Ok(Stream(Way::Proxied(self.ask(tcp, host, port).await?)));
        };
        let connector = TlsConnector::from(tls.load_full());
        let tls = connector.connect(name.clone(), tcp).await.map_err(|error| {
            tracing::warn!(%error, "the TLS handshake with the company's own proxy failed");
            DialError::ParentUnreachable
        })?;
        Ok(Stream(Way::ProxiedTls(Box::new(
            self.ask(tls, host, port).await?,
        ))))
    }

    /// Asks for a way to the host, and reads the answer's head.
    async fn ask<IO>(&self, mut io: IO, host: &str, port: u16) -> Result<Prefixed<IO>, DialError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        // What does not belong into a request line would be somebody's second request.
        let host = normal_host(host).ok_or(DialError::Unresolved)?;
        let target = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
        if let Some(login) = &self.login {
            request.push_str("Proxy-Authorization: ");
            request.push_str(login);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let broken = |_| DialError::ParentUnreachable;
        io.write_all(request.as_bytes()).await.map_err(broken)?;
        io.flush().await.map_err(broken)?;
        let mut read = BytesMut::with_capacity(1024);
        let end = loop {
            if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            if read.len() >= MAX_HEAD || io.read_buf(&mut read).await.map_err(broken)? == 0 {
                return Err(DialError::ParentUnreachable);
            }
        };
        match status(&read).ok_or(DialError::ParentUnreachable)? {
            200..=299 => Ok(Prefixed::new(read.split_off(end).freeze(), io)),
            other => Err(DialError::ParentRefused(other)),
        }
    }
}

impl fmt::Debug for ParentProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentProxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls.is_some())
            .field("login", &self.login.is_some())
            .finish_non_exhaustive()
    }
}

fn of_http1(tls: &ClientConfig) -> ClientConfig {
    let mut config = tls.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// The status of `HTTP/1.x NNN ...`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|&byte| byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let digits = words.next().filter(|digits| digits.len() == 3)?;
    digits.parse().ok()
}

/// `Basic ...` of `user:password` as a URL writes them.
fn basic(user: &str) -> Option<Zeroizing<String>> {
    let plain = Zeroizing::new(unescaped(user)?);
    let plain = match plain.contains(&b':') {
        true => plain,
        false => Zeroizing::new([plain.as_slice(), b":"].concat()),
    };
    Some(Zeroizing::new(format!(
        "Basic {}",
        STANDARD.encode(plain.as_slice())
    )))
}

fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    Some(bytes)
}

fn spared(entry: &str) -> Result<Spared, InvalidParent> {
    let plain = entry.trim();
    if plain == "*" {
        return Ok(Spared::Everything);
    }
    if let Ok(network) = plain.parse() {
        return Ok(Spared::Network(network));
    }
    let name = plain.trim_start_matches('*').trim_start_matches('.');
    normal_host(name)
        .map(Spared::Host)
        .ok_or_else(|| InvalidParent::Spared(entry.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rustls::RootCertStore;
    use tokio::net::TcpListener;

    use super::{super::Outbound, *};

    fn tls() -> ClientConfig {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth()
    }

    fn parent(url: &str, spared: &[&str]) -> Result<ParentProxy, InvalidParent> {
        let spared: Vec<String> = spared.iter().map(|&entry| entry.to_owned()).collect();
        ParentProxy::new(url, &spared, &tls())
    }

    /// A proxy of one connection: what it was told, and its answer given.
    async fn told(answer: &'static [u8], url: &str, host: &str) -> (String, Result<Vec<u8>, DialError>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url.replace("PORT", &listener.local_addr().unwrap().port().to_string());
        let proxy = tokio::spawn(async move {
            let (mut io, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                assert_ne!(io.read_buf(&mut heard).await.unwrap(), 0);
            }
            io.write_all(answer).await.unwrap();
            String::from_utf8(heard).unwrap()
        });
        let outbound = Outbound::through(Some(parent(&url, &[]).unwrap()));
        let dialled = outbound.dial(host, 443, Duration::from_secs(5), |_| true).await;
        let after = match dialled {
            Ok(mut stream) => {
                let mut after = Vec::new();
                stream.read_to_end(&mut after).await.unwrap();
                Ok(after)
            }
            Err(error) => Err(error),
        };
        (proxy.await.unwrap(), after)
    }

    #[tokio::test]
    async fn a_connect_goes_out_with_the_login_and_what_follows_the_head_is_kept() {
        let (heard, after) = told(
            b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nhello",
            "http://us%3Aer:p%40ss@127.0.0.1:PORT",
            "api.openai.com",
        )
        .await;
        assert_eq!(after.unwrap(), b"hello");
        let login = STANDARD.encode("us:er:p@ss");
        assert_eq!(
            heard,
            format!(
                "CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\nProxy-Authorization: Basic {login}\r\n\r\n"
            )
        );
        let (heard, _) = told(
            b"HTTP/1.0 200\r\n\r\n",
            "http://127.0.0.1:PORT/",
            "2606:4700::1111",
        )
        .await;
        assert!(heard.starts_with("CONNECT [2606:4700::1111]:443 ") && !heard.contains("Proxy-"));
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_status_and_anything_else_is_no_proxy() {
        for (answer, error) in [
            (&b"HTTP/1.1 407 Login\r\n\r\n"[..], DialError::ParentRefused(407)),
            (b"HTTP/1.1 503 Busy\r\n\r\n", DialError::ParentRefused(503)),
            (b"HTTP/2 200\r\n\r\n", DialError::ParentUnreachable),
            (b"SSH-2.0\r\n\r\n", DialError::ParentUnreachable),
            (b"HTTP/1.1 200", DialError::ParentUnreachable),
        ] {
            let (_, after) = told(answer, "http://127.0.0.1:PORT", "a.example").await;
            assert_eq!(after.unwrap_err(), error);
        }
    }

    #[tokio::test]
    async fn addresses_inside_are_judged_before_the_proxy_is_asked() {
        let outbound = Outbound::through(Some(parent("http://127.0.0.1:1", &[]).unwrap()));
        for host in ["127.0.0.1", "localhost", "x.LOCALHOST", "169.254.169.254"] {
            let dialled = outbound
                .dial(host, 80, Duration::from_secs(5), |address| {
                    !crate::is_reserved(address)
                })
                .await;
            assert_eq!(dialled.err(), Some(DialError::Reserved), "{host}");
        }
    }

    #[test]
    fn what_is_spared_and_what_is_no_setting() {
        let proxy = parent(
            "https://proxy.corp:3128",
            &["corp.example", ".inside", "*.lab.example", "10.0.0.0/8", "::1"],
        )
        .unwrap();
        for host in [
            "corp.example",
            "A.Corp.Example",
            "x.inside",
            "y.lab.example",
            "10.1.1.1",
            "::1",
        ] {
            assert!(proxy.spares(host), "{host}");
        }
        for host in ["notcorp.example", "api.openai.com", "11.0.0.1"] {
            assert!(!proxy.spares(host), "{host}");
        }
        assert!(parent("http://p:1", &["*"]).unwrap().spares("api.openai.com"));
        for bad in [
            "",
            "proxy:3128",
            "socks5://p:1",
            "http://p:1/path",
            "http://p:1/?q",
            "http://a%2@p:1",
        ] {
            assert_eq!(parent(bad, &[]).unwrap_err(), InvalidParent::Url, "{bad}");
        }
        assert!(matches!(
            parent("http://p:1", &["a b"]),
            Err(InvalidParent::Spared(_))
        ));
        assert!(!format!("{:?}", parent("http://u:secret@p:1", &[]).unwrap()).contains("secret"));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(head in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = status(&head);
        }

        #[test]
        fn percent_signs_are_undone(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(unescaped(&escaped).unwrap(), bytes);
        }
    }
}
