//! Any bytes as requests of HTTP/1, read as a listener reads them: no panic, and of each that is let in, what belongs to
//! one connection does not travel on, its host has one spelling, and its body is within bounds once decoded.

use std::{convert::Infallible, net::IpAddr};

use bytes::Bytes;
use cordon_intercept::{Target, content_encoding, decode_body, normal_host, strip_request};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

const LIMIT: usize = 1 << 16;
const RATIO: usize = 50;

pub(crate) fn run(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime starts");
    runtime.block_on(async {
        // Room for all of it and for the answers, so that neither end waits for the other.
        let (mut caller, ours) = tokio::io::duplex(input.len() + (1 << 22));
        caller.write_all(input).await.expect("there is room");
        caller.shutdown().await.expect("the other end is there");
        // Whatever is no HTTP ends in an error, which is all that is asked of it.
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(ours), service_fn(look))
            .await;
    });
}

async fn look(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let named: Vec<String> = (request.headers().get_all(header::CONNECTION).iter())
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let encoding = content_encoding(request.headers());
    strip_request(request.headers_mut());
    for name in request.headers().keys() {
        let name = name.as_str();
        let of_connection =
            ["connection", "transfer-encoding", "upgrade", "te", "keep-alive"].contains(&name);
        assert!(
            !of_connection && !name.starts_with("proxy-") && !named.iter().any(|one| one == name),
            "{name}"
        );
    }
    let authorities = [request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned())];
    let hosts = (request.headers().get_all(header::HOST).iter()).filter_map(|host| host.to_str().ok());
    for written in authorities.into_iter().flatten().chain(hosts.map(str::to_owned)) {
        if let Ok(target) = Target::parse(&written, Some(443)) {
            assert_eq!(normal_host(&target.host).as_deref(), Some(target.host.as_str()));
            let again = match target.host.parse() {
                Ok(IpAddr::V6(address)) => format!("[{address}]:{}", target.port),
                _ => format!("{}:{}", target.host, target.port),
            };
            assert_eq!(Target::parse(&again, None), Ok(target));
        }
    }
    if let (Ok(encoding), Ok(body)) = (encoding, request.into_body().collect().await) {
        let body = body.to_bytes();
        let most = LIMIT.min(body.len());
        if let Ok(decoded) = decode_body(&encoding, body, LIMIT, RATIO) {
            // Below 64 KiB nothing is out of proportion.
            assert!(decoded.len() <= LIMIT.max(most * RATIO));
        }
    }
    Ok(Response::new(Empty::new()))
}
