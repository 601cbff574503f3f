//! `cordon doctor`: tries this machine's settings against a running gateway and says what is wrong.
//!
//! It does what a program of an employee does: reads the proxy and CA variables, resolves nothing by
//! itself, goes through the proxy by CONNECT, shakes hands over TLS with what the variables trust, and
//! asks for the list of models, which holds no text. Then each program that is installed is tried
//! (`doctor/programs.rs`).

use std::{collections::BTreeMap, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

mod http3;

use super::{NO, Where, runtime, say};
use crate::{
    config::{self, Config},
    installation::Installation,
    running::Running,
};

mod programs;
use programs::Verdict;

const PATIENCE: Duration = Duration::from_secs(10);
/// A reply to CONNECT is short; more is not one.
const LONGEST_HEAD: usize = 16 << 10;

/// Arguments of `cordon doctor`.
#[derive(Args)]
pub struct Doctor {
    /// Only these checks: `settings` (of this shell), or programs by name.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = programs::KNOWN)]
    only: Vec<String>,
    #[command(flatten)]
    place: Where,
}

struct Report {
    wrong: u32,
}

impl Report {
    fn check<T>(&mut self, what: &str, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => {
                say(&format!("ok    {what}"));
                Some(value)
            }
            Err(error) => {
                self.wrong += 1;
                say(&format!("WRONG {what}: {error:#}"));
                None
            }
        }
    }
}

impl Doctor {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let config = self.place.load()?;
        let wanted = |name: &str| self.only.is_empty() || self.only.iter().any(|only| only == name);
        let wrong = runtime()?.block_on(examine(&config, wanted));
        if wrong == 0 {
            say("all is well");
            Ok(ExitCode::SUCCESS)
        } else {
            say(&format!(
                "{wrong} of the checks failed; `eval \"$(cordon env)\"` sets the variables of this shell"
            ));
            Ok(ExitCode::from(NO))
        }
    }
}

async fn examine(config: &Config, wanted: impl Fn(&str) -> bool) -> u32 {
    let mut report = Report { wrong: 0 };
    let installation = Installation::of(config);
    let running = Running::or_configured(config);
    let variables = config::proxy_environment();
    if wanted("settings") {
        settings(&mut report, config, &installation, &running, &variables).await;
    }
    let root = read_root(&installation).ok();
    if let Some(host) = config.intercept.hosts.first() {
        let course = programs::Course {
            host,
            root: &installation.root(),
            bundle: &installation.bundle(),
            proxy: &authority_of(&running.proxy),
            variables: &variables,
            holds: &|name| holds(&variables, name, root.as_deref()).is_ok(),
        };
        for (title, verdict) in programs::examine(&course, wanted).await {
            match verdict {
                Verdict::Fine => say(&format!("ok    {title}")),
                Verdict::Wrong { why, mend } => {
                    report.wrong += 1;
                    say(&format!("WRONG {title}: {why}\n      mend: {mend}"));
                }
            }
        }
    }
    report.wrong
}

/// The variables of this shell, and what a program that honours them all would get.
async fn settings(
    report: &mut Report,
    config: &Config,
    installation: &Installation,
    running: &Running,
    variables: &BTreeMap<String, String>,
) {
    report.check(
        &format!("the gateway is ready ({}/readyz)", running.admin),
        ready(&running.admin).await,
    );
    let root = report.check("our root certificate is there", read_root(installation));
    let proxy = report.check("HTTPS_PROXY names a proxy", proxy_of(variables));
    if let Some(proxy) = &proxy {
        report.check(
            "HTTPS_PROXY carries a login",
            if proxy.login.is_some() || config.identity.anonymous_loopback {
                Ok(())
            } else {
                Err(anyhow::anyhow!("write it as http://cordon:YOUR_KEY@HOST:PORT"))
            },
        );
        let expected = authority_of(&running.proxy);
        report.check(
            "HTTPS_PROXY leads to this Cordon",
            if proxy.address == expected {
                Ok(())
            } else {
                Err(anyhow::anyhow!(
                    "it leads to {}, and this Cordon's proxy is {expected}",
                    proxy.address
                ))
            },
        );
    }
    let trusted = report.check(
        "SSL_CERT_FILE holds system roots and our root",
        trusts(variables, root.as_deref()),
    );
    if variables.contains_key("NODE_EXTRA_CA_CERTS") {
        report.check(
            "NODE_EXTRA_CA_CERTS holds our root",
            holds(variables, "NODE_EXTRA_CA_CERTS", root.as_deref()),
        );
    }
    for host in config.intercept.hosts.iter().take(3) {
        report.check(
            &format!("{host} does not go round the proxy (NO_PROXY)"),
            not_bypassed(variables, host),
        );
    }
    if let Some(host) = config.intercept.hosts.first() {
        report.check(
            &format!("{host} gives no answer on UDP port 443, so HTTP/3 leads nobody past the proxy"),
            http3::check(host).await,
        );
    }
    if let (Some(proxy), Some(roots), Some(host)) = (&proxy, trusted, config.intercept.hosts.first()) {
        let what = format!("{host} is reached through the proxy, with a certificate that is trusted");
        report.check(&what, try_intercepted(proxy, roots, host).await);
    }
}

