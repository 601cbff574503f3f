//! Callers of each dialect answered by an upstream that speaks `openai-chat` alone: the on-prem model, and a
//! provider that gets placeholders and whose answer comes back with the originals.

use cordon_tests::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    replies::{Deltas, call_tool, echo_divided, say},
    upstream::{Answer, Piece, Upstream},
};
use serde_json::{Value, json};

const EMAIL: &str = "rebecca.gardner@hanbit-semi.com";
const GOOGLE: &str = "generativelanguage.googleapis.com";

const GEMINI_TEXT: &str = "/candidates/0/content/parts/0/text";
const GEMINI_PLAIN: &str = "/v1beta/models/gemini-2.5-pro:generateContent";
const GEMINI_EVENTS: &str = "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse";
const GEMINI_ARRAY: &str = "/v1beta/models/gemini-2.5-pro:streamGenerateContent";

/// An installation whose on-prem model is a stand-in, and nothing else.
struct OnPremOnly {
    engine: Upstream,
    _home: Home,
    cordon: Cordon,
    key: String,
}

impl OnPremOnly {
    async fn new() -> Self {
        let engine = Upstream::in_place_of_engine().await;
        let home = Home::new(&Plan::on(OnPrem::StandIn(&engine)));
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        Self {
            engine,
            _home: home,
            cordon,
            key,
        }
    }

    async fn post(&self, target: &str, body: &Value) -> Reply {
        post(&self.cordon, &self.key, Door::Gateway, "localhost", target, body).await
    }
}

async fn post(cordon: &Cordon, key: &str, door: Door, host: &str, target: &str, body: &Value) -> Reply {
    Caller::new(cordon, door, key).post_to(host, target, body).await
}

fn gemini(text: &str) -> Value {
    json!({
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "tools": [{"functionDeclarations": [{"name": "send", "parameters":
            {"type": "OBJECT", "properties": {"to": {"type": "STRING"}}}}]}],
        "generationConfig": {"maxOutputTokens": 64},
    })
}

/// The replies in a stream of events.
fn events(reply: &Reply) -> Vec<Value> {
    reply
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("each event holds JSON"))
        .collect()
}

fn array(reply: &Reply) -> Vec<Value> {
    serde_json::from_slice(&reply.body).expect("the stream is one array")
}

