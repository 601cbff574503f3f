//! Callers that are slow, silent, or send too much.

use std::time::Duration;

use cordon_intercept::{ListenerLimits, Reason};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{HOST, Stage, get, head_of, http1_over, loopback_rules, text};

const SHORT: Duration = Duration::from_millis(150);

async fn closes(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A close with bytes unread may arrive as a reset, which is a close too.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_header_that_dribbles_in_is_cut() {
    let limits = ListenerLimits {
        header_read: SHORT,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    closes(TcpStream::connect(stage.proxy).await.unwrap()).await;
    let mut stream = TcpStream::connect(stage.proxy).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    closes(stream).await;

    // Rest between exchanges is not the reading of a header.
    let mut caller = http1_over(stage.tls(HOST, stage.trusting(&[])).await).await;
    text(caller.send_request(get("/", HOST)).await.unwrap()).await;
    closes(TcpStream::connect(stage.proxy).await.unwrap()).await;
    assert!(caller.send_request(get("/", HOST)).await.is_ok());
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let limits = ListenerLimits {
        idle: SHORT,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    for alpn in ["http/1.1", "h2"] {
        let mut stream = stage.tls(HOST, stage.trusting(&[alpn])).await;
        if alpn == "http/1.1" {
            let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
        } else {
            stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .await
                .unwrap();
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.is_empty());
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_and_told() {
    let limits = ListenerLimits {
        handshake: SHORT,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    closes(stage.connect("api.openai.com:443").await).await;
    assert_eq!(stage.reasons(), [Reason::HandshakeTimeout]);
    closes(TcpStream::connect(stage.gateway).await.unwrap()).await;
}

#[tokio::test]
async fn a_header_too_long_is_431() {
    let limits = ListenerLimits {
        max_header_bytes: 8192,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let mut stream = stage.tls(HOST, stage.trusting(&[])).await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nx-long: {}\r\n\r\n",
        "a".repeat(20_000)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = head_of(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 431"), "{head}");
    assert!(stage.arrivals().is_empty());
}

#[tokio::test]
async fn at_the_connection_limit_callers_wait_and_are_then_served() {
    let limits = ListenerLimits {
        max_connections: 1,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let first = stage.connect("api.openai.com:443").await;
    // The kernel takes the second; nobody answers it while the first holds the place, CONNECT or not.
    let mut second = TcpStream::connect(stage.proxy).await.unwrap();
    second
        .write_all(b"GET http://cordon.internal/ca.pem HTTP/1.1\r\nHost: cordon.internal\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0; 1];
    assert_eq!(
        second.try_read(&mut byte).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    drop(first);
    assert!(head_of(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_caller_that_takes_nothing_is_cut_and_the_answer_dropped() {
    let limits = ListenerLimits {
        write_stall: SHORT,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let mut stream = stage.tls(HOST, stage.trusting(&[])).await;
    let request = format!("GET /endless HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stage.notes.dropped.notified().await;
}
