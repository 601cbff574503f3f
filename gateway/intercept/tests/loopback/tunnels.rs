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
