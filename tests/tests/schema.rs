//! Requests that a program makes up from a description of the API: in order, and broken in every way that the description
//! lets it think of. None ends in a fault of the server's, and what is refused is refused in its dialect's form.

use cordon_tests::{
    Places,
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    program::Program,
    replies::{Deltas, say},
    upstream::Upstream,
};

/// Like a provider, it answers whatever it is asked; what it would refuse is not what this is about.
async fn answering(upstream: Upstream) -> Upstream {
    upstream.answer(|seen| say(seen, "answered", Deltas::Whole));
    upstream
}

/// Runs schemathesis at the gateway under a policy.
async fn try_all(policy: &str) {
    let cloud = answering(Upstream::behind_tls().await).await;
    let on_prem = answering(Upstream::in_place_of_engine().await).await;
    let home = Home::new(&Plan {
        policy: Some(policy.to_owned()),
        credentials: "the-companys-key",
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let description = Places::client_script("chat_api.yaml").display().to_string();
    let url = format!("https://localhost:{}", cordon.gateway().port());
    let bundle = cordon.bundle().display().to_string();
    let login = format!("Authorization: Bearer {key}");
    let ran = Program::schemathesis(&[
        &description,
        "--url",
        &url,
        "--tls-verify",
        &bundle,
        "--header",
        &login,
        "--phases",
        "coverage,fuzzing",
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples",
        "40",
        "--seed",
        "1",
        "--request-timeout",
        "10",
        "--generation-database",
        "none",
        "--continue-on-failure",
    ])
    .run()
    .await;
    assert_eq!(ran.code, 0, "{}\n{}", ran.output(), cordon.log());
    assert_eq!(ran.shows("No issues found"), 1, "{}", ran.output());
    assert!(!cordon.log().contains("panicked"), "{}", cordon.log());
    // Some were good enough to be answered.
    let asked = cloud.seen().len() + on_prem.seen().len();
    assert!(asked > 100, "{asked} were passed on\n{}", ran.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_that_a_description_gives_rise_to_ends_in_a_fault_before_a_provider() {
    try_all(POLICY_REQUESTED).await;
}

/// Where the engine answers, each request is put into its dialect, or told why it cannot be.
#[tokio::test(flavor = "multi_thread")]
async fn nor_before_the_companys_own_model() {
    try_all("unknown: block\nroutes:\n  - { id: ours, when: 'true', to: engine }\nrules:\n  - { id: all, entities: ['*'], action: allow }\n").await;
}
