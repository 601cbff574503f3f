//! A provider behind TLS that answers every chat request at once, repeating the placeholders it saw, and a host
//! for tunnels that says back what it hears.
//!
//! Each chunk of a stream has the moment in it when it was sent, so that whoever reads it knows how long it took.
//!
//! On failure: a connection that is spoken to otherwise is closed; the load reports it.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use cordon_domain::SystemClock;
use cordon_intercept::{Authority, Scope};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{
    talk::{Head, Line},
    text::{Answer, ORIGINALS},
};

/// The name in its certificate that callers of the proxy use; each of its subdomains leads here, too.
pub const HOST: &str = "provider.example";

/// Chunks of a paced stream, and the time between them.
pub const PACED: (usize, Duration) = (60, Duration::from_millis(5));
/// Chunks of a stream without a pace.
pub const FLOOD: usize = 4000;
/// Time between the chunks of a stream without an end.
const ENDLESS: Duration = Duration::from_millis(500);

/// When time began.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Before the moment in a chunk.
const STAMP: &[u8] = b"sent ";
/// Letters of a moment in nanoseconds.
const STAMP_LETTERS: usize = 13;

/// The built-in provider.
pub struct Provider {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where a tunnel may lead.
    pub echo: SocketAddr,
    ca_pem: String,
    leaks: Arc<AtomicU64>,
}

impl Provider {
    /// Starts it, with a certificate authority of its own under `folder`.
    pub async fn start(folder: &Path) -> Result<Self> {
        LazyLock::force(&BEGAN);
        let dir = folder.join("provider");
        let scope = Scope {
            hosts: vec![HOST.to_owned()],
            ..Scope::default()
        };
        Authority::init(&dir, &scope, &SystemClock)?;
        let authority = Authority::load(&dir, &scope, Arc::new(SystemClock))?;
        let mut tls = (*authority.gateway_leaf_for(Some("localhost"))?.config()).clone();
        // nginx speaks nothing else to an upstream.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(tls);
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("the built-in provider cannot listen")?;
        let echo = TcpListener::bind("127.0.0.1:0").await?;
        let provider = Self {
            address: listener.local_addr()?,
            echo: echo.local_addr()?,
            ca_pem: authority.root_pem().to_owned(),
            leaks: Arc::default(),
        };
        let leaks = provider.leaks.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, leaks) = (TlsAcceptor::from(tls.clone()), leaks.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = answer_all(Line::new(stream), &leaks).await;
                    }
                });
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let mut byte = [0];
                    while matches!(stream.read(&mut byte).await, Ok(1)) {
                        if stream.write_all(&byte).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(provider)
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The CA certificate behind it.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Requests that came with Cordon's credentials and an original in them.
    pub fn leaks(&self) -> u64 {
        self.leaks.load(Ordering::Relaxed)
    }
}

/// Answers one connection's requests.
async fn answer_all<S: AsyncRead + AsyncWrite + Unpin>(mut line: Line<S>, leaks: &AtomicU64) -> Result<()> {
    while let Some(head) = line.head().await? {
        let body = line.body(&head).await?;
        let said = said(&head, &body, leaks);
        match Answer::asked_by(&body).context("nobody asks so")? {
            Answer::Plain => line.send(&plain(&said)).await?,
            Answer::Paced => stream(&mut line, PACED.0, Some(PACED.1), &said).await?,
            Answer::Flood => stream(&mut line, FLOOD, None, &said).await?,
            Answer::Endless => stream(&mut line, usize::MAX, Some(ENDLESS), &said).await?,
        }
    }
    Ok(())
}

/// What is said back of a request: its placeholders, or the originals where it came straight.
fn said(head: &Head, body: &[u8], leaks: &AtomicU64) -> String {
    let through = head.header("authorization") == Some(super::subject::PROVIDER_LOGIN);
    let mut said: Vec<&str> = ORIGINALS
        .into_iter()
        .filter(|original| memchr::memmem::find(body, original.as_bytes()).is_some())
        .collect();
    if through && !said.is_empty() {
        leaks.fetch_add(1, Ordering::Relaxed);
    }
    // All stand in the last question.
    let text = String::from_utf8_lossy(body);
    let found = placeholders(&text);
    said.extend(found.iter().rev().take(ORIGINALS.len()).rev());
    said.join(", ")
}

