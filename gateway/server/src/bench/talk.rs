//! As much HTTP/1.1 over TLS as load and provider need, and no more: what the load takes of its core, the program under
//! measurement would seem slower by.
//!
//! Limits: heads of [`MAX_HEAD`] bytes, bodies of [`MAX_BODY`]; a length or chunks, nothing else.
//!
//! On failure: an error in words; a benchmark that was answered wrongly has no figures.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, ensure};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 64 << 20;
const READ: usize = 16 << 10;

/// Somebody to talk to.
#[derive(Clone)]
pub struct Target {
    address: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    /// What CONNECT says, at a proxy.
    connect: Option<Arc<str>>,
    head: Arc<str>,
}

impl Target {
    /// A server on loopback whose certificate is signed by `ca_pem`, and the key to it.
    pub fn new(address: SocketAddr, name: &str, ca_pem: &str, key: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).context("the CA certificate")?)?;
        // The same handshake with everybody: not all of them know the post-quantum one.
        let provider = CryptoProvider {
            kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.resumption = Resumption::disabled();
        // Programs that offer HTTP/1.1 alone are the most there are.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            address,
            name: ServerName::try_from(name.to_owned())?,
            tls: Arc::new(tls),
            connect: None,
            head: format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: {name}\r\nauthorization: Bearer {key}\r\n\
                 content-type: application/json\r\naccept: application/json\r\nuser-agent: cordon-bench\r\ncontent-length: "
            )
            .into(),
        })
    }

    /// The same by way of a proxy.
    pub fn through(mut self, proxy: SocketAddr, name: &str, key: &str) -> Result<Self> {
        self.address = proxy;
        self.name = ServerName::try_from(name.to_owned())?;
        self.head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {name}\r\ncontent-type: application/json\r\n\
             accept: application/json\r\nuser-agent: cordon-bench\r\ncontent-length: "
        )
        .into();
        self.connect = Some(connect(&format!("{name}:443"), key).into());
        Ok(self)
    }

    /// A request with this body.
    pub fn request(&self, body: &[u8]) -> Vec<u8> {
        let mut request = Vec::with_capacity(self.head.len() + body.len() + 16);
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(body.len().to_string().as_bytes());
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(body);
        request
    }
}

/// A CONNECT to `authority` with a key of Cordon's.
pub fn connect(authority: &str, key: &str) -> String {
    format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: Bearer {key}\r\n\r\n")
}

/// A connection and what was read from it ahead.
pub struct Line<S> {
    stream: S,
    read: Vec<u8>,
    /// Bytes of `read` that were taken.
    taken: usize,
    /// Bytes of the present chunk, with its line break, that are still to come.
    chunk: usize,
}

impl Line<TlsStream<TcpStream>> {
    /// Opens a connection.
    pub async fn open(target: &Target) -> Result<Self> {
        let mut tcp = TcpStream::connect(target.address)
            .await
            .context("no connection")?;
        tcp.set_nodelay(true)?;
        if let Some(connect) = &target.connect {
            let mut line = Line::new(tcp);
            line.send(connect.as_bytes()).await?;
            let head = line.head().await?.context("the proxy hung up")?;
            ensure!(head.status() == Some(200), "CONNECT was answered otherwise");
            tcp = line.stream;
        }
        let connector = TlsConnector::from(target.tls.clone());
        let stream = connector
            .connect(target.name.clone(), tcp)
            .await
            .context("no TLS")?;
        Ok(Self::new(stream))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// Over a stream that nothing was read from.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
            taken: 0,
            chunk: 0,
        }
    }

    /// Sends bytes at once.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Reads a head; none when the other side closed the connection before it.
    pub async fn head(&mut self) -> Result<Option<Head>> {
        loop {
            let ahead = &self.read[self.taken..];
            if let Some(end) = memchr::memmem::find(ahead, b"\r\n\r\n") {
                let head = Head(String::from_utf8_lossy(&ahead[..end]).into_owned());
                self.taken += end + 4;
                return Ok(Some(head));
            }
            ensure!(ahead.len() < MAX_HEAD, "a head is too long");
            let nothing = ahead.is_empty();
            if self.more().await? == 0 {
                ensure!(nothing, "the connection broke off");
                return Ok(None);
            }
        }
    }

    /// Reads the whole body behind a head.
    pub async fn body(&mut self, head: &Head) -> Result<Vec<u8>> {
        let Some(length) = head.length() else {
            ensure!(head.is_chunked(), "a body without an end");
            let mut body = Vec::new();
            while !self.chunks(&mut body).await? {}
            return Ok(body);
        };
        ensure!(length <= MAX_BODY, "a body is too long");
        while self.read.len() - self.taken < length {
            ensure!(self.more().await? > 0, "the connection broke off");
        }
        let body = self.read[self.taken..self.taken + length].to_vec();
        self.taken += length;
        Ok(body)
    }

    /// Appends what has come of a body in chunks, at least something; says whether that was all.
    pub async fn chunks(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let before = body.len();
        loop {
            let ahead = &self.read[self.taken..];
            if self.chunk > 0 && !ahead.is_empty() {
                let taken = self.chunk.min(ahead.len());
                // The last two bytes of a chunk are its line break.
                let text = self.chunk.saturating_sub(2).min(taken);
                body.extend_from_slice(&ahead[..text]);
                self.taken += taken;
                self.chunk -= taken;
                continue;
            }
            if self.chunk == 0
                && let Some(end) = memchr::memmem::find(&ahead[..ahead.len().min(32)], b"\r\n")
            {
                let size = std::str::from_utf8(&ahead[..end]).context("a chunk's size")?;
                let size = usize::from_str_radix(size, 16).context("a chunk's size")?;
                if size > 0 {
                    self.taken += end + 2;
                    self.chunk = size + 2;
                    continue;
                }
                if ahead.len() >= end + 4 {
                    self.taken += end + 4;
                    return Ok(true);
                }
            }
            if body.len() > before {
                return Ok(false);
            }
            ensure!(self.more().await? > 0, "the connection broke off");
        }
    }

    async fn more(&mut self) -> Result<usize> {
        if self.taken == self.read.len() {
            self.read.clear();
            self.taken = 0;
        } else if self.taken > READ {
            self.read.drain(..self.taken);
            self.taken = 0;
        }
        self.read.reserve(READ);
        Ok(self.stream.read_buf(&mut self.read).await?)
    }
}

/// The head of a request or an answer.
pub struct Head(String);

impl Head {
    /// An answer's status.
    pub fn status(&self) -> Option<u16> {
        self.0.split(' ').nth(1)?.parse().ok()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.split("\r\n").skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length")?.parse().ok()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_however_they_are_cut() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n\
                     HTTP/1.1 404 X\r\ncontent-length: 2\r\n\r\nno";
        for size in 1..wire.len() {
            runtime.block_on(async {
                let (near, mut far) = tokio::io::duplex(size);
                let mut line = Line::new(near);
                let talk = async {
                    let head = line.head().await.unwrap().unwrap();
                    assert_eq!(head.status(), Some(200));
                    assert_eq!(line.body(&head).await.unwrap(), b"abc0123456789abcdef");
                    let head = line.head().await.unwrap().unwrap();
                    assert_eq!(head.status(), Some(404));
                    assert_eq!(line.body(&head).await.unwrap(), b"no");
                };
                let (_, sent) = tokio::join!(talk, far.write_all(wire));
                sent.unwrap();
            });
        }
    }
}
