//! WebSockets at both doors, by upgrade and by extended CONNECT.

use std::time::Duration;

use cordon_intercept::{
    ListenerLimits, Next, Received, Socket, SocketFault, SocketHandshake, SocketReader, SocketWriter,
};
use http::{Method, Request, Response, StatusCode};
use hyper::{body::Incoming, ext::Protocol};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::stage::{
    Body, HOST, Stage, get, head_of, http1_over, http2_over, loopback_rules, shake, socket_limits, text,
};

/// A request for a WebSocket by upgrade, and the handshake behind it.
fn upgrade(path: &str, host: &str) -> (Request<Body>, SocketHandshake) {
    let handshake = SocketHandshake::new();
    let mut request = get(path, host);
    request.headers_mut().extend(handshake.headers());
    (request, handshake)
}

async fn opened(response: Response<Incoming>, handshake: &SocketHandshake) -> (SocketReader, SocketWriter) {
    let agreed = handshake.agreed(&response, &[]).unwrap();
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    Socket::to_upstream(upgraded, agreed, socket_limits()).split()
}

async fn echoes(reader: &mut SocketReader, writer: &mut SocketWriter, message: &[u8]) {
    writer.text(message).await.unwrap();
    match reader.next().await.unwrap() {
        Next::Received(Received::Text(text)) => assert_eq!(text, message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_upgrade_at_either_door_is_a_websocket() {
    let stage = Stage::usual().await;
    let intercepted = stage.tls(HOST, stage.trusting(&["http/1.1"])).await;
    let gateway = TcpStream::connect(stage.gateway).await.unwrap();
    let gateway = shake(gateway, "localhost", stage.trusting(&["http/1.1"]))
        .await
        .unwrap();
    for (stream, host) in [(intercepted, HOST), (gateway, "localhost")] {
        let (request, handshake) = upgrade("/echo", host);
        let response = http1_over(stream).await.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert!(response.headers().contains_key("sec-websocket-extensions"));
        let (mut reader, mut writer) = opened(response, &handshake).await;
        echoes(&mut reader, &mut writer, b"short").await;
        echoes(&mut reader, &mut writer, &b"long and much alike, ".repeat(20_000)).await;
        writer.ping().await.unwrap();
        assert!(matches!(reader.next().await, Ok(Next::Received(Received::Pong))));
        writer.close(Some(1000)).await.unwrap();
        assert!(matches!(
            reader.next().await,
            Ok(Next::Received(Received::Close(Some(1000))))
        ));
        stage.notes.dropped.notified().await;
    }
    let arrivals = stage.arrivals();
    assert_eq!(arrivals[0].host.as_deref(), Some(HOST));
    assert_eq!(arrivals[0].caller, Some("ann"));
    assert_eq!(arrivals[1].host, None);
}

#[tokio::test]
async fn extended_connect_is_a_websocket_and_its_connection_is_not_idle() {
    let limits = ListenerLimits {
        idle: Duration::from_millis(300),
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let stream = stage.tls(HOST, stage.trusting(&["h2"])).await;
    let mut sender = http2_over(stream).await;
    // The server says in its first settings that it takes extended CONNECT.
    let plain = Request::get(format!("https://{HOST}/x"))
        .body(Body::default())
        .unwrap();
    assert_eq!(
        text(sender.send_request(plain).await.unwrap()).await.0,
        StatusCode::OK
    );
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://{HOST}/echo"))
        .header("sec-websocket-version", "13")
        .body(Body::default())
        .unwrap();
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let (mut reader, mut writer) =
        Socket::to_upstream(upgraded, cordon_intercept::Agreed::default(), socket_limits()).split();
    for _ in 0..3 {
        echoes(&mut reader, &mut writer, b"over one stream").await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    // An ordinary CONNECT is still none.
    let mut plain = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("{HOST}:443"))
        .body(Body::default())
        .unwrap();
    plain.headers_mut().clear();
    let refused = sender.send_request(plain).await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn what_is_refused_keeps_its_status_and_body() {
    let stage = Stage::usual().await;
    let stream = stage.tls(HOST, stage.trusting(&["http/1.1"])).await;
    let mut sender = http1_over(stream).await;
    let refused = sender.send_request(upgrade("/other", HOST).0).await.unwrap();
    assert_eq!(
        text(refused).await,
        (StatusCode::FORBIDDEN, "no sockets here".into())
    );
    let panicked = sender.send_request(upgrade("/panic", HOST).0).await.unwrap();
    assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);
    // No handshake of a WebSocket, so an exchange like any other.
    let (mut request, _) = upgrade("/socket", HOST);
    request.headers_mut().remove("sec-websocket-key");
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
}

#[tokio::test]
async fn broken_frames_close_the_connection_with_their_code() {
    let stage = Stage::usual().await;
    let (request, _) = upgrade("/echo", HOST);
    let mut head = format!("GET /echo HTTP/1.1\r\nHost: {HOST}\r\n");
    for (name, value) in request.headers() {
        if name.as_str() != "host" && name.as_str() != "sec-websocket-extensions" {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
    }
    head.push_str("\r\n");
    let masked =
        |first: u8, payload: &[u8]| [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat();
    for (frame, code) in [
        (vec![0x81, 1, b'x'], 1002u16),
        (masked(0xc1, b"x"), 1002),
        (masked(0x81, &[0xff]), 1007),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0], 1009),
    ] {
        let mut stream = stage.tls(HOST, stage.trusting(&["http/1.1"])).await;
        // The first frame may come with the handshake.
        stream
            .write_all(&[head.as_bytes(), &frame].concat())
            .await
            .unwrap();
        assert!(head_of(&mut stream).await.starts_with("HTTP/1.1 101"));
        let mut close = [0; 4];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut close)
            .await
            .unwrap();
        assert_eq!(
            close,
            [0x88, 2, code.to_be_bytes()[0], code.to_be_bytes()[1]],
            "{frame:?}"
        );
        stage.notes.dropped.notified().await;
    }
}

#[tokio::test]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    let stage = Stage::usual().await;
    let (request, handshake) = upgrade("/echo", HOST);
    let stream = stage.tls(HOST, stage.trusting(&["http/1.1"])).await;
    let response = http1_over(stream).await.send_request(request).await.unwrap();
    let agreed = handshake.agreed(&response, &[]).unwrap();
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    let mut limits = socket_limits();
    limits.idle = Duration::from_millis(200);
    let (mut reader, mut writer) = Socket::to_upstream(upgraded, agreed, limits).split();
    assert!(matches!(reader.next().await, Ok(Next::Silent)));
    writer.ping().await.unwrap();
    assert!(matches!(reader.next().await, Ok(Next::Received(Received::Pong))));
    assert!(matches!(reader.next().await, Ok(Next::Silent)));
    assert!(matches!(reader.next().await, Err(SocketFault::Idle)));
}

#[tokio::test]
async fn a_drain_closes_sockets() {
    let stage = Stage::usual().await;
    let (request, handshake) = upgrade("/echo", HOST);
    let stream = stage.tls(HOST, stage.trusting(&["http/1.1"])).await;
    let response = http1_over(stream).await.send_request(request).await.unwrap();
    let (mut reader, mut writer) = opened(response, &handshake).await;
    echoes(&mut reader, &mut writer, b"before").await;
    stage.shutdown.cancel();
    assert!(matches!(
        reader.next().await,
        Ok(Next::Received(Received::Close(Some(1001))))
    ));
    drop((reader, writer));
    tokio::time::timeout(Duration::from_secs(5), stage.serving)
        .await
        .unwrap()
        .unwrap();
}
