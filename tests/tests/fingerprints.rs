//! The company's own files, records and planted strings, through the real gateway: sets are made by the command line while it
//! runs, and what is recognised is stopped and put on record by name, without the text.

use cordon_tests::{cordon::Cordon, scene::Scene};
use serde_json::{Value, json};

/// Minutes that nobody marked as anything.
const MINUTES: &str = "Right, the yield of the second line is at 61 percent since Monday. That is four points under what we promised \
    for the quarter, and the etch step is the bottleneck: chamber three drifts after forty wafers, and nobody could say whether the \
    new gas or the old pump is to blame. We would have to move the launch to October, which the board has not heard yet. Until \
    the supplier sends the replacement, every lot is measured twice, so the throughput falls by a third and the night shift stays on.";

const CUSTOMERS: &str =
    "number,first,last,town\n1,Ana,Jansson,Uppsala\n2,Björn,Öberg,Lund\n3,Chi,Tran,Lund\n";

/// Waits until the gateway has read its rules again so many times.
async fn reloaded(cordon: &Cordon, reloads: u32) {
    let line = format!("cordon_reloads_total{{outcome=\"done\"}} {reloads}\n");
    let metrics = cordon
        .admin_until("/metrics", |reply| reply.text().contains(&line))
        .await;
    assert!(metrics.text().contains(&line), "{}", metrics.text());
}

