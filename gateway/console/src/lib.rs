//! The admin listener: health, readiness, metrics, and what a new caller needs to set itself up.
//!
//! It knows nothing of the proxy's inside: what it shows comes through [`Site`], which the server
//! implements. It serves plain HTTP and no text of any exchange, so it may stand on an internal
//! network; it takes no requests that change anything.
//!
//! Routes: `GET /healthz` (the process runs), `/readyz` (it can answer, 503 with reasons if not),
//! `/metrics` (Prometheus text 0.0.4), `/ca.pem`, `/proxy.pac`, `/` (how to point programs here).

use std::{future::Future, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::net::TcpListener;

/// What the admin listener shows, provided by the server.
pub trait Site: Send + Sync + 'static {
    /// Reasons why an exchange could not be answered now; none means ready.
    fn unready(&self) -> Vec<String>;
    /// Metrics in Prometheus' text format.
    fn metrics(&self) -> Vec<u8>;
    /// Our root certificate, PEM.
    fn root_pem(&self) -> String;
    /// The PAC file that sends intercepted hosts to the proxy.
    fn pac(&self) -> String;
    /// Instructions for people, HTML.
    fn instructions(&self) -> String;
}

/// Serves until `stop` completes; requests under way are finished first.
///
/// # Errors
/// When the listener fails.
pub async fn serve<S: Site>(
    listener: TcpListener,
    site: Arc<S>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(site))
        .with_graceful_shutdown(stop)
        .await
}

/// The routes over a site.
pub fn router<S: Site>(site: Arc<S>) -> Router {
    Router::new()
        .route("/", get(instructions::<S>))
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready::<S>))
        .route("/metrics", get(metrics::<S>))
        .route("/ca.pem", get(root::<S>))
        .route("/proxy.pac", get(pac::<S>))
        .with_state(site)
}

async fn ready<S: Site>(State(site): State<Arc<S>>) -> Response {
    let reasons = site.unready();
    if reasons.is_empty() {
        Json(json!({"status": "ready"})).into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "unready", "reasons": reasons})),
        )
            .into_response()
    }
}

async fn metrics<S: Site>(State(site): State<Arc<S>>) -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        site.metrics(),
    )
        .into_response()
}

async fn root<S: Site>(State(site): State<Arc<S>>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/x-pem-file")],
        site.root_pem(),
    )
        .into_response()
}

async fn pac<S: Site>(State(site): State<Arc<S>>) -> Response {
    (
        [(header::CONTENT_TYPE, "application/x-ns-proxy-autoconfig")],
        site.pac(),
    )
        .into_response()
}

async fn instructions<S: Site>(State(site): State<Arc<S>>) -> Html<String> {
    Html(site.instructions())
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, http::Request};
    use tower::ServiceExt;

    use super::*;

    struct Fixed {
        reasons: Vec<String>,
    }

    impl Site for Fixed {
        fn unready(&self) -> Vec<String> {
            self.reasons.clone()
        }
        fn metrics(&self) -> Vec<u8> {
            b"cordon_exchanges 0\n".to_vec()
        }
        fn root_pem(&self) -> String {
            "PEM".into()
        }
        fn pac(&self) -> String {
            "function FindProxyForURL".into()
        }
        fn instructions(&self) -> String {
            "<h1>hello</h1>".into()
        }
    }

    async fn ask(site: Fixed, path: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = router(Arc::new(site)).oneshot(request).await.unwrap();
        let status = response.status();
        let kind = response.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .to_owned();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_gives_its_reasons() {
        let (status, _, body) = ask(
            Fixed {
                reasons: vec!["the engine is starting".into()],
            },
            "/readyz",
        )
        .await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("the engine is starting"));
        let (status, _, _) = ask(Fixed { reasons: vec![] }, "/readyz").await;
        assert_eq!(status, StatusCode::OK);
    }

    #[tokio::test]
    async fn each_page_has_its_type() {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/metrics", "text/plain; version=0.0.4"),
            ("/ca.pem", "application/x-pem-file"),
            ("/proxy.pac", "application/x-ns-proxy-autoconfig"),
            ("/healthz", "application/json"),
        ] {
            let (status, found, body) = ask(Fixed { reasons: vec![] }, path).await;
            assert_eq!((status, found.as_str()), (StatusCode::OK, kind), "{path}");
            assert!(!body.is_empty(), "{path}");
        }
    }
}
