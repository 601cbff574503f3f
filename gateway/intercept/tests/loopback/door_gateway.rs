//! The gateway's port: TLS, HTTP/1.1, HTTP/2, and plain HTTP where it is allowed.

use cordon_domain::Door;
use cordon_intercept::{ListenerLimits, Reason, TunnelRules};
use http::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Body, Stage, get, head_of, http1_over, http2_over, shake, text};

#[tokio::test]
async fn both_protocols_over_tls_by_name_and_by_address() {
    let stage = Stage::usual().await;
    for name in ["localhost", "127.0.0.1"] {
        let stream = TcpStream::connect(stage.gateway).await.unwrap();
        let stream = shake(stream, name, stage.trusting(&["h2", "http/1.1"]))
            .await
            .unwrap();
        let request = Request::get(format!("https://{name}/v1/models"))
            .body(Body::default())
            .unwrap();
        assert_eq!(
            http2_over(stream)
                .await
                .send_request(request)
                .await
                .unwrap()
                .status(),
            StatusCode::OK
        );

        let stream = TcpStream::connect(stage.gateway).await.unwrap();
        let stream = shake(stream, name, stage.trusting(&["http/1.1"])).await.unwrap();
        let answer = http1_over(stream)
            .await
            .send_request(get("/v1/models", name))
            .await
            .unwrap();
        assert_eq!(text(answer).await, (StatusCode::OK, "answered".into()));
    }
    for arrival in stage.arrivals() {
        assert_eq!((arrival.door, arrival.tls), (Door::Gateway, true));
        assert!(arrival.host.is_none() && arrival.caller.is_none());
    }
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_told_what_to_do() {
    let stage = Stage::usual().await;
    let mut stream = TcpStream::connect(stage.gateway).await.unwrap();
    stream
        .write_all(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("https://"),
        "{answer}"
    );
    assert_eq!(stage.reasons(), [Reason::PlainHttp]);
    assert!(stage.arrivals().is_empty());
}

#[tokio::test]
async fn plain_http_from_loopback_is_served_where_allowed() {
    let stage = Stage::with(ListenerLimits::default(), TunnelRules::default(), true).await;
    let mut caller = http1_over(TcpStream::connect(stage.gateway).await.unwrap()).await;
    let answer = caller.send_request(get("/v1/models", "localhost")).await.unwrap();
    assert_eq!(text(answer).await.0, StatusCode::OK);
    assert!(!stage.arrivals()[0].tls);
    // TLS is still spoken on the same port.
    let stream = TcpStream::connect(stage.gateway).await.unwrap();
    shake(stream, "localhost", stage.trusting(&[])).await.unwrap();
}

#[tokio::test]
async fn the_gateway_is_no_proxy() {
    let stage = Stage::usual().await;
    let stream = TcpStream::connect(stage.gateway).await.unwrap();
    let mut stream = shake(stream, "localhost", stage.trusting(&[])).await.unwrap();
    stream
        .write_all(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
        .await
        .unwrap();
    assert!(head_of(&mut stream).await.starts_with("HTTP/1.1 405"));
    assert_eq!(stage.reasons(), [Reason::NoProxyHere]);
}
