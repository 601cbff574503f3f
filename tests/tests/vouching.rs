//! What others say of the audit's checkpoints: a witness cosigns them, a folder and a bucket hold them, an authority stamps them. Each is
//! checked by a program that is not Cordon's: signatures of S3 by `botocore`, time stamps by `openssl`.

use std::{
    convert::Infallible,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, Plan},
    program::Program,
    replies::{Deltas, Talk, echo_divided},
    tls::TestAuthority,
    upstream::Upstream,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const PRIVATE: &str = "PRIVATE+KEY+cordon/acme+19110904+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const LOG: &str = "cordon/acme+19110904+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const TREE: &str = "cordon/acme/default/standard";

/// `cordon audit witness` in a folder.
struct Witness {
    child: Child,
    url: String,
    key: String,
}

impl Witness {
    fn start(dir: &Path, listen: &str) -> Self {
        Self::start_with(dir, listen, &[])
    }

    /// Behind TLS, with a certificate for a name.
    fn certified(dir: &Path, authority: &TestAuthority, name: &str) -> Self {
        let (certificate, key) = authority.pems(&[name]);
        fs::create_dir_all(dir).expect("a directory");
        let file = |name: &str, text: String| {
            fs::write(dir.join(name), text).expect("a file");
            dir.join(name).display().to_string()
        };
        let (certificate, key) = (file("tls.pem", certificate), file("tls.key", key));
        let mut witness = Self::start_with(
            dir,
            "127.0.0.1:0",
            &["--certificate", &certificate, "--tls-key", &key],
        );
        witness.url = witness.url.replace("https://127.0.0.1:", "https://localhost:");
        assert!(witness.url.starts_with("https://localhost:"), "{}", witness.url);
        witness
    }

    fn start_with(dir: &Path, listen: &str, further: &[&str]) -> Self {
        let mut child = Command::new(Places::cordon())
            .args([
                "audit", "witness", "--json", "--log", LOG, "--listen", listen, "--dir",
            ])
            .arg(dir)
            .args(further)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("the line is JSON");
        let text = |name: &str| ready[name].as_str().expect("a text").to_owned();
        Self {
            url: text("witness"),
            key: text("key"),
            child,
        }
    }

