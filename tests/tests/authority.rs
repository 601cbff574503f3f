//! The authority while Cordon runs: its root changes without a restart and without a caller that fails, its keys can be
//! in a hardware token, and keys that others may read are not used.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use cordon_tests::{
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, Plan},
    tls::trusting,
    upstream::Upstream,
};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Shared libraries of SoftHSM, where Debian and others put them.
const SOFTHSM: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
];

/// Whether a caller who trusts just these roots gets through to an intercepted host.
async fn gets_in(cordon: &Cordon, key: &str, roots: &str) -> bool {
    let caller = Caller::new(cordon, Door::Proxy, key);
    let mut stream = TcpStream::connect(cordon.proxy()).await.expect("Cordon accepts");
    let answer = caller
        .ask_connect(&mut stream, "api.openai.com:443")
        .await
        .expect("Cordon answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let name = ServerName::try_from("api.openai.com").expect("a name");
    TlsConnector::from(trusting(roots, &["http/1.1"]))
        .connect(name, stream)
        .await
        .is_ok()
}

async fn until(cordon: &Cordon, key: &str, roots: &str, wanted: bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while gets_in(cordon, key, roots).await != wanted {
        assert!(
            tokio::time::Instant::now() < deadline,
            "callers get in: still not {wanted}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reloads that came into force so far.
fn reloads(metrics: &str) -> u64 {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix("cordon_reloads_total{outcome=\"done\"} "))
        .map_or(0, |count| count.parse().expect("a counter is a number"))
}

fn count(pem: &str) -> usize {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter(Result::is_ok)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_changes_while_callers_trust_both() {
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan::on(OnPrem::StandIn(&on_prem)));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let text = |arguments: &[&str]| String::from_utf8_lossy(&home.run(arguments).stdout).into_owned();
    let old = text(&["ca", "export"]);
    assert_eq!(count(&old), 1);
    assert!(gets_in(&cordon, &key, &old).await);
    assert_eq!(home.try_run(&["ca", "rotate", "--switch"]).status.code(), Some(2));

    home.run(&["ca", "rotate", "--next"]);
    let new = text(&["ca", "export", "--next"]);
    let both = text(&["ca", "export"]);
    assert_eq!((count(&new), count(&both)), (1, 2));
    assert!(text(&["ca", "export", "--bundle"]).contains(new.trim()));
    // The pages hand both out, as soon as the files stand still.
    cordon
        .admin_until("/ca.pem", |page| count(&page.text()) == 2)
        .await;
    assert!(gets_in(&cordon, &key, &old).await && !gets_in(&cordon, &key, &new).await);

    home.run(&["ca", "rotate", "--switch"]);
    until(&cordon, &key, &new, true).await;
    assert!(gets_in(&cordon, &key, &both).await && !gets_in(&cordon, &key, &old).await);
    assert!(text(&["ca", "status"]).contains("old, still trusted"));

    home.run(&["ca", "rotate", "--back"]);
    until(&cordon, &key, &old, true).await;
    home.run(&["ca", "rotate", "--switch"]);
    until(&cordon, &key, &new, true).await;

    home.run(&["ca", "rotate", "--retire"]);
    cordon
        .admin_until("/ca.pem", |page| page.text().trim() == new.trim())
        .await;
    assert!(gets_in(&cordon, &key, &new).await && !gets_in(&cordon, &key, &old).await);

    // Intermediates are renewed without a restart as well, and callers notice nothing.
    let before = reloads(&cordon.admin_get("/metrics").await.text());
    home.run(&["ca", "rotate"]);
    cordon
        .admin_until("/metrics", |page| reloads(&page.text()) > before)
        .await;
    assert!(gets_in(&cordon, &key, &new).await);
    let metrics = cordon.admin_get("/metrics").await.text();
    for certificate in ["root", "interception", "gateway"] {
        let line = format!("cordon_ca_expires_seconds{{certificate=\"{certificate}\"}} ");
        let seconds: i64 = metrics
            .lines()
            .find_map(|found| found.strip_prefix(&line))
            .and_then(|seconds| seconds.parse().ok())
            .expect("the metric is there");
        assert!(seconds > 700 * 24 * 3600, "{certificate}: {seconds}");
    }
    assert!(!metrics.contains("outcome=\"refused\""), "{}", cordon.log());

    // Each step is on record, with the fingerprints of what mints and what is trusted beside it.
    assert_eq!(cordon.terminate().await, Some(0));
    let events = home.search(&["--events"]);
    let steps: Vec<_> = events
        .iter()
        .rev()
        .map(|event| &event["body"])
        .filter(|body| body["kind"] == "trust_reloaded" || body["kind"] == "started")
        .map(|body| {
            assert_ne!(body["accepted"], false, "{events:#?}");
            let of = |which: &str| body["trust"]["certificates"][which].as_str();
            (of("root"), of("also_trusted"))
        })
        .collect();
    let (old, new) = (fingerprint(&old), fingerprint(&new));
    let (old, new) = (Some(old.as_str()), Some(new.as_str()));
    assert_eq!(
        steps,
        [
            (old, None),
            (old, new),
            (new, old),
            (old, new),
            (new, old),
            (new, None),
            (new, None),
        ],
        "{events:#?}"
    );
    home.run(&["audit", "verify"]);
}

/// SHA-256 of a certificate in hex, as OpenSSL tells it.
fn fingerprint(pem: &str) -> String {
    let mut openssl = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is installed (scripts/packages)");
    let mut stdin = openssl.stdin.take().expect("it is piped");
    stdin.write_all(pem.as_bytes()).expect("openssl reads");
    drop(stdin);
    let output = openssl.wait_with_output().expect("its output can be read");
    let told = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    let (_, digits) = told.split_once('=').expect("openssl tells the fingerprint");
    digits.trim().replace(':', "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_may_read_keeps_cordon_from_starting() {
    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan::on(OnPrem::StandIn(&on_prem)));
    let key = home.path().join("state/ca/intermediate.key");
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("the key is ours");
    let output = home.try_run(&["serve"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("intermediate.key") && told.contains("chmod 600"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_intermediates_keys_can_be_in_a_token() {
    let module = SOFTHSM
        .into_iter()
        .find(|module| fs::exists(module).unwrap_or_default())
        .expect("SoftHSM is installed (scripts/packages)");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).expect("the folder is ours");
    let settings = folder.path().join("softhsm2.conf");
    fs::write(
        &settings,
        format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        ),
    )
    .expect("the folder is ours");
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "cordon-test",
            "--so-pin",
            "87654321",
            "--pin",
            "471147",
        ])
        .env("SOFTHSM2_CONF", &settings)
        .output()
        .expect("SoftHSM is installed (scripts/packages)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let on_prem = Upstream::in_place_of_engine().await;
    let home = Home::new(&Plan::on(OnPrem::StandIn(&on_prem)));
    let ca = home.path().join("state/ca");
    fs::remove_dir_all(&ca).expect("the authority is ours");
    let config = fs::read_to_string(home.path().join("cordon.yaml")).expect("the configuration is there");
    let token =
        format!("{{ module: {module}, token: cordon-test, key_label: interception, pin: '${{file:pin}}' }}");
    home.write(
        "cordon.yaml",
        &config.replace(
            "intercept:\n",
            &format!("intercept:\n  authority: {{ pkcs11: {token} }}\n"),
        ),
    );
    home.write("pin", "471147\n");
    home.set("SOFTHSM2_CONF", &settings.display().to_string());
    home.run(&["ca", "init"]);
    assert!(!ca.join("intermediate.key").exists() && !ca.join("gateway.key").exists());
    assert!(
        ca.join("root.key").exists(),
        "the root's key is a file, to be kept offline"
    );

    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let root = cordon.ca_pem();
    assert!(gets_in(&cordon, &key, &root).await);
    // Renewed under the same root: other keys in the token, taken up while it runs.
    home.run(&["ca", "rotate"]);
    cordon
        .admin_until("/metrics", |page| reloads(&page.text()) > 0)
        .await;
    assert!(gets_in(&cordon, &key, &root).await);
    // And the root: both authorities have their keys in the token.
    home.run(&["ca", "rotate", "--next"]);
    home.run(&["ca", "rotate", "--switch"]);
    let new = String::from_utf8_lossy(&home.run(&["ca", "export", "--next"]).stdout).into_owned();
    until(&cordon, &key, &new, true).await;
    home.run(&["ca", "rotate", "--retire"]);
    drop(cordon);
    let cordon = home.serve().await;
    assert!(gets_in(&cordon, &key, &new).await);
    drop(cordon);

    home.write("pin", "000000\n");
    let refused = home.try_run(&["serve"]);
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("token") && !told.contains("000000"), "{told}");
}
