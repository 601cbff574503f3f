//! Fetching weights: from a Hugging Face hub (or a mirror named by `HF_ENDPOINT`), from any https
//! URL, or from a file. An interrupted download goes on where it stopped; the SHA-256 is checked
//! before the file gets its name.
//!
//! On failure: the part that came stays as `NAME.part`, unless its digest is wrong.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use cordon_intercept::Revocation;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use sha2::{Digest, Sha256};

use crate::{cli, config};

const MOST_REDIRECTS: usize = 5;
/// Time without a byte after which a download is given up, to be resumed by the next call.
const STALLED: Duration = Duration::from_secs(60);

/// Fetches `source` into `models` and returns the file's path.
pub fn pull(source: &str, sha256: Option<&str>, models: &Path) -> Result<PathBuf> {
    fs::create_dir_all(models).with_context(|| format!("cannot make {}", models.display()))?;
    if let Some(path) = source.strip_prefix("file:") {
        let path = Path::new(path);
        let name = path.file_name().context("the path names no file")?;
        let part = models.join(name).with_extension("gguf.part");
        fs::copy(path, &part).with_context(|| format!("cannot copy {}", path.display()))?;
        return finish(&part, &models.join(name), sha256);
    }
    let url = match source.strip_prefix("hf:") {
        Some(named) => hub_url(named, &config::hub_endpoint())?,
        None => source.to_owned(),
    };
    let uri: Uri = url
        .parse()
        .context("the source is neither hf:, file:, nor a URL")?;
    let name = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    ensure!(
        name.ends_with(".gguf") && !name.starts_with('.'),
        "the source must name a .gguf file"
    );
    let target = models.join(&name);
    let part = models.join(format!("{name}.part"));
    cli::runtime()?.block_on(download(uri, &part))?;
    finish(&part, &target, sha256)
}

/// `OWNER/REPO/FILE[@REVISION]` as a URL of the hub.
fn hub_url(named: &str, endpoint: &str) -> Result<String> {
    let (path, revision) = named.rsplit_once('@').unwrap_or((named, "main"));
    let mut parts = path.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(owner), Some(repo), Some(file)) if ![owner, repo, file, revision].contains(&"") => Ok(format!(
            "{}/{owner}/{repo}/resolve/{revision}/{file}",
            endpoint.trim_end_matches('/')
        )),
        _ => bail!("write hf:OWNER/REPO/FILE.gguf or hf:OWNER/REPO/FILE.gguf@REVISION"),
    }
}

/// Whether a URL may be read: https, or plain http on this very machine (a mirror under test).
fn permitted(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        _ => false,
    }
}

async fn download(mut uri: Uri, part: &Path) -> Result<()> {
    let mut tls = cordon_intercept::upstream_tls(&[], &Revocation::default())
        .context("the system's CA certificates cannot be read")?;
    // The connector offers its protocols by itself, and insists on doing so.
    tls.alpn_protocols.clear();
    let mut dial = HttpConnector::new();
    dial.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(dial);
    let getter: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);

    for _ in 0..=MOST_REDIRECTS {
        ensure!(permitted(&uri), "only https addresses are fetched from");
        let have = fs::metadata(part)
            .map(|metadata| metadata.len())
            .unwrap_or_default();
        let mut request = Request::get(&uri).header(header::USER_AGENT, "cordon");
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let response = getter
            .request(request.body(Empty::new())?)
            .await
            .context("the server cannot be reached")?;
        match response.status() {
            status if status.is_redirection() => {
                let location = response
                    .headers()
                    .get(header::LOCATION)
                    .context("a redirect without an address")?;
                uri = absolute(&uri, location.to_str().context("a redirect that is no URL")?)?;
            }
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(()),
            StatusCode::OK => return save(response.into_body(), part, 0).await,
            StatusCode::PARTIAL_CONTENT => return save(response.into_body(), part, have).await,
            status => bail!("the server answers {status}"),
        }
    }
    bail!("more than {MOST_REDIRECTS} redirects")
}

fn absolute(base: &Uri, location: &str) -> Result<Uri> {
    let text = if location.starts_with('/') {
        let authority = base.authority().context("a redirect without a host")?;
        format!("{}://{authority}{location}", base.scheme_str().unwrap_or("https"))
    } else {
        location.to_owned()
    };
    text.parse().context("a redirect that is no URL")
}

