//! Tenants' keys in HashiCorp Vault: its transit engine wraps keys of subjects, and never gives its own out.
//!
//! A tenant's key is `KEY-TENANT` under the engine's mount. Vault makes it (`aes256-gcm96`) when it wraps for the first time and the token may create
//! it. What a wrapped key belongs to goes along as associated data, so Vault unwraps it for nothing else.
//!
//! Limits: 64 KiB an answer; who asks sets the time. The token is read from its file each time, so an agent may renew it.
//!
//! On failure: [`TenantKeyError`], with Vault's own words where it says why; neither token nor key is in them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cordon_audit::{KeyFuture, TenantKeyError, TenantKeys};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config;

const MOST_BYTES: usize = 64 << 10;
/// Of Vault's reason.
const MOST_REASON: usize = 200;

/// The transit engine of a Vault.
pub struct Vault {
    settings: config::Vault,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Vault {
    /// Nothing is asked of it yet.
    pub fn new(settings: config::Vault, tls: &rustls::ClientConfig) -> Self {
        let mut tls = tls.clone();
        // The connector offers its protocols by itself, and insists on doing so.
        tls.alpn_protocols.clear();
        let mut dial = HttpConnector::new();
        dial.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(dial);
        Self {
            settings,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// Asks the engine to do something with a tenant's key, and takes a text out of the answer.
    async fn ask(
        &self,
        what: &str,
        tenant: &str,
        body: &Value,
        wanted: &str,
    ) -> Result<Zeroizing<String>, TenantKeyError> {
        let unavailable = |why: String| TenantKeyError::Unavailable(format!("Vault: {why}"));
        let config::Vault {
            url,
            mount,
            key,
            namespace,
            token,
        } = &self.settings;
        let uri = format!("{}/v1/{mount}/{what}/{key}-{tenant}", url.trim_end_matches('/'));
        let token = token.read_again().map_err(unavailable)?;
        let header = |value: &str| {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| unavailable("the token or the namespace is no header's value".to_owned()))?;
            value.set_sensitive(true);
            Ok::<_, TenantKeyError>(value)
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-vault-request", "true")
            .header("x-vault-token", header(token.value())?);
        if let Some(namespace) = namespace {
            request = request.header("x-vault-namespace", header(namespace)?);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|_| unavailable("the URL is none".to_owned()))?;
        let answer = self.client.request(request).await.map_err(|error| {
            unavailable(if error.is_connect() {
                "it cannot be reached".to_owned()
            } else {
                "it gave no answer".to_owned()
            })
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MOST_BYTES).collect().await;
        let body = body
            .map_err(|_| unavailable("its answer was cut off or is too large".to_owned()))?
            .to_bytes();
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status == StatusCode::OK
            && let Some(text) = told["data"][wanted].as_str()
        {
            return Ok(Zeroizing::new(text.to_owned()));
        }
        let reason = told["errors"][0].as_str().unwrap_or_default();
        if status == StatusCode::BAD_REQUEST && what == "decrypt" {
            if reason.contains("key not found") {
                return Err(TenantKeyError::NoKey(tenant.to_owned()));
            }
            // Vault's words for a wrong key, other associated data and an altered ciphertext.
            if ["authentication failed", "invalid ciphertext"]
                .iter()
                .any(|words| reason.contains(words))
            {
                return Err(TenantKeyError::NotOurs(tenant.to_owned()));
            }
        }
        let reason: String = reason
            .chars()
            .filter(|c| !c.is_control())
            .take(MOST_REASON)
            .collect();
        Err(unavailable(format!(
            "{what} is answered {}: {reason}",
            status.as_u16()
        )))
    }
}

impl TenantKeys for Vault {
    fn wrap<'a>(&'a self, tenant: &'a str, key: &'a [u8; 32], bound: &'a [u8]) -> KeyFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let plaintext = Zeroizing::new(STANDARD.encode(key));
            let body = json!({ "plaintext": *plaintext, "associated_data": STANDARD.encode(bound) });
            let wrapped = self.ask("encrypt", tenant, &body, "ciphertext").await?;
            Ok(wrapped.as_bytes().to_vec())
        })
    }

    fn unwrap<'a>(
        &'a self,
        tenant: &'a str,
        wrapped: &'a [u8],
        bound: &'a [u8],
    ) -> KeyFuture<'a, Zeroizing<Vec<u8>>> {
        Box::pin(async move {
            let not_ours = || TenantKeyError::NotOurs(tenant.to_owned());
            let ciphertext = std::str::from_utf8(wrapped).map_err(|_| not_ours())?;
            if !ciphertext.starts_with("vault:v") {
                return Err(not_ours());
            }
            let body = json!({ "ciphertext": ciphertext, "associated_data": STANDARD.encode(bound) });
            let plaintext = self.ask("decrypt", tenant, &body, "plaintext").await?;
            let key = STANDARD.decode(plaintext.as_bytes()).map_err(|_| not_ours())?;
            Ok(Zeroizing::new(key))
        })
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("url", &self.settings.url)
            .field("mount", &self.settings.mount)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::{Arc, Mutex},
    };

    use cordon_intercept::{Revocation, upstream_tls};
    use hyper::{body::Incoming, server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;

    use super::*;

    /// Ciphertexts by number: key, plaintext, associated data.
    type Sealed = Mutex<HashMap<String, (String, String, String)>>;

    /// Answers as Vault 1.15 does.
    async fn answer(sealed: Arc<Sealed>, request: Request<Incoming>) -> (StatusCode, Value) {
        let refused = |status, why: &str| (status, json!({ "errors": [why] }));
        let headers = request.headers();
        if headers
            .get("x-vault-token")
            .is_none_or(|token| token != "s.secret")
        {
            return refused(StatusCode::FORBIDDEN, "permission denied");
        }
        if headers
            .get("x-vault-namespace")
            .is_none_or(|namespace| namespace != "team")
        {
            return refused(
                StatusCode::NOT_FOUND,
                "no handler for route \"transit/\". route entry not found.",
            );
        }
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let mut sealed = sealed.lock().unwrap();
        if let Some(key) = path.strip_prefix("/v1/transit/encrypt/") {
            let ciphertext = format!("vault:v1:{}", sealed.len());
            sealed.insert(
                ciphertext.clone(),
                (key.to_owned(), text("plaintext"), text("associated_data")),
            );
            let data = json!({ "ciphertext": ciphertext, "key_version": 1 });
            return (
                StatusCode::OK,
                json!({ "request_id": "r", "lease_id": "", "renewable": false, "data": data }),
            );
        }
        let key = path.strip_prefix("/v1/transit/decrypt/").unwrap();
        if !sealed.values().any(|(known, ..)| known == key) {
            return refused(StatusCode::BAD_REQUEST, "encryption key not found");
        }
        match sealed.get(&text("ciphertext")) {
            Some((by, plaintext, bound)) if by == key && *bound == text("associated_data") => {
                (StatusCode::OK, json!({ "data": { "plaintext": plaintext } }))
            }
            Some(_) => refused(StatusCode::BAD_REQUEST, "cipher: message authentication failed"),
            None => refused(
                StatusCode::BAD_REQUEST,
                "invalid ciphertext: could not decode version",
            ),
        }
    }

    async fn vault() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sealed = Arc::<Sealed>::default();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sealed = sealed.clone();
                let serve = service_fn(move |request| {
                    let sealed = sealed.clone();
                    async move {
                        let (status, body) = answer(sealed, request).await;
                        let response = http::Response::builder().status(status);
                        response.body(Full::new(Bytes::from(body.to_string())))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
        });
        url
    }

    fn client(url: &str, token: &str, namespace: Option<&str>) -> Vault {
        let settings = config::Vault {
            url: url.to_owned(),
            token: token.into(),
            namespace: namespace.map(str::to_owned),
            ..config::Vault::default()
        };
        Vault::new(settings, &upstream_tls(&[], &Revocation::default()).unwrap())
    }

    #[tokio::test]
    async fn transit_wraps_for_one_tenant_and_place() {
        let url = vault().await;
        let keys = client(&url, "s.secret", Some("team"));
        let missing = keys.unwrap("default", b"vault:v1:0", b"place").await;
        assert!(matches!(missing, Err(TenantKeyError::NoKey(_))), "{missing:?}");
        let wrapped = keys.wrap("default", &[7; 32], b"place").await.unwrap();
        assert!(wrapped.starts_with(b"vault:v1:"));
        let opened = keys.unwrap("default", &wrapped, b"place").await.unwrap();
        assert_eq!(opened.as_slice(), [7; 32]);
        keys.wrap("emea", &[7; 32], b"place").await.unwrap();
        for (tenant, wrapped, place) in [
            ("default", wrapped.as_slice(), "other"),
            ("emea", wrapped.as_slice(), "place"),
            ("default", b"vault:v1:99", "place"),
            ("default", b"\xff", "place"),
        ] {
            let refused = keys.unwrap(tenant, wrapped, place.as_bytes()).await;
            assert!(matches!(refused, Err(TenantKeyError::NotOurs(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn what_vault_says_is_told_and_no_token() {
        let url = vault().await;
        for (keys, told) in [
            (client(&url, "s.wrong", Some("team")), "403: permission denied"),
            (client(&url, "s.secret", None), "404: no handler for route"),
            (
                client("http://127.0.0.1:9", "s.secret", None),
                "cannot be reached",
            ),
        ] {
            let error = keys
                .wrap("default", &[7; 32], b"place")
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(told) && !error.contains("s.wrong"), "{error}");
            assert!(!format!("{keys:?}").contains("s."));
        }
    }
}
