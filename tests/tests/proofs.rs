//! A proof is checked offline by `cordon audit verify --proof`, and by a program of others' making: both say the same of
//! the same file. The file is one that Cordon made; the changes to it are each a lie that somebody could tell with it.

use std::{fs, path::PathBuf, process::Command};

use cordon_tests::{Places, program::Program};
use serde_json::{Value, json};

struct Judges {
    log: String,
    witness: String,
    dir: tempfile::TempDir,
}

impl Judges {
    fn new() -> Self {
        let keys = fs::read_to_string(proofs().join("keys.txt")).expect("it is in the repository");
        let mut keys = keys.lines().map(str::to_owned);
        let mut key = || keys.next().expect("two keys");
        Self {
            log: key(),
            witness: key(),
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    /// What both say of a file, which must be the same.
    async fn say(&self, proof: &str, change: &str) -> bool {
        let file = self.dir.path().join("proof.json");
        fs::write(&file, proof).expect("a file");
        let file = file.to_str().expect("a plain path");
        let ours = Command::new(Places::cordon())
            .args(["audit", "verify", "--proof", file])
            .args(["--key", &self.log, "--witness", &self.witness])
            .env_clear()
            .output()
            .expect("the binary can be run");
        let said = String::from_utf8_lossy(&ours.stdout).into_owned();
        let holds = match ours.status.code() {
            Some(0) => true,
            Some(1) => false,
            other => panic!(
                "{change}: {other:?} {said} {}",
                String::from_utf8_lossy(&ours.stderr)
            ),
        };
        let theirs = Program::python("verify_proof.py", &[file, &self.log, &self.witness])
            .run()
            .await;
        assert_eq!(
            theirs.code,
            i32::from(!holds),
            "{change}: Cordon says {said}the other says {}{}",
            theirs.stdout,
            theirs.stderr
        );
        holds
    }
}

fn proofs() -> PathBuf {
    Places::client_script("../proofs")
}

/// Every value within, by its pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{n}"), found);
            }
        }
        Value::Object(members) => {
            for (name, item) in members {
                pointers(item, &format!("{at}/{name}"), found);
            }
        }
        _ => {}
    }
}

/// Changes of one value, each of which makes the file say something else.
fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => {
            let chars: Vec<char> = text.chars().collect();
            let replaced = |at: usize| {
                let mut chars = chars.clone();
                chars[at] = if chars[at] == 'B' { 'C' } else { 'B' };
                json!(chars.into_iter().collect::<String>())
            };
            vec![
                replaced(chars.len() / 3),
                replaced(chars.len() - 3),
                json!(text[..text.len() - 1]),
                json!(format!("{text} ")),
                json!(1),
            ]
        }
        Value::Number(number) => {
            let number = number.as_i64().expect("an integer");
            vec![
                json!(number + 1),
                json!(-number),
                json!(number as f64),
                json!("5"),
            ]
        }
        Value::Array(items) => {
            let [mut fewer, mut more, mut turned] = [items.clone(), items.clone(), items.clone()];
            fewer.pop();
            more.extend(items.first().cloned());
            // Turning round what is the same from both ends changes nothing.
            turned.reverse();
            let mut all = vec![json!(fewer), json!(more)];
            all.extend((turned != *items).then_some(json!(turned)));
            all
        }
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert("more".to_owned(), json!(1));
            let mut all = vec![json!(more), json!([])];
            for name in members.keys() {
                let mut fewer = members.clone();
                fewer.remove(name);
                all.push(json!(fewer));
            }
            all
        }
        _ => Vec::new(),
    }
}

/// What is no lie: a part of what can be shown, or the same in another order.
fn is_true(pointer: &str, change: &Value) -> bool {
    match pointer {
        "/records" => {
            let records = change.as_array().expect("records");
            records.len() < 3 && !records.is_empty()
        }
        "/checkpoints/0" => change.get("note").is_some() && change.get("more").is_none(),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cordon_and_a_program_of_others_say_the_same_of_every_file() {
    let judges = Judges::new();
    let whole = fs::read_to_string(proofs().join("whole.json")).expect("it is in the repository");
    assert!(judges.say(&whole, "as it is").await);
    assert!(!judges.say(&whole.replacen('{', "{{", 1), "no JSON").await);
    let proof: Value = serde_json::from_str(&whole).expect("a proof is JSON");
    let mut places = Vec::new();
    pointers(&proof, "", &mut places);
    let mut refused = 0;
    for place in places {
        for change in changes(proof.pointer(&place).expect("it was just found")) {
            let mut changed = proof.clone();
            *changed.pointer_mut(&place).expect("it was just found") = change.clone();
            let told = format!("{place} becomes {change}");
            let holds = judges.say(&changed.to_string(), &told).await;
            assert_eq!(holds, is_true(&place, &change), "{told}");
            refused += u32::from(!holds);
        }
    }
    assert!(refused > 80, "{refused} changes were tried");
}

#[test]
fn who_is_believed_must_be_said() {
    let judges = Judges::new();
    let whole = proofs().join("whole.json");
    let run = |arguments: &[&str]| {
        let output = Command::new(Places::cordon())
            .args(["audit", "verify", "--proof"])
            .arg(&whole)
            .args(arguments)
            .env_clear()
            .output()
            .expect("the binary can be run");
        let both = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&both).into_owned())
    };
    let (log, witness) = (judges.log.as_str(), judges.witness.as_str());
    let key_file = judges.dir.path().join("log.pub");
    fs::write(&key_file, format!("{log}\n")).expect("a file");
    let key_file = key_file.to_str().expect("a plain path");

    let (code, told) = run(&["--key", key_file, "--witness", witness]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with("ok 2 records of exchange 00000000-0000-0000-0000-000000000001\n"),
        "{told}"
    );
    assert!(
        told.contains("cosigned by witness.example/w1 at 2023-11-14T22:13:20Z"),
        "{told}"
    );
    let (code, told) = run(&["--key", log]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("no witness vouches for cordon/acme/default/standard"),
        "{told}"
    );
    let other_exchange = ["--key", log, "--exchange", "00000000-0000-0000-0000-000000000002"];
    assert_eq!(run(&other_exchange).0, Some(1));
    // Of another log of the same name, and another witness: nothing is shown.
    let other_log = "cordon/acme+373ce86d+AcqTrBcFGHBx1nuDx/8O/oEI6OxFMFdddyaHkzPb2r58";
    let other_witness = "witness.example/w2+bfff2874+BO1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR";
    let (code, told) = run(&["--key", other_log]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("not signed by cordon/acme"), "{told}");
    assert_eq!(
        run(&["--key", log, "--witness", witness, "--witness", other_witness]).0,
        Some(1)
    );
    let one_of_two = [
        "--key",
        log,
        "--witness",
        witness,
        "--witness",
        other_witness,
        "--witnesses-needed",
        "1",
    ];
    assert_eq!(run(&one_of_two).0, Some(0));
    for wrong in [
        vec![],
        vec!["--key", "no key"],
        vec!["--key", witness],
        vec!["--key", log, "--witness", log],
        vec!["--key", log, "--witness", witness, "--witness", witness],
        vec!["--key", log, "--witnesses-needed", "1"],
        vec!["--key", log, "--config", "cordon.yaml"],
    ] {
        assert_eq!(run(&wrong).0, Some(2), "{wrong:?}");
    }
}
