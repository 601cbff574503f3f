//! CONNECT with interception, the names that must agree, absolute form, and the pages.

use bytes::Bytes;
use cordon_domain::Door;
use cordon_intercept::Reason;
use http::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{Body, HOST, Stage, get, head_of, http1_over, http2_over, shake, text};

#[tokio::test]
async fn http1_and_http2_are_served_inside_connect() {
    let stage = Stage::usual().await;
    let stream = stage.tls(HOST, stage.trusting(&["http/1.1"])).await;
    let mut caller = http1_over(stream).await;
    for _ in 0..2 {
        let answer = caller.send_request(get("/v1/models", HOST)).await.unwrap();
        assert_eq!(text(answer).await, (StatusCode::OK, "answered".into()));
    }

    let stream = stage.tls(HOST, stage.trusting(&["h2", "http/1.1"])).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut caller = http2_over(stream).await;
    let request = Request::post(format!("https://{HOST}/echo"))
        .body(Body::new(Bytes::from(vec![b'x'; 300_000])))
        .unwrap();
    let (status, body) = text(caller.send_request(request).await.unwrap()).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 300_000));

    let arrivals = stage.arrivals();
    assert_eq!(
        arrivals.iter().map(|arrival| arrival.http2).collect::<Vec<_>>(),
        [false, false, true]
    );
    for arrival in arrivals {
        assert_eq!(
            (arrival.door, arrival.tls, arrival.caller),
            (Door::Proxy, true, Some("ann"))
        );
        assert_eq!((arrival.host.as_deref(), arrival.port), (Some(HOST), Some(443)));
    }
    assert!(stage.reasons().is_empty());
}

#[tokio::test]
async fn without_alpn_http1_is_spoken_and_spelling_does_not_matter() {
    let stage = Stage::usual().await;
    let stream = stage.connect("API.OpenAI.com.:443").await;
    let stream = shake(stream, HOST, stage.trusting(&[])).await.unwrap();
    let answer = http1_over(stream)
        .await
        .send_request(get("/", "Api.OpenAI.com:443"))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(stage.arrivals()[0].host.as_deref(), Some(HOST));
}

