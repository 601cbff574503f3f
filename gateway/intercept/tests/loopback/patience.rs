//! Callers that are slow, silent, or send too much.

use std::time::Duration;

use cordon_intercept::{ListenerLimits, Reason};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stage::{HOST, Stage, get, head_of, http1_over, http2_over, loopback_rules, text};

const SHORT: Duration = Duration::from_millis(150);

async fn closes(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A close with bytes unread may arrive as a reset, which is a close too.
    let _ = stream.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_header_that_dribbles_in_is_cut() {
    let limits = ListenerLimits {
        first_byte: SHORT,
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

#[tokio::test]
async fn an_address_with_too_many_connections_is_told_so() {
    let limits = ListenerLimits {
        max_per_address: 2,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let first = stage.connect("api.openai.com:443").await;
    let _second = stage.connect("api.openai.com:443").await;
    let mut third = TcpStream::connect(stage.proxy).await.unwrap();
    let head = head_of(&mut third).await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert_eq!(stage.reasons(), [Reason::AddressLimit]);
    drop(first);
    // The place is free as soon as the listener sees that the first left.
    loop {
        let (_stream, head) = stage.try_connect("api.openai.com:443").await;
        if head.starts_with("HTTP/1.1 200") {
            break;
        }
    }
}

#[tokio::test]
async fn after_its_last_request_a_connection_closes_in_good_order() {
    for alpn in ["http/1.1", "h2"] {
        let limits = ListenerLimits {
            max_requests: 3,
            ..ListenerLimits::default()
        };
        let stage = Stage::with(limits, loopback_rules(), false).await;
        let stream = stage.tls(HOST, stage.trusting(&[alpn])).await;
        let mut answered = 0;
        if alpn == "h2" {
            let mut caller = http2_over(stream).await;
            while let Ok(answer) = caller.send_request(absolute("/")).await {
                answered += 1;
                drop(text(answer).await);
            }
        } else {
            let mut caller = http1_over(stream).await;
            while caller.ready().await.is_ok() {
                let Ok(answer) = caller.send_request(get("/", HOST)).await else {
                    break;
                };
                answered += 1;
                drop(text(answer).await);
            }
        }
        assert!((3..10).contains(&answered), "{alpn}: {answered}");
        assert_eq!(stage.reasons(), []);
    }
}

fn absolute(path: &str) -> http::Request<crate::stage::Body> {
    get(&format!("https://{HOST}{path}"), HOST)
}

#[tokio::test]
async fn a_caller_that_gives_up_one_request_after_the_other_is_cut() {
    let limits = ListenerLimits {
        max_given_up: 20,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let mut caller = http2_over(stage.tls(HOST, stage.trusting(&["h2"])).await).await;
    let mut given_up = 0;
    while caller.ready().await.is_ok() {
        let asked = caller.send_request(absolute("/slow"));
        let began = stage.notes.began.notified();
        tokio::select! {
            answer = asked => assert!(answer.is_err(), "{answer:?}"),
            () = began => given_up += 1,
        }
    }
    assert!((20..40).contains(&given_up), "{given_up}");
    assert_eq!(stage.reasons(), [Reason::ConnectionAbused]);
}

/// Each is a few bytes to the caller and work to us, the last of them for every open stream.
#[tokio::test]
async fn a_caller_that_sends_frames_that_ask_for_nothing_is_cut() {
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const WINDOW: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const PRIORITY: &[u8] = &[0, 0, 5, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 16];
    const UNKNOWN: &[u8] = &[0, 0, 0, 0xa, 0, 0, 0, 0, 0];
    const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0xff, 0xff];
    let limits = ListenerLimits {
        max_control_frames: 100,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    for frame in [PING, WINDOW, PRIORITY, UNKNOWN, SETTINGS] {
        let mut stream = stage.tls(HOST, stage.trusting(&["h2"])).await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        stream.write_all(preface).await.unwrap();
        stream.write_all(&frame.repeat(50)).await.unwrap();
        stream.flush().await.unwrap();
        let mut first = [0; 9];
        stream.read_exact(&mut first).await.unwrap();
        let (mut hears, mut says) = tokio::io::split(stream);
        let more =
            async { while says.write_all(&frame.repeat(50)).await.is_ok() && says.flush().await.is_ok() {} };
        let heard = async {
            // A close with bytes unread may arrive as a reset, which is a close too.
            let _ = hears.read_to_end(&mut Vec::new()).await;
        };
        let cut = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(more, heard) }).await;
        assert!(cut.is_ok(), "frames of kind {} are taken without end", frame[3]);
    }
    assert_eq!(stage.reasons(), [Reason::ConnectionAbused; 5]);
}

#[tokio::test]
async fn what_hyper_lets_through_is_looked_at() {
    let limits = ListenerLimits {
        max_headers: 10,
        max_uri_bytes: 1000,
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let mut caller = http2_over(stage.tls(HOST, stage.trusting(&["h2"])).await).await;
    let long = absolute(&format!("/?{}", "a".repeat(1000)));
    let mut many = absolute("/");
    for index in 0..20 {
        let name = http::HeaderName::try_from(format!("x-{index}")).unwrap();
        many.headers_mut()
            .insert(name, http::HeaderValue::from_static("1"));
    }
    let mut two_hosts = absolute("/");
    two_hosts.headers_mut().append("host", HOST.parse().unwrap());
    let mut other_host = absolute("/");
    other_host
        .headers_mut()
        .insert("host", "other.example".parse().unwrap());
    for (request, status) in [(long, 414), (many, 431), (two_hosts, 400), (other_host, 421)] {
        let (answered, _) = text(caller.send_request(request).await.unwrap()).await;
        assert_eq!(answered.as_u16(), status);
    }
    assert!(stage.arrivals().is_empty());
}
