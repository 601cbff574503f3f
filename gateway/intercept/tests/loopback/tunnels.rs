//! Tunnels: bytes exact both ways, addresses, evasion, idleness.

use std::time::Duration;

use cordon_intercept::{ListenerLimits, Reason, TunnelRules};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::stage::{HOST, Stage, bound, loopback_rules, shake};

/// Bytes in which every shift and swap would show.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * at + at / 251) % 256).unwrap())
        .collect()
}

async fn tunnel(stage: &Stage, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let target = listener.local_addr().unwrap().to_string();
    let (caller, accepted) = tokio::join!(stage.connect(&target), listener.accept());
    (caller, accepted.unwrap().0)
}

#[tokio::test]
async fn bytes_pass_exactly_and_are_counted() {
    let mut stage = Stage::usual().await;
    let listener = bound().await;
    let (caller, upstream) = tunnel(&stage, &listener).await;
    let (up, down) = (pattern(1_000_003), pattern(700_001));
    let (mut caller_in, mut caller_out) = caller.into_split();
    let (mut upstream_in, mut upstream_out) = upstream.into_split();
    let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
    let write_up = async {
        caller_out.write_all(&up).await.unwrap();
        caller_out.shutdown().await.unwrap();
    };
    let write_down = async {
        upstream_out.write_all(&down).await.unwrap();
        upstream_out.shutdown().await.unwrap();
    };
    let (_, _, read_up, read_down) = tokio::join!(
        write_up,
        write_down,
        upstream_in.read_to_end(&mut got_up),
        caller_in.read_to_end(&mut got_down)
    );
    assert_eq!((read_up.unwrap(), read_down.unwrap()), (up.len(), down.len()));
    assert!(got_up == up && got_down == down);
    assert_eq!(stage.closed.recv().await.unwrap(), (1_000_003, 700_001));
}

#[tokio::test]
async fn a_host_that_speaks_first_is_heard() {
    let stage = Stage::usual().await;
    let listener = bound().await;
    let (mut caller, mut upstream) = tunnel(&stage, &listener).await;
    upstream.write_all(b"220 ready").await.unwrap();
    let mut greeting = [0; 9];
    caller.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ready");
    caller.write_all(b"HELO").await.unwrap();
    let mut hello = [0; 4];
    upstream.read_exact(&mut hello).await.unwrap();
    assert_eq!(&hello, b"HELO");
}

#[tokio::test]
async fn tls_to_an_intercepted_name_inside_a_tunnel_is_stopped_before_a_byte_passes() {
    let mut stage = Stage::usual().await;
    let listener = bound().await;
    for name in [HOST, "eu.api.openai.com"] {
        let (caller, mut upstream) = tunnel(&stage, &listener).await;
        assert!(shake(caller, name, stage.trusting(&["h2"])).await.is_err());
        let mut passed = Vec::new();
        // Closing may reach the far end as a reset.
        let _ = upstream.read_to_end(&mut passed).await;
        assert!(passed.is_empty());
        assert_eq!(stage.closed.recv().await.unwrap(), (0, 0));
    }
    assert_eq!(stage.reasons(), [Reason::TunnelEvades; 2]);
}

#[tokio::test]
async fn tls_that_names_nobody_is_stopped_unless_the_configuration_names_where_it_leads() {
    let spared = |networks: &[&str]| TunnelRules {
        spared_networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        ..loopback_rules()
    };
    // A server that is told no name answers with whatever it has: many providers' do.
    let of_ssl_2 = [&[0x80, 0x2e, 1, 3, 3, 0, 0x15, 0, 0, 0, 0x10][..], &[7; 37]].concat();
    for (rules, passes) in [(spared(&[]), false), (spared(&["127.0.0.0/8"]), true)] {
        let mut stage = Stage::with(ListenerLimits::default(), rules, false).await;
        let listener = bound().await;
        let (caller, mut upstream) = tunnel(&stage, &listener).await;
        // An address goes into no SNI (RFC 6066, 3).
        let shaking = tokio::spawn(shake(caller, "127.0.0.1", stage.trusting(&["h2"])));
        let mut passed = Vec::new();
        let _ = upstream.read_buf(&mut passed).await;
        assert_eq!(passed.first(), passes.then_some(&22));
        drop(upstream);
        assert!(shaking.await.unwrap().is_err());
        assert_eq!(stage.closed.recv().await.unwrap().0 > 0, passes);

        let (mut caller, mut upstream) = tunnel(&stage, &listener).await;
        caller.write_all(&of_ssl_2).await.unwrap();
        let mut passed = Vec::new();
        let _ = upstream.read_to_end(&mut passed).await;
        assert!(passed.is_empty());
        stage.closed.recv().await.unwrap();
        let reasons = [Reason::NameMissing, Reason::TunnelUnreadable];
        assert_eq!(stage.reasons(), reasons[usize::from(passes)..]);
    }
}

#[tokio::test]
async fn tls_to_another_name_passes_untouched() {
    let stage = Stage::usual().await;
    let listener = bound().await;
    let (caller, mut upstream) = tunnel(&stage, &listener).await;
    let shaking = tokio::spawn(shake(caller, "registry.example", stage.trusting(&["h2"])));
    let mut header = [0; 5];
    upstream.read_exact(&mut header).await.unwrap();
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    let mut hello = vec![0; length];
    upstream.read_exact(&mut hello).await.unwrap();
    assert_eq!((header[0], hello[0]), (22, 1));
    drop(upstream);
    assert!(shaking.await.unwrap().is_err());
}