fn said(items: &[Value], pointer: &str) -> String {
    items
        .iter()
        .filter_map(|item| item.pointer(pointer).and_then(Value::as_str))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn gemini_is_answered_by_the_on_prem_model() {
    let scene = OnPremOnly::new().await;
    scene
        .engine
        .answer(|seen| say(seen, "PONG from near by", Deltas::Of(3)));

    let plain = scene.post(GEMINI_PLAIN, &gemini("Ping.")).await;
    assert_eq!(plain.status, 200, "{}", plain.text());
    assert_eq!(
        plain.json().pointer(GEMINI_TEXT),
        Some(&json!("PONG from near by"))
    );
    assert_eq!(plain.json()["candidates"][0]["finishReason"], "STOP");
    assert_eq!(plain.json()["modelVersion"], "gemini-2.5-pro");
    let asked = scene.engine.asked().pop().expect("the model was asked").json();
    assert_eq!(asked["messages"], json!([{"role": "user", "content": "Ping."}]));
    assert_eq!(asked["max_tokens"], 64);
    assert_eq!(
        asked["tools"][0]["function"]["parameters"]["properties"]["to"]["type"],
        "string"
    );

    let streamed = scene.post(GEMINI_EVENTS, &gemini("Ping.")).await;
    assert_eq!(streamed.header("content-type"), "text/event-stream");
    assert!(streamed.complete);
    let items = events(&streamed);
    assert_eq!(said(&items, GEMINI_TEXT), "PONG from near by");
    assert!(items.len() > 3, "it is given as it comes: {}", streamed.text());
    let last = items.last().expect("there are events");
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert!(last["usageMetadata"]["totalTokenCount"].is_u64());

    let grown = scene.post(GEMINI_ARRAY, &gemini("Ping.")).await;
    assert_eq!(grown.header("content-type"), "application/json");
    assert!(grown.complete);
    assert_eq!(array(&grown), items);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_counts_and_errors_have_the_callers_form() {
    let scene = OnPremOnly::new().await;
    scene
        .engine
        .answer(|seen| call_tool(seen, r#"{"to": "the lab"}"#, Deltas::Of(4)));
    for target in [GEMINI_PLAIN, GEMINI_EVENTS] {
        let reply = scene.post(target, &gemini("Send it.")).await;
        let items = match target {
            GEMINI_PLAIN => vec![reply.json()],
            _ => events(&reply),
        };
        let call = items
            .iter()
            .find_map(|item| item.pointer("/candidates/0/content/parts/0/functionCall"))
            .unwrap_or_else(|| panic!("{}", reply.text()));
        assert_eq!(call["name"], "send");
        assert_eq!(call["args"], json!({"to": "the lab"}));
    }

    scene
        .engine
        .answer(|_| Answer::new(200, "application/json", r#"{"input_tokens": 12}"#));
    let count = scene
        .post(
            "/v1beta/models/g:countTokens",
            &json!({"contents": [{"parts": [{"text": "hi"}]}]}),
        )
        .await;
    assert_eq!(count.json()["totalTokens"], 12, "{}", count.text());

    // The model's process dies in the midst of its answer.
    scene
        .engine
        .answer(|seen| say(seen, "PONG from near by", Deltas::Of(3)).after(500, vec![Piece::Cut]));
    let broken = scene.post(GEMINI_EVENTS, &gemini("Ping.")).await;
    let items = events(&broken);
    assert!(
        items.last().expect("there are events")["error"]["code"].is_u64(),
        "{}",
        broken.text()
    );
    assert!(!broken.text().contains("finishReason"));
    let broken = scene.post(GEMINI_ARRAY, &gemini("Ping.")).await;
    let items = array(&broken);
    assert!(items.last().expect("there are items")["error"]["code"].is_u64());

    let asked = scene.engine.asked().len();
    let image = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data":
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}]}]});
    let refused = scene.post(GEMINI_PLAIN, &image).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["error"]["status"], "INVALID_ARGUMENT");
    let compact = scene
        .post("/v1/responses/compact", &json!({"model": "m", "input": "hi"}))
        .await;
    assert_eq!(compact.status, 400, "{}", compact.text());
    assert_eq!(scene.engine.asked().len(), asked, "nothing of that is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn originals_come_back_through_a_translation() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let plan = Plan {
        hosts: &[(GOOGLE, "openai-chat")],
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    };
    let home = Home::new(&plan);
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let prompt = gemini(&format!("Write to {EMAIL}."));

    cloud.answer(|seen| echo_divided(seen, Deltas::Of(3)));
    for target in [GEMINI_PLAIN, GEMINI_EVENTS, GEMINI_ARRAY] {
        let reply = post(&cordon, &key, Door::Proxy, GOOGLE, target, &prompt).await;
        let items = match target {
            GEMINI_PLAIN => vec![reply.json()],
            GEMINI_EVENTS => events(&reply),
            _ => array(&reply),
        };
        assert_eq!(
            said(&items, GEMINI_TEXT),
            format!("About {EMAIL}: done."),
            "{}",
            reply.text()
        );
    }
    cloud.answer(|seen| {
        let to = seen.placeholders().pop().unwrap_or_default();
        call_tool(seen, &json!({"to": to}).to_string(), Deltas::Of(3))
    });
    let reply = post(&cordon, &key, Door::Proxy, GOOGLE, GEMINI_EVENTS, &prompt).await;
    let call = events(&reply)
        .into_iter()
        .find_map(|item| {
            item.pointer("/candidates/0/content/parts/0/functionCall/args")
                .cloned()
        })
        .unwrap_or_else(|| panic!("{}", reply.text()));
    assert_eq!(call, json!({"to": EMAIL}));
    assert!(!cloud.knows(EMAIL));

    // The name of the language model is the caller's words, too, and it is put into the translated body.
    let target = format!("/v1beta/models/{EMAIL}:generateContent");
    let reply = post(&cordon, &key, Door::Proxy, GOOGLE, &target, &gemini("Ping.")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!cloud.knows(EMAIL));
    let records = home
        .searched_until(&["--user", "ann"], |all| all.len() >= 5)
        .await;
    assert_eq!(records.len(), 5);
    assert!(
        !format!("{records:?}").contains("hanbit-semi"),
        "a record holds what was found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_gets_no_thoughts_of_earlier_turns() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    let plan = Plan {
        hosts: &[(GOOGLE, "openai-chat")],
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    };
    let home = Home::new(&plan);
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    cloud.answer(|_| {
        let message =
            json!({"role": "assistant", "content": "Sent.", "reasoning_content": "I have to send it."});
        let reply = json!({"id": "chatcmpl-1", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 9}});
        Answer::new(200, "application/json", reply.to_string())
    });
    let user = json!({"role": "user", "parts": [{"text": "Send it."}]});
    let ask = json!({"contents": [user]});
    let reply = post(&cordon, &key, Door::Proxy, GOOGLE, GEMINI_PLAIN, &ask).await;
    let model = reply.json()["candidates"][0]["content"].clone();
    assert_eq!(model["parts"][0]["thought"], true, "{}", reply.text());
    let ask = json!({"contents": [user, model, user]});
    post(&cordon, &key, Door::Proxy, GOOGLE, GEMINI_PLAIN, &ask).await;
    let asked = cloud.asked().pop().expect("it was asked").json();
    assert_eq!(asked["messages"][1]["content"], "Sent.", "{asked:#}");
    assert!(!asked.to_string().contains("I have to send it."), "{asked:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_on_prem_model_gets_its_thoughts_back() {
    let scene = OnPremOnly::new().await;
    scene.engine.answer(|_| {
        let call = json!({"id": "call_1", "type": "function", "function": {"name": "send", "arguments": "{}"}});
        let message =
            json!({"role": "assistant", "content": null, "reasoning": "I have to send it.", "tool_calls": [call]});
        let reply = json!({"id": "chatcmpl-1", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 9}});
        Answer::new(200, "application/json", reply.to_string())
    });
    let tools =
        json!([{"type": "function", "name": "send", "parameters": {"type": "object", "properties": {}}}]);
    let user = json!({"role": "user", "content": "Send it."});
    let ask = |input: &[Value]| json!({"model": "m", "store": false, "tools": tools, "input": input});
    let reply = scene
        .post("/v1/responses", &ask(std::slice::from_ref(&user)))
        .await;
    let output = reply.json()["output"].as_array().cloned().expect("a response");
    assert_eq!(
        (&output[0]["type"], &output[0]["summary"][0]["text"]),
        (&json!("reasoning"), &json!("I have to send it.")),
        "{}",
        reply.text()
    );
    let result = json!({"type": "function_call_output", "call_id": "call_1", "output": "sent"});
    let input: Vec<Value> = [user].into_iter().chain(output).chain([result]).collect();
    scene.post("/v1/responses", &ask(&input)).await;
    let asked = scene.engine.asked().pop().expect("the model was asked").json();
    let turn = &asked["messages"][1];
    assert_eq!(turn["reasoning"], "I have to send it.", "{asked:#}");
    assert_eq!(turn["tool_calls"][0]["id"], "call_1");
}
