//! Many at once, and those who leave.

use serde_json::{Value, json};

use crate::running::Engine;

/// An answer that goes on until the slot is full.
fn endless() -> Value {
    json!({"messages": [{"role": "user", "content": "Write on and on."}], "logit_bias": {"0": -100, "2": -100}})
}

fn short() -> Value {
    json!({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4})
}

/// How many answers were cut short because their caller left.
async fn left(engine: &Engine) -> usize {
    let metrics = engine.send("GET", "/metrics", "").await.body;
    let line = metrics
        .as_str()
        .unwrap()
        .lines()
        .find(|line| line.contains("{outcome=\"left\"}"));
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn four_streams_at_once_all_finish() {
    let engine = Engine::start(&["--slots", "4"]).await;
    let mut streams = Vec::new();
    for number in 0..4 {
        let question = format!("Count from {number} upwards.");
        let body = json!({"messages": [{"role": "user", "content": question}], "max_tokens": 20 + number,
            "logit_bias": {"0": -100, "2": -100}, "stream_options": {"include_usage": true}});
        streams.push(engine.stream(body).await);
    }
    for (number, stream) in streams.into_iter().enumerate() {
        let (text, reason, usage) = stream.finish().await;
        assert!(!text.is_empty());
        assert_eq!(reason, "length");
        assert_eq!(usage["completion_tokens"], 20 + number);
    }
}

#[tokio::test]
async fn a_caller_who_leaves_frees_the_slot() {
    let engine = Engine::start(&["--slots", "1", "--ctx", "8192"]).await;
    let mut stream = engine.stream(endless()).await;
    stream.under_way().await;
    let health = engine.send("GET", "/health", "").await;
    assert_eq!(health.body["busy"], 1);
    drop(stream);
    // With one slot this is answered only once that slot is free, and the other answer would take
    // far longer than the patience of this test.
    assert_eq!(engine.chat(short()).await.status, 200);
    assert_eq!(left(&engine).await, 1);
}

#[tokio::test]
async fn a_caller_who_leaves_before_a_plain_answer_frees_the_slot_too() {
    let engine = Engine::start(&["--slots", "1", "--ctx", "8192"]).await;
    {
        let asking = engine.chat(endless());
        let busy = async { while engine.send("GET", "/health", "").await.body["busy"] != 1 {} };
        tokio::select! {
            _ = asking => panic!("this answer takes longer"),
            () = busy => {}
        }
    }
    assert_eq!(engine.chat(short()).await.status, 200);
    assert_eq!(left(&engine).await, 1);
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again() {
    let engine = Engine::start(&["--slots", "1", "--queue", "1", "--ctx", "8192"]).await;
    let mut answering = engine.stream(endless()).await;
    answering.under_way().await;
    let waiting = engine.stream(short()).await;
    let refused = engine.chat(short()).await;
    assert_eq!((refused.status, refused.code()), (503, "engine_busy"));
    assert!(refused.headers.contains_key("retry-after"));
    // The one who waits leaves: its place is free at once. The one who answers leaves: all is free.
    drop(waiting);
    drop(answering);
    let busy = async {
        loop {
            let health = engine.send("GET", "/health", "").await.body;
            if health["busy"] == 0 && health["waiting"] == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(crate::running::PATIENCE, busy)
        .await
        .expect("freed");
    assert_eq!(engine.chat(short()).await.status, 200);
}

#[tokio::test]
async fn a_long_prompt_does_not_stop_the_streams_of_others() {
    let engine = Engine::start(&["--slots", "2", "--ctx", "4096"]).await;
    let mut stream = engine.stream(endless()).await;
    stream.under_way().await;
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(150);
    let asking = engine.chat(json!({"messages": [{"role": "user", "content": long}], "max_tokens": 1}));
    let mut asking = std::pin::pin!(asking);
    let mut heard = 0;
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer,
            event = stream.next() => {
                event.expect("still streaming");
                heard += 1;
            }
        }
    };
    assert_eq!(answer.status, 200);
    let prompt = answer.body["usage"]["prompt_tokens"].as_u64().unwrap();
    // One event a step, one chunk of 64 a step.
    assert!(
        heard as u64 >= prompt / 64 / 2,
        "{heard} events during {prompt} prompt tokens"
    );
}
