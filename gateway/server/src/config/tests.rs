use std::path::Path;

use super::{read::Located, *};

fn parse(source: &str) -> Result<Config, Vec<Located>> {
    Config::parse(source, Path::new("/etc/cordon"))
}

#[test]
fn an_empty_file_is_valid() {
    for source in ["", "\n# nothing\n---\n", "{}"] {
        let config = parse(source).unwrap();
        assert_eq!(config.listen.gateway.port(), 8443);
        assert_eq!(config.dir, Path::new("/etc/cordon/cordon-state"));
    }
}

#[test]
fn errors_say_where() {
    let faults = parse("listen:\n  gatway: 127.0.0.1:1\n").unwrap_err();
    assert_eq!(faults[0].0.0, 2, "{faults:?}");
    let faults = parse("limits:\n  json_depth: 0\n").unwrap_err();
    assert_eq!(faults[0].0, (2, 3));
    let faults = parse("store: mysql://x\n").unwrap_err();
    assert_eq!(faults[0].0, (1, 1));
    let faults = parse("store: ${env:CORDON_NO_SUCH_VARIABLE}\n").unwrap_err();
    assert!(faults[0].1.contains("CORDON_NO_SUCH_VARIABLE"));
}

#[test]
fn waiting_for_postgresql_needs_one() {
    let faults = parse("audit:\n  durability: local+postgres\n").unwrap_err();
    assert_eq!(faults[0].0, (2, 3), "{faults:?}");
    let config = parse("store: postgres://db/audit\naudit: { durability: local+postgres }\n").unwrap();
    assert_eq!(config.audit.durability, audit::Durability::LocalAndPostgres);
    for wrong in [
        "durability: fast",
        "heartbeat_seconds: 0",
        "store_wait_seconds: 301",
    ] {
        assert!(parse(&format!("audit:\n  {wrong}\n")).is_err(), "{wrong}");
    }
}

#[test]
fn keys_apart_are_apart() {
    let with = |keys: &str| {
        parse(&format!(
            "store: postgres://db/audit\naudit:\n  keys: {{ store: '{keys}' }}\n"
        ))
    };
    let stored = |keys: &str| with(keys).unwrap().audit.keys.store.unwrap().value().to_owned();
    assert_eq!(stored("postgres://vault/keys"), "postgres://vault/keys");
    assert_eq!(stored("keys.db"), "/etc/cordon/keys.db");
    assert_eq!(stored("sqlite:/var/lib/keys.db"), "/var/lib/keys.db");
    for wrong in ["postgres://db/audit", "mysql://x", ""] {
        let faults = with(wrong).unwrap_err();
        assert!(faults[0].1.contains("`audit.keys.store`"), "{wrong}: {faults:?}");
    }
}

#[test]
fn a_cloud_upstream_is_reached_over_tls_only() {
    let faults = parse("intercept: { hosts: [a.example] }\nupstreams:\n  x: { kind: cloud, hosts: [a.example], url: 'http://a.example' }\n")
        .unwrap_err();
    assert!(faults[0].1.contains("https"), "{faults:?}");
}

#[test]
fn a_cloud_that_is_not_intercepted_is_an_error() {
    let faults =
        parse("upstreams:\n  azure: { kind: cloud, hosts: [x.openai.azure.example] }\n").unwrap_err();
    assert_eq!(faults[0].0, (2, 3));
    assert!(faults[0].1.contains("intercept.hosts"), "{faults:?}");
}

#[test]
fn questions_go_to_no_cloud() {
    let with = |kind: &str| {
        parse(&format!(
            "intercept: {{ hosts: [a.example] }}\nquestions: {{ upstream: a }}\nupstreams:\n  a: {{ kind: {kind}, hosts: [a.example] }}\n"
        ))
    };
    assert!(with("cluster").is_ok());
    let faults = with("cloud").unwrap_err();
    assert_eq!(faults[0].0, (2, 1));
    assert!(
        faults[0].1.contains("must be `engine` or a cluster"),
        "{faults:?}"
    );
    assert!(parse("questions: { upstream: nobody }\n").is_err());
    assert!(parse("questions: { window_bytes: 10 }\n").is_err());
}

#[test]
fn subdomains_are_intercepted_and_lookalikes_are_not() {
    let config = Config::default();
    assert!(config.intercepts("api.openai.com") && config.intercepts("AB.ChatGPT.com."));
    assert!(!config.intercepts("notchatgpt.com") && !config.intercepts("openai.com"));
}

