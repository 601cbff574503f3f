//! Servers with certificates of every kind, good and bad, and the authorities and revocation lists behind them.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Why nothing that fails here is Cordon's fault.
const SOUND: &str = "what the test itself makes is in order";

/// A list of no models.
pub const NO_MODELS: &str = "{\"object\":\"list\",\"data\":[]}";

/// A certificate with its key, which may issue others.
pub struct Issued {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// The same in PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Issued {
    /// Makes one, by another or by itself.
    #[must_use]
    pub fn of(params: CertificateParams, by: Option<&Self>) -> Self {
        let key = KeyPair::generate().expect(SOUND);
        let certificate = match by {
            Some(by) => params.signed_by(&key, &by.issuer).expect(SOUND),
            None => params.self_signed(&key).expect(SOUND),
        };
        Self {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its private key.
    #[must_use]
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.issuer.key().serialize_der()).expect(SOUND)
    }
}

/// An authority.
#[must_use]
pub fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A server's certificate.
#[must_use]
pub fn leaf(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect(SOUND);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::CommonName, host);
    params
}

/// A server that shows a certificate, and counts requests that reach it.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Requests that reached it.
    pub asked: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one.
    pub async fn showing(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect(SOUND);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect(SOUND);
        let address = listener.local_addr().expect(SOUND);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let mut head = [0_u8; 4096];
                    if stream.read(&mut head).await.is_ok_and(|count| count > 0) {
                        counted.fetch_add(1, Ordering::SeqCst);
                        let answer: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\nalt-svc: h3=\":443\"\r\nconnection: close\r\n\r\n{\"object\":\"list\",\"data\":[]}";
                        let _ = stream.write_all(answer).await;
                        let _ = stream.shutdown().await;
                    }
                });
            }
        });
        Self { address, asked, task }
    }
}

impl Server {
    /// Starts one that speaks HTTP/2 and nothing else.
    pub async fn of_http2(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect(SOUND);
        config.alpn_protocols.push(b"h2".to_vec());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect(SOUND);
        let address = listener.local_addr().expect(SOUND);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let service = service_fn(move |_: Request<Incoming>| {
                        counted.fetch_add(1, Ordering::SeqCst);
                        async {
                            let body = Full::new(Bytes::from_static(NO_MODELS.as_bytes()));
                            Response::builder()
                                .header("content-type", "application/json")
                                .body(body)
                        }
                    });
                    // A caller that leaves ends the connection; that is no fault here.
                    let _ = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, asked, task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An authority's list of what it has revoked, in PEM.
#[must_use]
pub fn revoking(by: &Issued, serials: &[SerialNumber], out_of_date: bool) -> String {
    let next_update = if out_of_date {
        date_time_ymd(2021, 1, 1)
    } else {
        date_time_ymd(2090, 1, 1)
    };
    CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update,
        crl_number: SerialNumber::from(serials.len() as u64),
        issuing_distribution_point: None,
        revoked_certs: serials
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: serial.clone(),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&by.issuer)
    .expect(SOUND)
    .pem()
    .expect(SOUND)
}

/// `openssl s_server` with a key that no library of today would serve: RSA of 1024 bits.
pub struct WeakServer {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl WeakServer {
    /// Starts one for a host, with a certificate of `root`; its files go into `folder`.
    #[must_use]
    pub fn start(folder: &Path, host: &str, root: &Issued) -> Self {
        let file = |name: &str| folder.join(name).display().to_string();
        fs::write(folder.join("weak-ca.pem"), &root.pem).expect(SOUND);
        fs::write(folder.join("weak-ca.key"), root.issuer.key().serialize_pem()).expect(SOUND);
        fs::write(
            folder.join("weak.ext"),
            format!("subjectAltName=DNS:{host}\nextendedKeyUsage=serverAuth\n"),
        )
        .expect(SOUND);
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).output().expect(SOUND);
            assert!(
                output.status.success(),
                "openssl {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        let (key, request, certificate) = (file("weak.key"), file("weak.csr"), file("weak.pem"));
        openssl(&[
            "req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", &key, "-out", &request, "-subj",
            "/CN=weak",
        ]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &file("weak-ca.pem"),
            "-CAkey",
            &file("weak-ca.key"),
            "-set_serial",
            "77",
            "-days",
            "30",
            "-sha256",
            "-extfile",
            &file("weak.ext"),
            "-out",
            &certificate,
        ]);
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-cert",
                &certificate,
                "-key",
                &key,
            ])
            .args(["-cipher", "DEFAULT:@SECLEVEL=0", "-naccept", "20"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect(SOUND);
        let mut lines = BufReader::new(child.stdout.take().expect(SOUND)).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.strip_prefix("ACCEPT ")
                    .map(|address| address.parse().expect(SOUND))
            })
            .expect("openssl says where it listens");
        // Somebody has to read on, or it stops writing and with it serving.
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, child }
    }
}

impl Drop for WeakServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
