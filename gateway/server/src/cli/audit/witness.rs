//! `cordon audit witness`: a small process that the customer runs elsewhere. It cosigns a log's checkpoints while each continues the one before,
//! by the HTTP of <https://c2sp.org/tlog-witness>. It needs no database and no configuration of Cordon's.
//!
//! Limits: [`CONNECTIONS`] at once, [`TIME`] for a handshake, a head, and a request. Beyond loopback it speaks TLS alone.
//!
//! On failure: a refusal by its status; a request that tells of a forked log is written to standard error, whole, as it is
//! the evidence. Exit 2 when it cannot start.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use cordon_audit::{
    note::{Algorithm, SigningKey},
    witness::{MAX_REQUEST_BYTES, Refusal, Witness},
};
use cordon_domain::{Clock, SystemClock};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    super::{complain, say},
    proof::key,
};

const CONNECTIONS: usize = 128;
const TIME: Duration = Duration::from_secs(10);
/// How long requests under way get when it is stopped.
const DRAIN: Duration = Duration::from_secs(5);

/// Arguments of `cordon audit witness`.
#[derive(Args)]
pub(super) struct Run {
    /// Address to listen on; port 0 takes a free one. Any but a loopback address needs a certificate.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
    /// Folder of what it has cosigned, made when missing. It must not be set back to an older copy.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Key of a log to cosign for: `name+id+base64`, or a file that holds it; can be given more than once.
    #[arg(long = "log", value_name = "KEY|FILE", required = true)]
    logs: Vec<String>,
    /// File of the witness's own key, made when missing; `DIR/witness.key` when it is not given.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Name of the key, such as `witness.example/audit`; one that is made is named at random when it is not given.
    #[arg(long)]
    name: Option<String>,
    /// Certificate chain (PEM) to speak TLS with.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    certificate: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    tls_key: Option<PathBuf>,
    /// Print one JSON line when it listens.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let logs = self.logs.iter().map(|text| key(text)).collect::<Result<_>>()?;
        let tls = match (&self.certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
            _ if self.listen.ip().is_loopback() => None,
            _ => bail!(
                "beyond loopback it takes --certificate and --tls-key: {}",
                self.listen
            ),
        };
        std::fs::create_dir_all(&self.dir).with_context(|| format!("cannot use {}", self.dir.display()))?;
        let key_file = self.key.unwrap_or_else(|| self.dir.join("witness.key"));
        let key = match self.name {
            None if key_file.exists() => SigningKey::load(&key_file)?,
            name => {
                let name =
                    name.unwrap_or_else(|| format!("cordon-witness/{}", uuid::Uuid::now_v7().simple()));
                SigningKey::load_or_create(&key_file, &name, Algorithm::Cosignature)?
            }
        };
        let witness = Arc::new(Witness::open(&self.dir, key, logs)?);
        let listener = TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        if self.json {
            say(&json!({"witness": url, "key": witness.key().to_string()}).to_string());
        } else {
            say(&format!("witness {url} key {}", witness.key()));
        }
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        tokio::select! {
            () = accept(listener, tls, witness, &stop, &connections) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        connections.close();
        // Whoever is not done by then asks again: what was cosigned is on disk.
        let _ = timeout(DRAIN, connections.wait()).await;
        Ok(ExitCode::SUCCESS)
    }
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("the certificate {} does not read", certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("the private key {} does not read", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("certificate and private key do not go together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    witness: Arc<Witness>,
    stop: &CancellationToken,
    connections: &TaskTracker,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Most often there are too many open files, and that passes.
                complain(&format!("no connection is taken: {error}"));
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let (tls, witness, stop) = (tls.clone(), Arc::clone(&witness), stop.clone());
        connections.spawn(async move {
            converse(stream, tls, witness, stop).await;
            drop(place);
        });
    }
}

async fn converse(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    witness: Arc<Witness>,
    stop: CancellationToken,
) {
    // What fails here is a caller who left or spoke something else: nothing to tell anybody.
    match tls {
        None => drop(speak(stream, witness, stop).await),
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(TIME, tls.accept(stream)).await {
                drop(speak(stream, witness, stop).await);
            }
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    witness: Arc<Witness>,
    stop: CancellationToken,
) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let witness = Arc::clone(&witness);
        async move { Ok::<_, Infallible>(answer(request, witness).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(TIME)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn answer(request: Request<Incoming>, witness: Arc<Witness>) -> Response<Full<Bytes>> {
    if request.uri().path() != "/add-checkpoint" {
        return plain(StatusCode::NOT_FOUND, "there is /add-checkpoint alone\n");
    }
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "checkpoints are posted\n");
    }
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
    let body = match timeout(TIME, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => {
            return plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request is too large or was cut\n",
            );
        }
        Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
    };
    let at = u64::try_from(SystemClock.now().unix_timestamp()).unwrap_or_default();
    let asked = body.clone();
    // It waits for the disk, which other connections need not.
    let done = tokio::task::spawn_blocking(move || witness.add_checkpoint(&asked, at)).await;
    let refusal = match done {
        Ok(Ok(signature)) => return plain(StatusCode::OK, format!("{signature}\n")),
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal::Disk(io::Error::other("a defect: something panicked")),
    };
    refused(&refusal, &body)
}

fn refused(refusal: &Refusal, request: &[u8]) -> Response<Full<Bytes>> {
    let status = match refusal {
        Refusal::Malformed => StatusCode::BAD_REQUEST,
        Refusal::UnknownTree => StatusCode::NOT_FOUND,
        Refusal::NotSigned => StatusCode::FORBIDDEN,
        Refusal::Conflict(size) => {
            let mut answer = plain(StatusCode::CONFLICT, format!("{size}\n"));
            let kind = HeaderValue::from_static("text/x.tlog.size");
            answer.headers_mut().insert(header::CONTENT_TYPE, kind);
            return answer;
        }
        Refusal::Inconsistent(_) => {
            let request = String::from_utf8_lossy(request);
            complain(&format!("a signed checkpoint was refused: {refusal}\n{request}"));
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refusal::Full => StatusCode::INSUFFICIENT_STORAGE,
        Refusal::Disk(_) => {
            complain(&refusal.to_string());
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the witness cannot keep it\n");
        }
    };
    plain(status, format!("{refusal}\n"))
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