#[test]
fn a_listed_host_is_one_however_it_is_written() {
    let config = parse(
        "intercept: { hosts: [API.OpenAI.com.], ech_names: [Cloudflare-ECH.com.] }\nupstreams:\n  openai: { kind: cloud, hosts: [Api.openai.com.] }\n",
    )
    .unwrap();
    assert!(config.intercepts("api.openai.com") && config.intercepts("eu.api.openai.com"));
    assert_eq!(config.intercept.ech_names, ["cloudflare-ech.com"]);
    assert_eq!(config.upstreams["openai"].hosts, ["api.openai.com"]);
    for entry in [
        "https://api.openai.com",
        "*.openai.com",
        "api.openai.com:443",
        "10.0.0.1",
    ] {
        let faults = parse(&format!("upstreams: {{}}\nintercept:\n  hosts: ['{entry}']\n")).unwrap_err();
        assert_eq!(faults[0].0, (3, 3), "{entry}");
    }
}

#[test]
fn what_takes_a_restart_is_told_from_what_does_not() {
    let old = parse("policy: a.yaml\n").unwrap();
    let new = parse("policy: b.yaml\nidentity: { anonymous_loopback: true }\n").unwrap();
    assert!(new.fixed_keys_unlike(&old).is_empty());
    let new =
        parse("identity:\n  networks: [{ network: 10.0.0.0/8 }]\n  certificate_groups: [staff]\n").unwrap();
    assert!(new.fixed_keys_unlike(&old).is_empty());
    let mut taken = old.clone();
    taken.take_up(&new);
    assert_eq!(taken.identity, new.identity);
    let new = parse("listen: { admin: '127.0.0.1:1' }\nlog: { format: json }\n").unwrap();
    assert_eq!(new.fixed_keys_unlike(&old), ["listen", "log"]);
}

#[test]
fn amazons_credentials_are_for_a_cloud_whose_region_is_known() {
    let with = |host: &str, more: &str| {
        parse(&format!(
            "intercept: {{ hosts: [{host}] }}\nupstreams:\n  a: {{ kind: cloud, hosts: [{host}], aws: {{ access_key_id: AKID, secret_access_key: hush{more}\n"
        ))
    };
    let host = "bedrock-runtime.eu-west-1.amazonaws.com";
    let config = with(host, " } }").unwrap();
    let aws = config.upstreams["a"].aws.as_ref().unwrap();
    assert_eq!((aws.service.as_str(), &aws.region), ("bedrock", &None));
    assert!(!format!("{config:?}").contains("hush"));
    assert!(with("bedrock.example", ", region: eu-west-1 } }").is_ok());
    for (host, more, why) in [
        ("bedrock.example", " } }", "needs a `region`"),
        (
            host,
            " }, credentials: sk-live }",
            "takes the place of `credentials`",
        ),
        (
            host,
            ", session_token: '${env:CORDON_NO_SUCH_VARIABLE}' } }",
            "CORDON_NO_SUCH_VARIABLE",
        ),
    ] {
        let faults = with(host, more).unwrap_err();
        assert!(faults[0].1.contains(why), "{faults:?}");
    }
}

#[test]
fn secrets_do_not_show() {
    let config =
        parse("intercept: { hosts: [a.example] }\nupstreams:\n  a: { kind: cloud, hosts: [a.example], credentials: sk-live }\n").unwrap();
    assert!(!format!("{config:?}").contains("sk-live"));
}

#[test]
fn the_published_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/config.schema.json");
    let published = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        published == Config::schema(),
        "docs/config.schema.json is out of date: run `cordon check --schema > docs/config.schema.json`"
    );
}

#[test]
fn the_engines_models_and_adapters_have_names_of_their_own() {
    let text = "engine:\n  alias: small\n  models: {coder: {path: c.gguf, slots: 2}}\n  adapters: {legal: {path: l.gguf, model: coder, scale: 0.5}}\n";
    let config = parse(text).unwrap();
    assert_eq!(config.engine.models["coder"].slots, Some(2));
    assert_eq!(config.engine.adapters["legal"].model.as_deref(), Some("coder"));
    for (wrong, told) in [
        ("models: {small: {path: a}}", "first model's name"),
        ("models: {'a b': {path: a}}", "no model's name"),
        ("models: {a: {path: 'x,y'}}", "comma"),
        ("models: {a: {path: x, slots: 0}}", "at least 1"),
        (
            "models: {a: {path: x}}\n  adapters: {a: {path: y}}",
            "a model and an adapter",
        ),
        ("adapters: {a: {path: x, model: b}}", "no `b`"),
        ("adapters: {a: {path: x, scale: 11}}", "0 to 10"),
    ] {
        let faults = parse(&format!("engine:\n  alias: small\n  {wrong}\n")).unwrap_err();
        assert!(faults[0].1.contains(told), "{wrong}: {faults:?}");
    }
}