#[tokio::test]
async fn a_host_other_than_connects_is_421() {
    let stage = Stage::usual().await;
    let mut caller = http1_over(stage.tls(HOST, stage.trusting(&[])).await).await;
    for host in [
        "api.anthropic.com",
        "api.openai.com:8443",
        "eu.api.openai.com",
        "user@api.openai.com",
        "",
    ] {
        let answer = caller.send_request(get("/", host)).await.unwrap();
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
        text(answer).await;
    }
    let mut caller = http2_over(stage.tls(HOST, stage.trusting(&["h2"])).await).await;
    for uri in ["https://api.anthropic.com/", "https://api.openai.com:444/"] {
        let request = Request::get(uri).body(Body::default()).unwrap();
        let answer = caller.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{uri}");
    }
    // The right authority with a wrong Host beside it.
    let request = Request::get("https://api.openai.com/")
        .header("host", "api.anthropic.com")
        .body(Body::default())
        .unwrap();
    assert_eq!(
        caller.send_request(request).await.unwrap().status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    assert!(stage.arrivals().is_empty());
    assert_eq!(stage.reasons(), [Reason::HostDisagrees; 8]);
}

#[tokio::test]
async fn no_host_and_two_hosts_are_400() {
    let stage = Stage::usual().await;
    for hosts in ["", "Host: api.openai.com\r\nHost: api.openai.com\r\n"] {
        let mut stream = stage.tls(HOST, stage.trusting(&[])).await;
        let request = format!("GET / HTTP/1.1\r\n{hosts}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = head_of(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    }
    assert_eq!(stage.reasons(), [Reason::BadHost; 2]);
    assert!(stage.arrivals().is_empty());
}

#[tokio::test]
async fn another_sni_and_no_sni_are_421() {
    let stage = Stage::usual().await;
    // The caller verifies what it asked for, and can so read the refusal.
    let stream = stage.tls("api.anthropic.com", stage.trusting(&["h2"])).await;
    let request = Request::get(format!("https://{HOST}/"))
        .body(Body::default())
        .unwrap();
    let answer = http2_over(stream).await.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);

    let mut silent = stage.trusting(&[]);
    silent.enable_sni = false;
    let answer = http1_over(stage.tls(HOST, silent).await)
        .await
        .send_request(get("/", HOST))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(stage.reasons(), [Reason::SniDisagrees, Reason::SniMissing]);

    // A name that the authority may not vouch for is shown the CONNECT host's certificate, which no
    // caller takes for it.
    let stream = stage.connect("api.openai.com:443").await;
    assert!(shake(stream, "bank.example", stage.trusting(&[])).await.is_err());
    assert!(stage.arrivals().is_empty());
}

#[tokio::test]
async fn bytes_that_are_no_tls_close_the_connection_and_are_told() {
    let stage = Stage::usual().await;
    let mut stream = stage.connect("api.openai.com:443").await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // Closing with bytes unread may reach the caller as a reset.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    assert_eq!(stage.reasons(), [Reason::NotTls]);
}

#[tokio::test]
async fn a_caller_that_does_not_trust_us_is_told_to_the_server() {
    let stage = Stage::usual().await;
    let stranger = Stage::usual().await;
    let stream = stage.connect("api.openai.com:443").await;
    assert!(shake(stream, HOST, stranger.trusting(&[])).await.is_err());
    // The alert travels behind our back; shutting down waits until it was seen.
    stage.shutdown.cancel();
    let reasons = stage.notes.clone();
    stage.serving.await.unwrap();
    let seen = reasons.turned_away.lock().unwrap().clone();
    // A drain that comes first abandons the handshake, which then is no event.
    assert!(seen.is_empty() || seen == [Reason::HandshakeFailed], "{seen:?}");
}

#[tokio::test]
async fn refusals_and_bad_targets_are_answered() {
    let stage = Stage::usual().await;
    let (_, head) = stage.try_connect("refused.example:443").await;
    assert!(head.starts_with("HTTP/1.1 407"), "{head}");
    let (_, head) = stage.try_connect("unlisted.example:443").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    let (_, head) = stage.try_connect("panic.example:443").await;
    assert!(head.starts_with("HTTP/1.1 500"), "{head}");
    let (_, head) = stage.try_connect("user@api.openai.com:443").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let (_, head) = stage.try_connect("2130706433:443").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert_eq!(
        stage.reasons(),
        [Reason::HostNotCertified, Reason::BadTarget, Reason::BadTarget]
    );
}

#[tokio::test]
async fn absolute_form_is_an_exchange_without_tls() {
    let stage = Stage::usual().await;
    let mut caller = http1_over(TcpStream::connect(stage.proxy).await.unwrap()).await;
    let ask = |uri: &str, host: &str| {
        Request::get(uri)
            .header("host", host)
            .body(Body::default())
            .unwrap()
    };
    let answer = caller
        .send_request(ask("http://api.openai.com/v1/models", HOST))
        .await
        .unwrap();
    assert_eq!(answer.headers()["proxy-authenticate"], "Negotiate AAAA");
    assert_eq!(text(answer).await.0, StatusCode::OK);
    let arrival = stage.arrivals().pop().unwrap();
    assert_eq!(
        (arrival.tls, arrival.host.as_deref(), arrival.port),
        (false, Some(HOST), Some(80))
    );
    assert_eq!(arrival.caller, Some("ann"));

    let answer = caller
        .send_request(ask("http://api.openai.com/", "other.example"))
        .await
        .unwrap();
    assert_eq!(text(answer).await.0, StatusCode::MISDIRECTED_REQUEST);
    let answer = caller
        .send_request(ask("https://api.openai.com/", HOST))
        .await
        .unwrap();
    assert_eq!(text(answer).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(stage.reasons(), [Reason::HostDisagrees, Reason::BadTarget]);
}

#[tokio::test]
async fn the_pages_are_reached_by_every_way() {
    let stage = Stage::usual().await;
    let mut caller = http1_over(TcpStream::connect(stage.proxy).await.unwrap()).await;
    for uri in ["http://cordon.internal/", "/", "http://CORDON.internal./"] {
        let request = Request::get(uri)
            .header("host", "cordon.internal")
            .body(Body::default())
            .unwrap();
        let (status, body) = text(caller.send_request(request).await.unwrap()).await;
        assert!(status == StatusCode::OK && body.contains("Claude Code"), "{uri}");
    }
    let (_, pem) = text(
        caller
            .send_request(get("http://cordon.internal/ca.pem", "cordon.internal"))
            .await
            .unwrap(),
    )
    .await;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"));

    let stream = stage.connect("cordon.internal:443").await;
    let stream = shake(stream, "cordon.internal", stage.trusting(&["h2"]))
        .await
        .unwrap();
    let request = Request::get("https://cordon.internal/proxy.pac")
        .body(Body::default())
        .unwrap();
    let (_, pac) = text(http2_over(stream).await.send_request(request).await.unwrap()).await;
    assert!(pac.contains("FindProxyForURL"));
    assert!(stage.arrivals().is_empty());
}

#[tokio::test]
async fn a_panic_is_answered_and_harms_nobody_else() {
    let stage = Stage::usual().await;
    let mut caller = http2_over(stage.tls(HOST, stage.trusting(&["h2"])).await).await;
    let ask = |path: &str| {
        Request::get(format!("https://{HOST}{path}"))
            .body(Body::default())
            .unwrap()
    };
    let (panicked, fine) = tokio::join!(
        caller.clone().send_request(ask("/panic")),
        caller.send_request(ask("/"))
    );
    assert_eq!(panicked.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(fine.unwrap().status(), StatusCode::OK);
    assert_eq!(stage.reasons(), [Reason::Failed]);
}

#[tokio::test]
async fn other_upgrades_and_nested_connects_do_not_get_through() {
    let stage = Stage::usual().await;
    let mut stream = stage.tls(HOST, stage.trusting(&[])).await;
    let upgrade =
        format!("GET /socket HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: spdy/3.1\r\n\r\n");
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    assert!(head_of(&mut stream).await.starts_with("HTTP/1.1 426"));
    let nested = format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n");
    stream.write_all(nested.as_bytes()).await.unwrap();
    assert!(head_of(&mut stream).await.starts_with("HTTP/1.1 405"));
    assert_eq!(stage.reasons(), [Reason::NoProxyHere]);
}

#[tokio::test]
async fn a_body_that_waits_for_100_continue_is_called_for_and_trailers_are_dropped() {
    let stage = Stage::usual().await;
    let mut stream = stage.tls(HOST, stage.trusting(&[])).await;
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\nTrailer: x-a\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(head_of(&mut stream).await.starts_with("HTTP/1.1 100"));
    stream
        .write_all(b"5\r\nhello\r\n0\r\nx-a: secret\r\n\r\n")
        .await
        .unwrap();
    let head = head_of(&mut stream).await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("content-length: 5"),
        "{head}"
    );
    let mut body = [0; 5];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"hello");
}
