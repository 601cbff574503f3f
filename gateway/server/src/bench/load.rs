//! The load: one request, sent at a pace or as fast as connections allow, each answer checked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{task::JoinSet, time::Instant};

/// What must never reach the provider, and must come back.
pub const ORIGINALS: [&str; 3] = [
    "mira.holt@fab-seven.example",
    "4111 1111 1111 1111",
    "+49 30 901820-33",
];

/// About two kilobytes, as a person would write them.
fn request() -> Bytes {
    let filler =
        "The second batch left the line on Tuesday and the inspection found nothing out of the ordinary. ";
    let text = format!(
        "Please write a short, friendly answer to {}, who paid with card {} and can be called at {}. Background: {}",
        ORIGINALS[0],
        ORIGINALS[1],
        ORIGINALS[2],
        filler.repeat(18)
    );
    let body = serde_json::json!({
        "model": "bench",
        "temperature": 0.2,
        "messages": [
            {"role": "system", "content": "You are the assistant of a customer service team. Answer in English."},
            {"role": "user", "content": text},
        ],
    });
    body.to_string().into()
}

/// Size of the request's body.
pub fn request_bytes() -> usize {
    request().len()
}

type Caller = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Somebody to ask, and how.
#[derive(Clone)]
pub struct Load {
    caller: Caller,
    url: Arc<str>,
    key: Arc<str>,
    body: Bytes,
    answered: Arc<AtomicU64>,
}

impl Load {
    /// A load against a base URL whose certificate is signed by `ca_pem`.
    pub fn new(base: &str, ca_pem: &str, key: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).context("the CA certificate")?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut dial = HttpConnector::new();
        dial.enforce_http(false);
        dial.set_nodelay(true);
        // HTTP/1.1, as the providers' own libraries speak it.
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(dial);
        Ok(Self {
            caller: Client::builder(TokioExecutor::new()).build(connector),
            url: format!("{base}/v1/chat/completions").into(),
            key: key.into(),
            body: request(),
            answered: Arc::default(),
        })
    }

    /// How many requests were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    async fn ask(&self) -> Result<()> {
        let request = Request::post(&*self.url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))?;
        let response = self
            .caller
            .request(request)
            .await
            .context("there was no answer")?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("the answer broke off")?
            .to_bytes();
        ensure!(
            status.is_success(),
            "the answer was {status}: {}",
            String::from_utf8_lossy(&body)
        );
        let text = String::from_utf8_lossy(&body);
        for original in ORIGINALS {
            ensure!(text.contains(original), "an original did not come back");
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends at a fixed rate, whether or not earlier requests were answered.
    pub async fn paced(&self, rate: u32, span: Duration) -> Result<Paced> {
        let gap = Duration::from_secs(1) / rate;
        let count = (span.as_secs_f64() * f64::from(rate)) as u32;
        let begin = Instant::now();
        let mut asked = JoinSet::new();
        for number in 0..count {
            let due = begin + gap * number;
            tokio::time::sleep_until(due).await;
            let load = self.clone();
            asked.spawn(async move { load.ask().await.map(|()| due.elapsed()) });
        }
        let mut latencies = Vec::with_capacity(count as usize);
        while let Some(answer) = asked.join_next().await {
            latencies.push(answer??);
        }
        latencies.sort_unstable();
        Ok(Paced(latencies))
    }

    /// Sends as fast as so many callers can; gives requests a second.
    pub async fn closed(&self, callers: usize, span: Duration) -> Result<f64> {
        let begin = Instant::now();
        let mut asked = JoinSet::new();
        for _ in 0..callers {
            let load = self.clone();
            asked.spawn(async move {
                let mut count = 0_u64;
                while begin.elapsed() < span {
                    load.ask().await?;
                    count += 1;
                }
                Ok::<_, anyhow::Error>(count)
            });
        }
        let mut count = 0;
        while let Some(answer) = asked.join_next().await {
            count += answer??;
        }
        Ok(count as f64 / begin.elapsed().as_secs_f64())
    }
}

/// Latencies of a paced measurement, sorted.
pub struct Paced(Vec<Duration>);

impl Paced {
    /// The latency that a share of the requests stayed within.
    pub fn milliseconds(&self, share: f64) -> f64 {
        let index = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0
            .get(index)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_nearest_ranks() {
        let paced = Paced((1..=100).map(Duration::from_millis).collect());
        assert_eq!((paced.milliseconds(0.5), paced.milliseconds(0.99)), (50.0, 99.0));
    }

    #[test]
    fn the_request_is_of_two_kilobytes() {
        assert!((1900..2300).contains(&request_bytes()), "{}", request_bytes());
    }
}