/// Runs `cordon fingerprint` and waits until the gateway has taken it up.
async fn fingerprint(scene: &Scene, cordon: &Cordon, reloads: u32, arguments: &[&str]) -> String {
    let mut all = vec!["fingerprint"];
    all.extend(arguments);
    let said = String::from_utf8(scene.home.run(&all).stdout).expect("it prints UTF-8");
    reloaded(cordon, reloads).await;
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_companys_own_stays_and_is_on_record_by_name() {
    let scene = Scene::new("").await;
    let key = scene.home.key("jiwoo", "cloud-users");
    let cordon = scene.home.serve().await;
    let excerpt: Vec<&str> = MINUTES.split(' ').skip(15).take(60).collect();
    let excerpt = format!("Make this shorter, please:\n\n{}", excerpt.join("\n"));

    // Nobody has made fingerprints yet: it is an ordinary text, and it leaves.
    let reply = scene.paste(&cordon, &key, &excerpt).await;
    assert_eq!(reply.decision(), "allow", "{}", reply.text());
    assert!(scene.cloud.knows("bottleneck"));
    scene.cloud.forget();

    std::fs::create_dir(scene.home.path().join("minutes")).unwrap();
    scene.home.write("minutes/2026-11.txt", MINUTES);
    let said = fingerprint(&scene, &cordon, 1, &["add", "board", &scene.path("minutes")]).await;
    assert!(said.starts_with("board: 1 added, 0 changed"), "{said}");

    let reply = scene.paste(&cordon, &key, &excerpt).await;
    assert_eq!(reply.decision(), "reroute", "{}", reply.text());
    assert!(scene.on_prem.knows("bottleneck"));
    assert!(scene.cloud.asked().is_empty());
    let record = scene.home.record(reply.exchange()).await;
    let body = &record["opening"]["body"];
    assert_eq!(body["entities"], json!({"CONFIDENTIAL.BOARD": 1}), "{record:#}");
    assert_eq!(body["sources"][0]["set"], "board");
    assert_eq!(body["sources"][0]["file"], "minutes/2026-11.txt");
    assert!(
        body["sources"][0]["percent"]
            .as_u64()
            .is_some_and(|percent| (30..90).contains(&percent)),
        "{record:#}"
    );
    assert!(!record.to_string().contains("bottleneck"));

    // Two cells of one row; one cell is nobody.
    scene.home.write("customers.csv", CUSTOMERS);
    let add = [
        "add",
        "customers",
        &scene.path("customers.csv"),
        "--columns",
        "first,last,town",
    ];
    let said = fingerprint(&scene, &cordon, 2, &add).await;
    assert!(said.starts_with("customers.csv: 3 rows"), "{said}");
    let reply = scene
        .paste(&cordon, &key, "What does one write to BJORN OBERG of all people?")
        .await;
    assert_eq!(reply.decision(), "reroute", "{}", reply.text());
    let record = scene.home.record(reply.exchange()).await;
    assert_eq!(
        record["opening"]["body"]["sources"][0]["file"], "customers.csv",
        "{record:#}"
    );
    assert!(scene.cloud.asked().is_empty());

    // A canary is printed once, and found in whatever form it comes.
    let canary = fingerprint(&scene, &cordon, 3, &["canary", "planted", "--make", "1"]).await;
    let text = format!("what is {}?", canary.trim().to_uppercase().replace('-', " "));
    let reply = scene.paste(&cordon, &key, &text).await;
    assert_eq!(reply.decision(), "reroute", "{}", reply.text());
    assert!(scene.cloud.asked().is_empty());

    // A set that is gone recognises nothing.
    fingerprint(&scene, &cordon, 4, &["remove", "board"]).await;
    let reply = scene.paste(&cordon, &key, &excerpt).await;
    assert_eq!(reply.decision(), "allow", "{}", reply.text());

    // So does another folder that the configuration names, once it is read again.
    std::fs::create_dir(scene.home.path().join("elsewhere")).unwrap();
    let config = std::fs::read_to_string(scene.path("cordon.yaml")).unwrap();
    scene
        .home
        .write("cordon.yaml", &format!("{config}fingerprints: elsewhere\n"));
    reloaded(&cordon, 5).await;
    let reply = scene.paste(&cordon, &key, &text).await;
    assert_eq!(reply.decision(), "allow", "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_are_listed_scanned_for_and_kept_private() {
    let scene = Scene::new("").await;
    let _ = scene.home.key("jiwoo", "cloud-users");
    std::fs::create_dir_all(scene.home.path().join("minutes/old")).unwrap();
    scene.home.write("minutes/old/november.txt", MINUTES);
    scene.home.write("minutes/short.txt", "yes");
    scene
        .home
        .run(&["fingerprint", "add", "board", &scene.path("minutes")]);
    let listed = scene
        .home
        .run(&["fingerprint", "list", "--json", "--verify"])
        .stdout;
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!(
        (&listed["set"], &listed["entity"], &listed["entries"]),
        (&json!("board"), &json!("CONFIDENTIAL.BOARD"), &json!(2))
    );
    let files = scene.home.run(&["fingerprint", "list", "board"]).stdout;
    assert_eq!(
        String::from_utf8_lossy(&files),
        "minutes/old/november.txt\nminutes/short.txt\n"
    );

    // Neither names nor words can be read from what is on disk.
    for entry in std::fs::read_dir(scene.home.path().join("state/fingerprints/board")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for word in ["november", "bottleneck"] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()));
        }
    }

    // `cordon scan` of the installation knows them, and says which file it is.
    scene.home.write("draft.txt", &MINUTES.to_uppercase());
    let scanned = scene
        .home
        .try_run(&["scan", "--format", "json", "--no-names", &scene.path("draft.txt")]);
    assert_eq!(scanned.status.code(), Some(1));
    let found: Value =
        serde_json::from_slice(scanned.stdout.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!(
        found["source"],
        json!({"set": "board", "file": "minutes/old/november.txt", "percent": 100}),
        "{found:#}"
    );

    // What is damaged is told, and nothing starts with it.
    let segment = scene.home.path().join("state/fingerprints/board/000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let checked = scene.home.try_run(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        said.contains("000001.seg cannot be used: its checksum is wrong"),
        "{said}"
    );
    let removed = scene.home.try_run(&["fingerprint", "remove", "nothing"]);
    assert_eq!(removed.status.code(), Some(2));
}
