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
        .find(|line| line.contains("outcome=\"left\"}"));
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
    {
        let waiting = engine.chat(short());
        let refused = async {
            while engine.send("GET", "/health", "").await.body["waiting"] != 1 {}
            engine.chat(short()).await
        };
        let refused = tokio::select! {
            _ = waiting => panic!("the slot is busy for longer"),
            refused = refused => refused,
        };
        assert_eq!((refused.status, refused.code()), (503, "engine_busy"));
        assert!(refused.headers.contains_key("retry-after"));
        // The one who waits leaves: its place is free at once. The one who answers leaves: all is free.
    }
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

#[tokio::test]
async fn who_waits_too_long_is_told_so() {
    let engine = Engine::start(&["--slots", "1", "--queue-seconds", "1", "--ctx", "8192"]).await;
    let mut answering = engine.stream(endless()).await;
    answering.under_way().await;
    for streams in [false, true] {
        let mut body = short();
        body["stream"] = streams.into();
        let refused = engine.chat(body).await;
        assert_eq!((refused.status, refused.code()), (503, "engine_busy"));
        let seconds: u32 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
}

/// What `/slots` tells of the conversations that are being answered.
async fn busy_slots(engine: &Engine) -> Vec<Value> {
    let slots = engine.send("GET", "/slots", "").await.body;
    let slots = slots.as_array().unwrap().iter();
    slots
        .filter(|slot| slot["is_processing"] == true)
        .cloned()
        .collect()
}

#[tokio::test]
async fn one_account_neither_takes_all_slots_nor_all_of_the_queue() {
    let engine = Engine::start(&["--slots", "2", "--queue", "4", "--ctx", "8192"]).await;
    let path = "/v1/chat/completions";
    let agent = [("x-cordon-cache-salt", "agent")];
    let ask = |salt: &'static [(&'static str, &'static str)], body: Value| {
        engine.send_with("POST", path, salt, body.to_string())
    };
    let agent_asks = || ask(&[("x-cordon-cache-salt", "agent")], endless());
    let agent_asks_later = async || {
        while engine.send("GET", "/health", "").await.body["busy"] != 1 {}
        agent_asks().await
    };
    let waits = async |number: usize| {
        while engine.send("GET", "/health", "").await.body["waiting"] != number {}
    };
    let chat = async {
        // The first has its slot before the others come: else they would be one too many already.
        waits(2).await;
        // Two wait and one is answered: the agent's fourth is one too many, and somebody else is answered at once.
        let refused = engine
            .send_with("POST", path, &agent, endless().to_string())
            .await;
        assert_eq!((refused.status, refused.code()), (429, "too_many_waiting"));
        let answer = ask(&[("x-cordon-cache-salt", "chat")], short()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        // That slot stays free for the next who is somebody else.
        let freed = async { while busy_slots(&engine).await.len() != 1 {} };
        tokio::time::timeout(crate::running::PATIENCE, freed)
            .await
            .expect("freed");
        assert_eq!(engine.send("GET", "/health", "").await.body["waiting"], 2);
    };
    tokio::select! {
        _ = agent_asks() => panic!("this answer takes longer"),
        _ = agent_asks_later() => panic!("this answer takes longer"),
        _ = agent_asks_later() => panic!("this answer takes longer"),
        () = chat => {}
    }
}

#[tokio::test]
async fn chats_that_begin_alike_read_their_beginning_once() {
    let engine = Engine::start(&["--slots", "8", "--ctx", "1024"]).await;
    let rules = "Answer in one short sentence, and never mention the weather or the news. ".repeat(20);
    let ask = |number: usize| {
        engine.chat(json!({
            "messages": [{"role": "system", "content": rules}, {"role": "user", "content": format!("What is {number} plus 1?")}],
            "temperature": 0, "max_tokens": 4,
        }))
    };
    let answers = futures_util::future::join_all((0..8).map(ask)).await;
    let usage = |answer: &crate::running::Answer, path: &str| {
        answer.body["usage"].pointer(path).unwrap().as_u64().unwrap()
    };
    let prompt: u64 = answers.iter().map(|answer| usage(answer, "/prompt_tokens")).sum();
    let cached: u64 = answers
        .iter()
        .map(|answer| usage(answer, "/prompt_tokens_details/cached_tokens"))
        .sum();
    assert!(
        prompt / (prompt - cached) >= 5,
        "{cached} of {prompt} tokens were not read again"
    );
    // What was copied is what would have been read.
    let alone = Engine::start(&["--slots", "1", "--ctx", "1024"]).await;
    let body = json!({
        "messages": [{"role": "system", "content": rules}, {"role": "user", "content": "What is 5 plus 1?"}],
        "temperature": 0, "max_tokens": 1, "logprobs": true, "cache_prompt": false,
    });
    let fresh = alone.chat(body.clone()).await;
    let mut again = body;
    again["cache_prompt"] = true.into();
    let copied = engine.chat(again).await;
    assert!(usage(&copied, "/prompt_tokens_details/cached_tokens") > 200);
    let odds = |answer: &crate::running::Answer| {
        answer.body["choices"][0]["logprobs"]["content"][0]["logprob"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(fresh.text(), copied.text());
    // Batches of other sizes are computed by other kernels, which round differently.
    assert!(
        (odds(&fresh) - odds(&copied)).abs() < 0.3,
        "{} and {}",
        odds(&fresh),
        odds(&copied)
    );
}
