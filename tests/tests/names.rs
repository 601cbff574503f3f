//! Names that no list holds, through the whole path, with the real token classifier.

use std::process::Command;

use cordon_tests::{
    Places,
    caller::{Caller, Door, Reply},
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    replies::{Deltas, Talk, echo_divided},
    upstream::Upstream,
};

/// Made up, and on no list.
const NAME: &str = "Thandiwe Okonkwo-Reyes";

struct Scene {
    cloud: Upstream,
    on_prem: Upstream,
}

impl Scene {
    async fn new() -> Self {
        let cloud = Upstream::behind_tls().await;
        cloud.answer(|seen| echo_divided(seen, Deltas::Of(3)));
        Self {
            cloud,
            on_prem: Upstream::in_place_of_engine().await,
        }
    }

    fn home(&self, names: &str, ner: &str) -> Home {
        Home::new(&Plan {
            policy: Some(format!("{names}{POLICY_REQUESTED}")),
            further: format!("ner: {{ dir: '{}', {ner} }}\n", Places::names().display()),
            ..Plan::with_cloud(OnPrem::StandIn(&self.on_prem), &self.cloud)
        })
    }

    async fn ask(&self, home: &Home) -> Reply {
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        let text = format!("Yesterday I spoke with {NAME} about the delivery; write her a short letter.");
        let caller = Caller::new(&cordon, Door::Proxy, &key);
        let reply = caller.post(Talk::Chat, &Talk::Chat.request(&text, false)).await;
        let reply = reply.expect("Cordon answers");
        home.record(reply.exchange()).await;
        reply
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_list_holds_does_not_leave_and_comes_back() {
    let scene = Scene::new().await;
    let home = scene.home("names: { needed: true }\n", "threads: 1");
    let reply = scene.ask(&home).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!scene.cloud.knows("Okonkwo") && !scene.cloud.knows("Thandiwe"));
    assert!(reply.said(Talk::Chat).text.contains(NAME), "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_deadline_the_request_is_refused() {
    let scene = Scene::new().await;
    let home = scene.home("", "deadline_ms: 0");
    let reply = scene.ask(&home).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(!reply.header("retry-after").is_empty());
    assert!(reply.refusal(Talk::Chat).contains("names"), "{}", reply.text());
    assert!(scene.cloud.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn or_goes_on_without_names_where_the_policy_says_so() {
    let scene = Scene::new().await;
    let home = scene.home("names: { late: structured-only }\n", "deadline_ms: 0");
    let reply = scene.ask(&home).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        scene.cloud.knows("Okonkwo"),
        "the stand-in for what nobody looked for"
    );
}

#[test]
fn a_policy_that_needs_names_does_not_start_without_them() {
    let home = Home::new(&Plan {
        policy: Some(format!("names: {{ needed: true }}\n{POLICY_REQUESTED}")),
        ..Plan::on(OnPrem::Url("http://127.0.0.1:9".to_owned()))
    });
    for (command, code) in [("check", 1), ("serve", 2)] {
        let output = home.try_run(&[command]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("names.needed"), "{said}");
    }
    // A folder that was named and is not whole is told by file.
    let home = Home::new(&Plan {
        further: "ner: { dir: nowhere }\n".to_owned(),
        ..Plan::on(OnPrem::Url("http://127.0.0.1:9".to_owned()))
    });
    let output = home.try_run(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("nowhere/model.onnx"), "{said}");
}

#[test]
fn explanations_ask_the_classifier_when_told_to() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let config = folder.path().join("cordon.yaml");
    std::fs::write(
        &config,
        format!("ner: {{ dir: '{}' }}\n", Places::names().display()),
    )
    .expect("the temporary folder takes files");
    let explain = |further: &[&str]| {
        let output = Command::new(Places::cordon())
            .args(["detectors", "explain", "--text"])
            .arg(format!("Please forward this to {NAME} before noon."))
            .arg("--config")
            .arg(&config)
            .args(further)
            .env_clear()
            .output()
            .expect("the binary can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (told, said) = explain(&[]);
    assert!(!told.contains("person-recognised"), "{told}");
    assert!(said.contains("--names"), "{said}");
    let (told, said) = explain(&["--names"]);
    assert!(told.contains("PERSON by person-recognised"), "{told}");
    assert_eq!(said, "");
}