fn plain(said: &str) -> Vec<u8> {
    let reply = format!(
        "{{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\",\"choices\":[{{\"index\":0,\
         \"message\":{{\"role\":\"assistant\",\"content\":\"Dear customer, about {said}: thank you. {} {}\"}},\"finish_reason\":\"stop\"}}],\
         \"usage\":{{\"prompt_tokens\":420,\"completion_tokens\":210,\"total_tokens\":630}}}}",
        // No two replies are the same, as in earnest.
        stamp(),
        "All is on its way. ".repeat(40)
    );
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{reply}",
        reply.len()
    )
    .into_bytes()
}

/// Sends a stream; its last chunk of text says back what was seen.
async fn stream<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    chunks: usize,
    pace: Option<Duration>,
    said: &str,
) -> Result<()> {
    // nginx would gather a stream up otherwise.
    line.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-accel-buffering: no\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    for _ in 0..chunks {
        line.send(&event(&format!("{} and more ", stamp()))).await?;
        if let Some(pace) = pace {
            tokio::time::sleep(pace).await;
        }
    }
    line.send(&event(&format!("about {said}: thank you."))).await?;
    let mut end = chunk("data: [DONE]\n\n");
    end.extend_from_slice(b"0\r\n\r\n");
    line.send(&end).await
}

fn event(text: &str) -> Vec<u8> {
    chunk(&format!(
        "data: {{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"bench\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    ))
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

/// This moment in letters, which no detector takes for a number.
fn stamp() -> String {
    let mut rest = u64::try_from(BEGAN.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::from_utf8_lossy(STAMP).into_owned();
    for _ in 0..STAMP_LETTERS {
        text.push(char::from(b'a' + (rest & 15) as u8));
        rest >>= 4;
    }
    text
}

/// How long ago each chunk in a piece of a stream was sent; a chunk that the piece's end cuts is left out. Gives how much
/// of the piece was read.
pub fn ages(piece: &[u8], mut age: impl FnMut(Duration)) -> usize {
    let now = BEGAN.elapsed();
    let mut read = 0;
    for start in memchr::memmem::find_iter(piece, STAMP) {
        let from = start + STAMP.len();
        let Some(letters) = piece.get(from..from + STAMP_LETTERS) else {
            return start;
        };
        let value = letters.iter().rev().fold(0_u64, |value, letter| {
            value << 4 | u64::from(letter.wrapping_sub(b'a') & 15)
        });
        age(now.saturating_sub(Duration::from_nanos(value)));
        read = from + STAMP_LETTERS;
    }
    // The mark itself may be cut, too.
    read.max(piece.len().saturating_sub(STAMP.len()))
}

/// Whatever looks like a placeholder.
fn placeholders(text: &str) -> Vec<&str> {
    text.match_indices('[')
        .filter_map(|(start, _)| {
            let end = start + text[start..].find(']')? + 1;
            let inside = &text[start + 1..end - 1];
            let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            (inside.contains('_') && inside.bytes().all(fits)).then_some(&text[start..end])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_found() {
        assert_eq!(
            placeholders("a [EMAIL_K7QX] [x] [\"A\"] [NO] [A_1"),
            ["[EMAIL_K7QX]"]
        );
    }

    #[test]
    fn moments_are_read_back() {
        let (mut text, mut count) = (event(&stamp()), 0);
        text.extend(event(&stamp()));
        let whole = ages(&text, |age| {
            assert!(age < Duration::from_secs(60));
            count += 1;
        });
        assert_eq!(count, 2);
        for cut in 0..text.len() {
            let mut seen = 0;
            let read = ages(&text[..cut], |_| seen += 1);
            ages(&text[read..], |_| seen += 1);
            assert_eq!(seen, 2, "cut at {cut} of {whole}");
        }
    }
}