#[tokio::test]
async fn reserved_addresses_ports_and_dead_ends_are_refused_and_the_record_is_closed() {
    let mut stage = Stage::with(ListenerLimits::default(), TunnelRules::default(), false).await;
    let port = bound().await.local_addr().unwrap().port();
    for target in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "[::1]:80".into(),
        "169.254.169.254:80".into(),
    ] {
        let (_, head) = stage.try_connect(&target).await;
        assert!(head.starts_with("HTTP/1.1 403"), "{target}: {head}");
        assert_eq!(stage.closed.recv().await.unwrap(), (0, 0));
    }
    assert_eq!(stage.reasons(), [Reason::TunnelReserved; 4]);

    let rules = TunnelRules {
        ports: vec![443],
        ..loopback_rules()
    };
    let stage = Stage::with(ListenerLimits::default(), rules, false).await;
    let (_, head) = stage.try_connect(&format!("127.0.0.1:{port}")).await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(stage.reasons(), [Reason::TunnelPort]);

    let stage = Stage::usual().await;
    let (_, head) = stage.try_connect(&format!("127.0.0.1:{port}")).await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    assert_eq!(stage.reasons(), [Reason::TunnelUnreachable]);
}

#[tokio::test]
async fn tunnels_are_bounded_and_end_when_nothing_moves() {
    let rules = TunnelRules {
        max_tunnels: 1,
        idle: Duration::from_millis(200),
        ..loopback_rules()
    };
    let mut stage = Stage::with(ListenerLimits::default(), rules, false).await;
    let listener = bound().await;
    let target = listener.local_addr().unwrap().to_string();
    let (mut caller, mut upstream) = tunnel(&stage, &listener).await;
    upstream.write_all(b"hi").await.unwrap();
    let (_, head) = stage.try_connect(&target).await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(stage.closed.recv().await.unwrap(), (0, 0));

    let mut got = Vec::new();
    caller.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"hi");
    assert_eq!(stage.closed.recv().await.unwrap(), (0, 2));
    // Its place is free again, once the task that held it is gone.
    while !stage.try_connect(&target).await.1.starts_with("HTTP/1.1 200") {
        tokio::task::yield_now().await;
    }
}

/// An absolute-form request to a listener, and what it got and gave.
async fn forward(stage: &Stage, listener: &TcpListener, request: String, reply: &[u8]) -> (String, Vec<u8>) {
    let mut caller = TcpStream::connect(stage.proxy).await.unwrap();
    let answering = async {
        let (mut upstream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        // The body in these tests ends so.
        while !got.ends_with(b"!end") {
            assert_ne!(upstream.read_buf(&mut got).await.unwrap(), 0);
        }
        upstream.write_all(reply).await.unwrap();
        String::from_utf8(got).unwrap()
    };
    let asking = async {
        caller.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).await.unwrap();
        answer
    };
    tokio::join!(answering, asking)
}

#[tokio::test]
async fn plain_http_to_another_host_is_passed_unread_and_counted() {
    let mut stage = Stage::usual().await;
    let listener = bound().await;
    let host = listener.local_addr().unwrap().to_string();
    let request = format!(
        "POST http://{host}/form?q=1 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\nX-Kept: yes\r\n\
         Proxy-Authorization: Basic c2VjcmV0\r\nX-Hop: 1\r\nConnection: close, X-Hop\r\n\r\nbody !end"
    );
    let reply = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\nX-Also: kept\r\nKeep-Alive: 5\r\n\r\ndone";
    let (got, answer) = forward(&stage, &listener, request, reply).await;
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /form?q=1 HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("x-kept: yes") && head.contains(&format!("host: {host}")),
        "{head}"
    );
    assert!(!head.contains("proxy-") && !head.contains("x-hop"), "{head}");
    assert_eq!(body, "body !end");
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 201"), "{answer}");
    assert!(
        answer.contains("x-also: kept") && !answer.contains("keep-alive: 5"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
    assert_eq!(stage.closed.recv().await.unwrap(), (9, 4));
    assert!(stage.arrivals().is_empty() && stage.reasons().is_empty());
}

#[tokio::test]
async fn plain_http_to_a_dead_end_is_told_and_closes_its_record() {
    let mut stage = Stage::usual().await;
    let gone = bound().await.local_addr().unwrap();
    let mut caller = TcpStream::connect(stage.proxy).await.unwrap();
    let request = format!("GET http://{gone}/ HTTP/1.1\r\nHost: {gone}\r\nConnection: close\r\n\r\n");
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert_eq!(stage.closed.recv().await.unwrap(), (0, 0));

    // A server that ends before it answers.
    let listener = bound().await;
    let host = listener.local_addr().unwrap().to_string();
    let request = format!(
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nConnection: close\r\n\r\n!end"
    );
    let (_, answer) = forward(&stage, &listener, request, b"").await;
    assert!(answer.starts_with(b"HTTP/1.1 502"));
    assert_eq!(stage.closed.recv().await.unwrap(), (4, 0));
    assert_eq!(stage.reasons(), [Reason::TunnelUnreachable; 2]);
}