async fn ready(admin: &str) -> Result<()> {
    let stream = tokio::time::timeout(PATIENCE, TcpStream::connect(authority_of(admin)))
        .await
        .context("it does not answer")?
        .context("it cannot be reached; does `cordon up` or `cordon serve` run?")?;
    let (status, body) = get(TokioIo::new(stream), "/readyz", &authority_of(admin)).await?;
    ensure!(
        status == StatusCode::OK,
        "it is not: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(())
}

fn read_root(installation: &Installation) -> Result<Vec<u8>> {
    let path = installation.root();
    let pem = std::fs::read(&path).with_context(|| format!("there is no {}", path.display()))?;
    Ok(CertificateDer::from_pem_slice(&pem)
        .context("it is no certificate")?
        .to_vec())
}

struct Proxy {
    address: String,
    login: Option<String>,
}

fn proxy_of(variables: &BTreeMap<String, String>) -> Result<Proxy> {
    let url = variables
        .get("https_proxy")
        .or_else(|| variables.get("HTTPS_PROXY"))
        .context("it is not set")?;
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    ensure!(
        scheme == "http",
        "it must begin with http:// (the proxy speaks plain HTTP; what goes through it is TLS)"
    );
    let rest = rest.trim_end_matches('/');
    let (login, address) = match rest.rsplit_once('@') {
        Some((login, address)) => (Some(login.to_owned()), address),
        None => (None, rest),
    };
    ensure!(address.contains(':'), "it names no port");
    Ok(Proxy {
        address: address.replace("localhost", "127.0.0.1"),
        login,
    })
}

fn authority_of(url: &str) -> String {
    url.split_once("://")
        .map_or(url, |(_, rest)| rest)
        .trim_end_matches('/')
        .replace("localhost", "127.0.0.1")
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let pem = std::fs::read(path).with_context(|| format!("{path} cannot be read"))?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{path} is no PEM file"))
}

fn holds(
    variables: &BTreeMap<String, String>,
    name: &str,
    root: Option<&[u8]>,
) -> Result<Vec<CertificateDer<'static>>> {
    let path = variables.get(name).context("it is not set")?;
    let found = certificates(path)?;
    let root = root.context("our root is not known")?;
    ensure!(
        found.iter().any(|certificate| certificate.as_ref() == root),
        "{path} does not hold our root"
    );
    Ok(found)
}

fn trusts(variables: &BTreeMap<String, String>, root: Option<&[u8]>) -> Result<RootCertStore> {
    let found = holds(variables, "SSL_CERT_FILE", root)?;
    ensure!(
        found.len() > 1,
        "it holds our root alone, so every other site would fail; use the bundle"
    );
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    Ok(roots)
}

fn not_bypassed(variables: &BTreeMap<String, String>, host: &str) -> Result<()> {
    for name in ["NO_PROXY", "no_proxy"] {
        let Some(list) = variables.get(name) else { continue };
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let bare = entry.trim_start_matches("*.").trim_start_matches('.');
            if entry == "*" || config::host_within(host, bare) {
                bail!("{name} excludes it by `{entry}`");
            }
        }
    }
    Ok(())
}

async fn try_intercepted(proxy: &Proxy, roots: RootCertStore, host: &str) -> Result<()> {
    let mut stream = tokio::time::timeout(PATIENCE, TcpStream::connect(&proxy.address))
        .await
        .context("the proxy does not answer")?
        .context("the proxy cannot be reached")?;
    let login = proxy.login.as_deref().map_or_else(String::new, |login| {
        format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(login))
    });
    stream
        .write_all(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{login}\r\n").as_bytes())
        .await?;
    let head = tokio::time::timeout(PATIENCE, read_head(&mut stream))
        .await
        .context("the proxy does not answer CONNECT")??;
    match head.split(' ').nth(1) {
        Some("200") => {}
        Some("407") => bail!("the proxy does not know the login; make a key with `cordon key create`"),
        Some(status) => bail!("the proxy answers CONNECT with {status}"),
        None => bail!("what answers there is no proxy"),
    }
    let tls =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
        .context("the TLS handshake failed; is it our CA that is trusted?")?;
    let (status, _) = get(TokioIo::new(stream), "/v1/models", host).await?;
    ensure!(status.as_u16() != 421, "the names of this connection disagree");
    Ok(())
}

async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < LONGEST_HEAD, "what answers there is no proxy");
        head.push(
            stream
                .read_u8()
                .await
                .context("the proxy closed the connection")?,
        );
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn get<S>(stream: S, path: &str, host: &str) -> Result<(StatusCode, Bytes)>
where
    S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
{
    let asked = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        let uri: Uri = path.parse()?;
        let request = Request::get(uri)
            .header("host", host)
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok::<_, anyhow::Error>((status, response.into_body().collect().await?.to_bytes()))
    };
    tokio::time::timeout(PATIENCE, asked)
        .await
        .context("there is no answer")?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn proxies_are_read_as_programs_read_them() {
        let proxy = proxy_of(&set("HTTPS_PROXY", "http://cordon:k@localhost:8888/")).unwrap();
        assert_eq!(
            (proxy.address.as_str(), proxy.login.as_deref()),
            ("127.0.0.1:8888", Some("cordon:k"))
        );
        assert!(proxy_of(&set("HTTPS_PROXY", "https://h:1")).is_err());
        assert!(proxy_of(&set("HTTPS_PROXY", "http://h")).is_err());
        assert!(proxy_of(&BTreeMap::new()).is_err());
    }

    #[test]
    fn exclusions_are_found() {
        let excluded = |list: &str| not_bypassed(&set("NO_PROXY", list), "api.openai.com").is_err();
        assert!(excluded("*") && excluded("localhost, .openai.com") && excluded("api.openai.com"));
        assert!(!excluded("localhost,127.0.0.1,notopenai.com"));
    }
}
