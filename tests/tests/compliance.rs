//! Runs every command of `docs/compliance.md`, so that what the page tells an auditor to do works and comes out as it says.

use std::{fs, process::Command, time::Duration};

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Home, OnPrem, POLICY_REQUESTED, Plan},
    replies::{Deltas, Talk, say},
    upstream::Upstream,
};

/// The page's blocks of commands, one after the other.
fn commands(page: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                // A command that has to answer no is tried with its outcome turned round, which the shell's `-e` does not look at.
                match line.strip_prefix("! ") {
                    Some(command) => script += &format!("if {command}; then exit 9; else [ $? = 1 ]; fi\n"),
                    None => script += &format!("{line}\n"),
                }
            }
            _ => {}
        }
    }
    script
}

fn approver(home: &Home, name: &str) -> String {
    let made = Command::new(Places::cordon())
        .args(["audit", "approver", "create", name, "--key"])
        .arg(home.path().join(format!("{name}.key")))
        .output()
        .expect("the binary can be run");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8_lossy(&made.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_an_auditor_is_told_to_run_works() {
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, "noted", Deltas::Whole));
    let home = Home::new(&Plan {
        policy: Some(format!("records: [{{ level: redacted }}]\n{POLICY_REQUESTED}")),
        ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
    });
    let (ann, bob) = (approver(&home, "ann"), approver(&home, "bob"));
    let config = fs::read_to_string(home.path().join("cordon.yaml")).expect("it is there");
    home.write(
        "cordon.yaml",
        &format!(
            "{config}audit: {{ approvers: ['{ann}', '{bob}'], publish: [{{ directory: kept }}], checkpoint_seconds: 1 }}\n"
        ),
    );
    let script = Places::client_script("verify_proof.py");
    fs::copy(script, home.path().join("verify_proof.py")).expect("the script can be copied");
    let key = home.key("j.kim", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    let said = "my card is 4111 1111 1111 1111";
    let reply = caller
        .post(Talk::Chat, &Talk::Chat.request(said, false))
        .await
        .expect("Cordon answers");
    let exchange = reply.exchange().to_owned();
    home.record(&exchange).await;
    // Proofs are made once a checkpoint covers the exchange, and it is published then.
    let tried = async {
        while !home.try_run(&["audit", "proof", &exchange]).status.success()
            || !home.path().join("kept").is_dir()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), tried)
        .await
        .expect("a checkpoint is signed every second");

    let page = fs::read_to_string(Places::top().join("docs/compliance.md")).expect("it is in the repository");
    let folder = |program: std::path::PathBuf| {
        let folder = program.parent().expect("a program lies in a folder");
        folder.display().to_string()
    };
    let path = [
        folder(Places::cordon()),
        folder(Places::python()),
        std::env::var("PATH").unwrap_or_default(),
    ];
    let ran = Command::new("sh")
        .args(["-ex", "-c", &commands(&page)])
        .current_dir(home.path())
        .env("PATH", path.join(":"))
        .env("EXCHANGE", &exchange)
        .env("USER", "j.kim")
        .output()
        .expect("there is a shell");
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert!(ran.status.success(), "{out}\n{err}");
    // As many as the page has commands that verify, and each of them said so.
    let verifies = commands(&page)
        .lines()
        .filter(|line| line.starts_with("cordon audit verify"))
        .count();
    assert!(out.matches("ok ").count() >= verifies, "{out}\n{err}");
    let access = fs::read_to_string(home.path().join("access.jsonl")).expect("the page writes it");
    assert!(access.contains(&exchange), "{access}");
}