    fn name(&self) -> &str {
        self.key.split_once('+').expect("a key has a name").0
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bucket, and an authority for time stamps that is `openssl ts -reply`.
struct Outside {
    address: std::net::SocketAddr,
    objects: Arc<Mutex<Vec<Value>>>,
}

const OPENSSL: &str = "[tsa]\ndefault_tsa = one\n[one]\nserial = ./serial\nsigner_digest = sha256\n\
    default_policy = 1.2.3.4.1\ndigests = sha256\ness_cert_id_alg = sha256\n";

fn openssl(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output();
    let output = output.expect("openssl can be run");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(output.status.success(), "openssl {}: {told}", arguments.join(" "));
    told
}

impl Outside {
    async fn start(dir: PathBuf) -> Self {
        fs::write(dir.join("openssl.cnf"), OPENSSL).expect("a file");
        let make = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "tsa.key",
            "-out",
            "tsa.pem",
            "-subj",
            "/CN=TSA",
            "-addext",
            "extendedKeyUsage=critical,timeStamping",
            "-addext",
            "keyUsage=critical,digitalSignature",
        ];
        openssl(&dir, &make);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let outside = Self {
            address: listener.local_addr().expect("an address"),
            objects: Arc::default(),
        };
        let objects = Arc::clone(&outside.objects);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (objects, dir) = (Arc::clone(&objects), dir.clone());
                let service = service_fn(move |request| {
                    let (objects, dir) = (Arc::clone(&objects), dir.clone());
                    async move { Ok::<_, Infallible>(answer(request, &objects, &dir).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        outside
    }
}

async fn answer(
    request: Request<Incoming>,
    objects: &Mutex<Vec<Value>>,
    dir: &Path,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    if head.uri.path() == "/tsa" {
        assert_eq!(head.headers["content-type"], "application/timestamp-query");
        fs::write(dir.join("query"), &body).expect("a file");
        let reply = [
            "ts",
            "-reply",
            "-config",
            "openssl.cnf",
            "-queryfile",
            "query",
            "-inkey",
            "tsa.key",
            "-signer",
            "tsa.pem",
            "-out",
            "reply",
        ];
        openssl(dir, &reply);
        return Response::new(Full::new(fs::read(dir.join("reply")).expect("a reply").into()));
    }
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().expect("plain text")))
        .collect();
    let host = head.headers["host"].to_str().expect("plain text");
    objects.lock().expect("no panic before").push(json!({
        "method": head.method.as_str(),
        "url": format!("http://{host}{}", head.uri),
        "headers": headers,
        "body": STANDARD.encode(&body),
    }));
    Response::new(Full::default())
}

/// Waits until there is what is looked for, for half a minute at most.
async fn until<T>(what: &str, cordon: &Cordon, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come\n{}", cordon.log())
}

/// Asks, and says which exchange it was.
async fn ask(cordon: &Cordon, key: &str) -> String {
    let caller = Caller::new(cordon, Door::Gateway, key);
    let body = json!({"model": "any", "messages": [{"role": "user", "content": "hello"}]});
    let reply = caller.post(Talk::Chat, &body).await.expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.exchange().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_cosigned_published_and_stamped() {
    let scratch = tempfile::tempdir().expect("a directory");
    let witness = Witness::start(&scratch.path().join("witness"), "127.0.0.1:0");
    let outside = Outside::start(scratch.path().to_owned()).await;
    let on_prem = Upstream::in_place_of_engine().await;
    on_prem.answer(|seen| echo_divided(seen, Deltas::Whole));
    let further = format!(
        "audit:\n  signing_key: log.key\n  checkpoint_seconds: 1\n\
        \x20 witnesses: [{{ url: '{}', key: '{}' }}]\n\
        \x20 publish: [{{ directory: published }}, {{ bucket: {{ url: 'http://{}/bucket/audit/', aws: {{ access_key_id: KEYID, secret_access_key: a/secret+key, region: eu-west-1, service: s3 }} }} }}]\n\
        \x20 timestamps: {{ url: 'http://{}/tsa', every_seconds: 1 }}\n",
        witness.url, witness.key, outside.address, outside.address
    );
    let home = Home::new(&Plan {
        further,
        ..Plan::on(OnPrem::StandIn(&on_prem))
    });
    home.write("log.key", PRIVATE);
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let exchange = ask(&cordon, &key).await;

    // The folder has the cosigned checkpoint, and the stamp of one.
    let published = home.path().join("published").join(TREE);
    let signed_by = |name: &str| {
        let note = fs::read_to_string(published.join("checkpoint")).ok()?;
        note.contains(&format!("\n\u{2014} {name} ")).then_some(note)
    };
    let note = until("a cosignature", &cordon, || signed_by(witness.name())).await;
    assert!(note.starts_with(&format!("{TREE}\n")), "{note}");
    let stamp = until("a stamp", &cordon, || {
        let names = fs::read_dir(&published).ok()?.flatten().map(|entry| entry.path());
        names
            .filter(|path| path.extension().is_some_and(|it| it == "tsr"))
            .min()
    })
    .await;
    let stamped = fs::read_to_string(stamp.with_extension("")).expect("the checkpoint lies beside it");
    let (text, _) = stamped.rsplit_once("\n\n").expect("a note");
    fs::write(scratch.path().join("text"), format!("{text}\n")).expect("a file");
    let stamp = stamp.to_str().expect("a plain path");
    let verify = [
        "ts", "-verify", "-in", stamp, "-data", "text", "-CAfile", "tsa.pem",
    ];
    assert!(openssl(scratch.path(), &verify).contains("OK"));

    // The bucket got the same, signed as S3 wants it.
    let object = until("an object", &cordon, || {
        let objects = outside.objects.lock().expect("no panic before");
        let cosigned = |object: &&Value| {
            let body = object["body"]
                .as_str()
                .and_then(|body| STANDARD.decode(body).ok());
            let named = object["url"]
                .as_str()
                .is_some_and(|url| url.ends_with(&format!("/bucket/audit/{TREE}/checkpoint")));
            named && body.is_some_and(|body| String::from_utf8_lossy(&body).contains(witness.name()))
        };
        objects.iter().find(cosigned).cloned()
    })
    .await;
    let arguments = ["KEYID", "a/secret+key", "eu-west-1", "s3", &object.to_string()];
    let ran = Program::python("check_signature.py", &arguments).run().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let hash = object["headers"]
        .as_array()
        .expect("headers")
        .iter()
        .any(|header| header[0] == "x-amz-content-sha256");
    assert!(hash, "{object}");

    // What was published agrees with the store.
    let folder = home.path().join("published");
    let folder = folder.to_str().expect("a plain path");
    home.run(&["audit", "verify", "--checkpoints", folder]);

    // A proof of the exchange holds by the log's key and the witness's, for Cordon and for a program of others.
    let file = home.path().join("proof.json");
    let file = file.to_str().expect("a plain path");
    until("a proof with the cosignature", &cordon, || {
        let _ = fs::remove_file(file);
        let made = home.try_run(&["audit", "proof", &exchange, "--out", file]);
        let proof = fs::read_to_string(file).unwrap_or_default();
        let whole = proof.contains("\\\"kind\\\":\\\"seal\\\"");
        (made.status.success() && whole && proof.contains(witness.name())).then_some(())
    })
    .await;
    let verified = Command::new(Places::cordon())
        .args([
            "audit",
            "verify",
            "--proof",
            file,
            "--key",
            LOG,
            "--witness",
            &witness.key,
            "--exchange",
            &exchange,
        ])
        .output()
        .expect("the binary can be run");
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{told}");
    assert!(
        told.contains(&format!("cosigned by {}", witness.name())),
        "{told}"
    );
    assert!(!told.contains("final record is not in the proof"), "{told}");
    let ran = Program::python("verify_proof.py", &[file, LOG, &witness.key])
        .run()
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");

    // While the witness is away, exchanges go on; when it is there again, it is shown what it has missed.
    let address = witness.url.trim_start_matches("http://").to_owned();
    let name = witness.name().to_owned();
    drop(witness);
    ask(&cordon, &key).await;
    let failed = format!("kind=\"witness\",name=\"{name}\",outcome=\"failed\"");
    cordon
        .admin_until("/metrics", |reply| reply.text().contains(&failed))
        .await;
    let before = signed_by("cordon/acme").expect("a checkpoint");
    let _witness = Witness::start(&scratch.path().join("witness"), &address);
    ask(&cordon, &key).await;
    until("another cosignature", &cordon, || {
        signed_by(&name).filter(|note| note.lines().nth(1) != before.lines().nth(1))
    })
    .await;
    assert!(cordon.log().contains("a checkpoint of the audit was not taken"));
    assert!(cordon.log().contains("checkpoints of the audit are taken again"));
    assert_eq!(cordon.terminate().await, Some(0));
}

/// A store that was set back is found out by whoever has cosigned it.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_is_not_shown_another_tree() {
    let scratch = tempfile::tempdir().expect("a directory");
    let witness = Witness::start(scratch.path(), "127.0.0.1:0");
    let on_prem = Upstream::in_place_of_engine().await;
    on_prem.answer(|seen| echo_divided(seen, Deltas::Whole));
    let serve = || async {
        let further = format!(
            "audit:\n  signing_key: log.key\n  checkpoint_seconds: 1\n  witnesses: [{{ url: '{}', key: '{}' }}]\n  publish: [{{ directory: published }}]\n",
            witness.url, witness.key
        );
        let home = Home::new(&Plan {
            further,
            ..Plan::on(OnPrem::StandIn(&on_prem))
        });
        home.write("log.key", PRIVATE);
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        ask(&cordon, &key).await;
        (home, cordon)
    };
    let (home, cordon) = serve().await;
    let checkpoint = home.path().join("published").join(TREE).join("checkpoint");
    until("a cosignature", &cordon, || {
        fs::read_to_string(&checkpoint)
            .ok()
            .filter(|note| note.contains(witness.name()))
    })
    .await;
    drop(cordon);
    // Another installation with the same key begins the same trees anew.
    let (_home, cordon) = serve().await;
    until("the witness's refusal", &cordon, || {
        let log = cordon.log();
        ["was the store set back", "was the store altered or set back"]
            .iter()
            .any(|words| log.contains(words))
            .then_some(())
    })
    .await;
}

/// A witness elsewhere is reached by TLS alone, and is who its certificate says.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_is_spoken_to_behind_a_certificate_that_verifies() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (ours, others) = (TestAuthority::new(), TestAuthority::new());
    let dir = |name: &str| scratch.path().join(name);
    let good = Witness::certified(&dir("good"), &ours, "localhost");
    let stranger = Witness::certified(&dir("stranger"), &others, "localhost");
    let misnamed = Witness::certified(&dir("misnamed"), &ours, "elsewhere.example");
    let on_prem = Upstream::in_place_of_engine().await;
    on_prem.answer(|seen| echo_divided(seen, Deltas::Whole));
    let witnesses: Vec<String> = [&good, &stranger, &misnamed]
        .map(|witness| format!("{{ url: '{}', key: '{}' }}", witness.url, witness.key))
        .into();
    let home = Home::new(&Plan {
        further: format!(
            "audit:\n  signing_key: log.key\n  checkpoint_seconds: 1\n  witnesses: [{}]\n  publish: [{{ directory: published }}]\n",
            witnesses.join(", ")
        ),
        ..Plan::on(OnPrem::StandIn(&on_prem))
    });
    home.write("log.key", PRIVATE);
    home.write("company-ca.pem", ours.pem());
    let config = fs::read_to_string(home.path().join("cordon.yaml")).expect("a configuration");
    let roots = "  other_hosts: refuse\n  extra_roots: [company-ca.pem]\n";
    home.write("cordon.yaml", &config.replace("  other_hosts: refuse\n", roots));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    ask(&cordon, &key).await;
    let checkpoint = home.path().join("published").join(TREE).join("checkpoint");
    until("a cosignature", &cordon, || {
        fs::read_to_string(&checkpoint)
            .ok()
            .filter(|note| note.contains(good.name()))
    })
    .await;
    for witness in [&stranger, &misnamed] {
        let counted = |outcome: &str| {
            format!(
                "kind=\"witness\",name=\"{}\",outcome=\"{outcome}\"",
                witness.name()
            )
        };
        let failed = counted("failed");
        let page = cordon
            .admin_until("/metrics", |reply| reply.text().contains(&failed))
            .await;
        assert!(!page.text().contains(&counted("done")), "{}", page.text());
        let note = fs::read_to_string(&checkpoint).expect("a checkpoint");
        assert!(!note.contains(witness.name()), "{note}");
    }
    let log = cordon.log();
    // The authorities of tests have one name.
    for why in ["a signature that does not fit", "for other hosts than the one"] {
        assert!(log.contains(why), "{why}: {log}");
    }
    assert_eq!(cordon.terminate().await, Some(0));
}
