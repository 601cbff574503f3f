//! Shutdown: what is in flight finishes, what is new is refused, `serve` returns.

use std::time::Duration;

use cordon_intercept::{ListenerLimits, TunnelRules};
use http::{Request, StatusCode};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::stage::{Body, HOST, Stage, bound, get, http1_over, http2_over, loopback_rules, text};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn exchanges_in_flight_finish_and_then_serve_returns() {
    let stage = Stage::usual().await;
    let mut first = http1_over(stage.tls(HOST, stage.trusting(&[])).await).await;
    let mut second = http2_over(stage.tls(HOST, stage.trusting(&["h2"])).await).await;
    let slow1 = tokio::spawn(first.send_request(get("/slow", HOST)));
    stage.notes.began.notified().await;
    let request = Request::get(format!("https://{HOST}/slow"))
        .body(Body::default())
        .unwrap();
    let slow2 = tokio::spawn(second.send_request(request));
    stage.notes.began.notified().await;

    stage.shutdown.cancel();
    // The listener is closed while both exchanges are still open.
    while TcpStream::connect(stage.proxy).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stage.serving.is_finished());
    let (proxy, gateway) = (stage.proxy, stage.gateway);
    for (slow, http1) in [(slow1, true), (slow2, false)] {
        stage.notes.go.notify_one();
        let answer = slow.await.unwrap().unwrap();
        if http1 {
            assert_eq!(answer.headers()["connection"], "close");
        }
        assert_eq!(text(answer).await, (StatusCode::OK, "slow but whole".into()));
    }
    timeout(SOON, stage.serving).await.unwrap().unwrap();
    // GOAWAY: the second caller keeps nothing open.
    assert!(timeout(SOON, second.ready()).await.unwrap().is_err());
    for address in [proxy, gateway] {
        assert!(TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_drain() {
    let stage = Stage::usual().await;
    let mut kept = http1_over(stage.tls(HOST, stage.trusting(&[])).await).await;
    text(kept.send_request(get("/", HOST)).await.unwrap()).await;
    let mut kept2 = http2_over(stage.tls(HOST, stage.trusting(&["h2"])).await).await;
    let request = Request::get(format!("https://{HOST}/"))
        .body(Body::default())
        .unwrap();
    text(kept2.send_request(request).await.unwrap()).await;
    let _silent = TcpStream::connect(stage.proxy).await.unwrap();
    let _shaking = stage.connect("api.openai.com:443").await;
    stage.shutdown.cancel();
    timeout(SOON, stage.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn tunnels_end_after_their_grace_and_are_recorded() {
    let rules = TunnelRules {
        grace: Duration::from_millis(50),
        ..loopback_rules()
    };
    let mut stage = Stage::with(ListenerLimits::default(), rules, false).await;
    let listener = bound().await;
    let target = listener.local_addr().unwrap().to_string();
    let mut caller = stage.connect(&target).await;
    stage.shutdown.cancel();
    let mut rest = Vec::new();
    caller.read_to_end(&mut rest).await.unwrap();
    assert_eq!(stage.closed.recv().await.unwrap(), (0, 0));
    timeout(SOON, stage.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_finish_is_cut() {
    let limits = ListenerLimits {
        drain: Duration::from_millis(100),
        ..ListenerLimits::default()
    };
    let stage = Stage::with(limits, loopback_rules(), false).await;
    let mut first = http1_over(stage.tls(HOST, stage.trusting(&[])).await).await;
    let mut second = http2_over(stage.tls(HOST, stage.trusting(&["h2"])).await).await;
    let slow1 = tokio::spawn(first.send_request(get("/slow", HOST)));
    stage.notes.began.notified().await;
    let request = Request::get(format!("https://{HOST}/slow"))
        .body(Body::default())
        .unwrap();
    let slow2 = tokio::spawn(second.send_request(request));
    stage.notes.began.notified().await;
    stage.shutdown.cancel();
    timeout(SOON, stage.serving).await.unwrap().unwrap();
    assert!(slow1.await.unwrap().is_err() && slow2.await.unwrap().is_err());
}
