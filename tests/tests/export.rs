//! An export as its users see it: three files that the auditor checks, on record, with nothing in them that somebody wrote.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use cordon_tests::scene::Scene;
use serde_json::Value;

const USER: &str = "canary.kim";
const EMAIL: &str = "jane.canary@corp.example";
const CARD: &str = "4539578763621486";

fn holds(path: &Path, text: &str) -> bool {
    let bytes = fs::read(path).expect("an exported file");
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_checked_on_record_and_holds_no_text() {
    let scene = Scene::new("").await;
    let key = scene.home.key(USER, "staff");
    let cordon = scene.home.serve().await;
    let reply = scene
        .paste(&cordon, &key, &format!("write to {EMAIL} about card {CARD}"))
        .await;
    let id = reply.header("x-cordon-exchange").to_owned();
    scene.home.record(&id).await;

    for format in ["jsonl", "csv", "parquet", "ocsf"] {
        let file = scene.path(&format!("export.{format}"));
        let wanted = [
            "audit", "export", "--format", format, "--out", &file, "--user", USER,
        ];
        scene.home.run(&wanted);
        let manifest = format!("{file}.manifest.json");
        let signature = format!("{manifest}.sig");
        for path in [&file, &manifest, &signature] {
            let mode = fs::metadata(path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path}");
            for canary in [USER, EMAIL, CARD, key.as_str()] {
                assert!(!holds(Path::new(path), canary), "{canary} in {path}");
            }
        }
        let told: Value = serde_json::from_slice(&fs::read(&manifest).expect("a manifest")).expect("JSON");
        let rows = if format == "jsonl" { 2 } else { 1 };
        assert_eq!(
            (told["rows"].as_u64(), told["records"].as_u64()),
            (Some(rows), Some(2))
        );
        assert_eq!(told["filter"]["user"], scene.home.reference(USER));
        let checked = scene.home.run(&["audit", "export", "--check", &file]);
        assert!(String::from_utf8_lossy(&checked.stdout).starts_with("ok "));

        let again = scene.home.try_run(&wanted);
        assert_eq!(again.status.code(), Some(2), "nothing is overwritten");
        let mut bytes = fs::read(&file).expect("a file");
        bytes[7] ^= 1;
        fs::write(&file, bytes).expect("the owner may write");
        let checked = scene.home.try_run(&["audit", "export", "--check", &file]);
        assert_eq!(checked.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&checked.stdout).contains("SHA-256"));
    }

    // One that is of no use is on record all the same, as it may have been read.
    let nowhere = scene.path("no/such/folder/export.jsonl");
    let failed = scene.home.try_run(&["audit", "export", "--out", &nowhere]);
    assert_eq!(failed.status.code(), Some(2));
    let events = scene.home.search(&["--events"]);
    let count = |kind: &str| {
        events
            .iter()
            .filter(|event| event["body"]["kind"] == kind)
            .count()
    };
    assert_eq!((count("export_started"), count("exported")), (5, 4));
    assert!(cordon.terminate().await == Some(0));
    scene.home.run(&["audit", "verify"]);
}
