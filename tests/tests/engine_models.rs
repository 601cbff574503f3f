//! Several models and adapters in the engine: callers ask for them by name, and who asks for any other is answered by the first.

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Home, OnPrem, Plan},
    replies::Talk,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn callers_choose_among_the_engines_models() {
    let further = format!(
        "alias: small, models: {{ coder: {{ path: '{}', slots: 1, context: 1024, keep_alive_seconds: 600 }} }}",
        Places::weights().display()
    );
    let home = Home::new(&Plan::on(OnPrem::SpawnedWith(further)));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Gateway, &key);
    for talk in [Talk::Chat, Talk::Messages] {
        for (asked, answers) in [("coder", "coder"), ("gpt-5", "small"), ("small", "small")] {
            let mut body = talk.request("Say hello.", false);
            body["model"] = asked.into();
            body["max_tokens"] = 4.into();
            let reply = caller.post(talk, &body).await.expect("answered");
            assert_eq!(reply.status, 200, "{talk:?} {asked}: {}", reply.text());
            let told = reply.json();
            // Anthropic's replies say the name that was asked for, whoever answered.
            let said = if talk == Talk::Chat { answers } else { asked };
            assert_eq!(told["model"], said, "{talk:?} {asked}: {told}");
        }
    }
    let mut line = caller
        .line(Talk::Chat.host(), false)
        .await
        .expect("Cordon takes a connection");
    let listed = line
        .send("GET", "/v1/models", &[])
        .await
        .expect("answered")
        .json();
    let names: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].clone())
        .collect();
    assert_eq!(names, [json!("small"), json!("coder")]);
    assert!(
        home.search(&[])
            .iter()
            .any(|exchange| exchange.to_string().contains("coder"))
    );
}
