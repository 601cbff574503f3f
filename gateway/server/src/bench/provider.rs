//! A provider behind TLS that answers every chat request at once, repeating the placeholders it saw.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context, Result};
use bytes::Bytes;
use cordon_domain::SystemClock;
use cordon_intercept::{Authority, Scope};
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::load::ORIGINALS;

/// The built-in provider.
pub struct Provider {
    address: SocketAddr,
    ca_pem: String,
    leaks: Arc<AtomicU64>,
}

impl Provider {
    /// Starts it, with a certificate authority of its own under `folder`.
    pub async fn start(folder: &Path) -> Result<Self> {
        let dir = folder.join("provider");
        let scope = Scope {
            hosts: vec!["provider.example".to_owned()],
            ..Scope::default()
        };
        Authority::init(&dir, &scope, &SystemClock)?;
        let authority = Authority::load(&dir, &scope, Arc::new(SystemClock))?;
        let tls = authority.gateway_leaf_for(Some("localhost"))?.config();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("the built-in provider cannot listen")?;
        let provider = Self {
            address: listener.local_addr()?,
            ca_pem: authority.root_pem().to_owned(),
            leaks: Arc::default(),
        };
        let leaks = provider.leaks.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, leaks) = (TlsAcceptor::from(tls.clone()), leaks.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(request, leaks.clone()));
                    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
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
    pub fn ca_pem(&self) -> String {
        self.ca_pem.clone()
    }

    /// Requests that came with Cordon's credentials and an original in them.
    pub fn leaks(&self) -> u64 {
        self.leaks.load(Ordering::Relaxed)
    }
}

async fn answer(
    request: Request<Incoming>,
    leaks: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let through = request
        .headers()
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes() == super::subject::PROVIDER_LOGIN.as_bytes());
    let body = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    if through && ORIGINALS.iter().any(|original| text.contains(original)) {
        leaks.fetch_add(1, Ordering::Relaxed);
    }
    // Straight requests have the originals, others their placeholders: both are said back.
    let mut said: Vec<&str> = ORIGINALS
        .into_iter()
        .filter(|original| text.contains(original))
        .collect();
    said.extend(placeholders(&text));
    let reply = serde_json::json!({
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": format!("Dear customer, about {}: thank you. {}", said.join(", "), "All is on its way. ".repeat(40))},
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 420, "completion_tokens": 210, "total_tokens": 630},
    });
    let mut response = Response::new(Full::new(Bytes::from(reply.to_string())));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
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
}