async fn save(mut body: hyper::body::Incoming, part: &Path, from: u64) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .append(from > 0)
        .truncate(from == 0)
        .open(part)
        .with_context(|| format!("cannot write {}", part.display()))?;
    let whole = hyper::body::Body::size_hint(&body)
        .exact()
        .map(|rest| from + rest);
    let (mut have, mut shown) = (from, Instant::now());
    while let Some(frame) = tokio::time::timeout(STALLED, body.frame())
        .await
        .context("the download stalled; run the same command again")?
    {
        let frame = frame.context("the download broke off; run the same command again")?;
        let Ok(bytes) = frame.into_data() else { continue };
        file.write_all(&bytes)
            .with_context(|| format!("cannot write {}", part.display()))?;
        have += bytes.len() as u64;
        if shown.elapsed() > Duration::from_secs(1) {
            shown = Instant::now();
            let of = whole.map_or(String::new(), |whole| format!(" of {} MB", whole / 1_000_000));
            cli::complain(&format!("{} MB{of}", have / 1_000_000));
        }
    }
    file.sync_all()?;
    if let Some(whole) = whole {
        ensure!(
            have == whole,
            "the download ended early; run the same command again"
        );
    }
    Ok(())
}

fn finish(part: &Path, target: &Path, sha256: Option<&str>) -> Result<PathBuf> {
    if let Some(expected) = sha256 {
        let found = digest(part)?;
        if !found.eq_ignore_ascii_case(expected) {
            fs::remove_file(part)?;
            bail!("the file's SHA-256 is {found}, not the one given; it was not kept");
        }
    }
    fs::rename(part, target)?;
    Ok(target.to_owned())
}

fn digest(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Mutex};

    use http::Response;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::*;

    #[test]
    fn hub_names_become_urls() {
        let hub = "https://hub.example";
        assert_eq!(
            hub_url("a/b/c.gguf", hub).unwrap(),
            "https://hub.example/a/b/resolve/main/c.gguf"
        );
        assert_eq!(
            hub_url("a/b/q/c.gguf@v1", hub).unwrap(),
            "https://hub.example/a/b/resolve/v1/q/c.gguf"
        );
        assert!(hub_url("a/b", hub).is_err());
    }

    #[test]
    fn only_https_and_loopback_are_read() {
        for (url, yes) in [
            ("https://hub.example/x", true),
            ("http://127.0.0.1:1/x", true),
            ("http://hub.example/x", false),
            ("ftp://hub.example/x", false),
        ] {
            assert_eq!(permitted(&url.parse().unwrap()), yes, "{url}");
        }
    }

    #[test]
    fn a_wrong_digest_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("w.gguf");
        fs::write(&source, b"GGUF").unwrap();
        let models = dir.path().join("models");
        let named = format!("file:{}", source.display());
        assert!(pull(&named, Some(&"0".repeat(64)), &models).is_err());
        assert_eq!(fs::read_dir(&models).unwrap().count(), 0);
        let right = digest(&source).unwrap();
        assert_eq!(
            pull(&named, Some(&right), &models).unwrap(),
            models.join("w.gguf")
        );
    }

    /// A mirror that redirects once, and serves ranges of eight bytes.
    #[tokio::test]
    async fn a_broken_download_goes_on_where_it_stopped() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ranges = std::sync::Arc::new(Mutex::new(Vec::new()));
        let seen = ranges.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let seen = seen.clone();
                    async move {
                        let range = request
                            .headers()
                            .get(header::RANGE)
                            .map(|range| range.to_str().unwrap().to_owned());
                        let response = if request.uri().path() == "/a.gguf" {
                            Response::builder()
                                .status(302)
                                .header("location", "/b.gguf")
                                .body(Full::default())
                        } else {
                            seen.lock().unwrap().push(range.clone());
                            let from = range.map_or(0, |range| {
                                range
                                    .trim_start_matches("bytes=")
                                    .trim_end_matches('-')
                                    .parse::<usize>()
                                    .unwrap()
                            });
                            let status = if from > 0 { 206 } else { 200 };
                            Response::builder()
                                .status(status)
                                .body(Full::new(Bytes::from_static(&b"GGUF1234"[from..])))
                        };
                        Ok::<_, Infallible>(response.unwrap())
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("b.gguf.part");
        fs::write(&part, b"GGU").unwrap();
        download(format!("http://{address}/a.gguf").parse().unwrap(), &part)
            .await
            .unwrap();
        assert_eq!(fs::read(&part).unwrap(), b"GGUF1234");
        assert_eq!(*ranges.lock().unwrap(), [Some("bytes=3-".to_owned())]);
    }
}
