//! Two gateways on one PostgreSQL: who is erased is so for both, whatever one of them still holds.

use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use cordon_tests::{
    Places,
    caller::{Caller, Door},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    database::Database,
    replies::{Deltas, Talk, say},
    upstream::Upstream,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

const USER: &str = "ann";

/// A way to the database that is shut until it is opened.
struct Way {
    address: String,
    open: Arc<AtomicBool>,
}

impl Way {
    async fn shut(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let open = Arc::new(AtomicBool::new(false));
        let opened = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if !opened.load(Ordering::Acquire) {
                    continue;
                }
                let to = to.clone();
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(to).await {
                        let _ = copy_bidirectional(&mut stream, &mut server).await;
                    }
                });
            }
        });
        Self { address, open }
    }
}

fn printed(home: &Home, code: i32, arguments: &[&str]) -> String {
    let ran = home.try_run(arguments);
    let told = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat())
        .trim()
        .to_owned();
    assert_eq!(ran.status.code(), Some(code), "{arguments:?}\n{told}");
    told
}

async fn ask(cordon: &Cordon, key: &str) -> String {
    let caller = Caller::new(cordon, Door::Proxy, key);
    let request = Talk::Chat.request("the heron sleeps at noon", false);
    let reply = caller.post(Talk::Chat, &request).await.expect("Cordon answers");
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.exchange().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_holds_for_what_another_gateway_ships_later() {
    let database = Database::new();
    let way = Way::shut(database.address()).await;
    let (cloud, on_prem) = (Upstream::behind_tls().await, Upstream::in_place_of_engine().await);
    cloud.answer(|seen| say(seen, "noted", Deltas::Whole));
    let home = |further: String| {
        Home::new(&Plan {
            policy: Some(format!("records: [{{ level: full }}]\n{POLICY_REQUESTED}")),
            database: Some(database.url()),
            further,
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        })
    };
    let keys = tempfile::tempdir().expect("a directory");
    let keys = format!("keys: {{ dir: '{}' }}", keys.path().display());
    // Approvers' keys lie in no home.
    let folder = tempfile::tempdir().expect("a directory");
    let approver = |name: &str| {
        let made = Command::new(Places::cordon())
            .args(["audit", "approver", "create", name, "--key"])
            .arg(folder.path().join(name))
            .output()
            .expect("the binary can be run");
        String::from_utf8_lossy(&made.stdout).trim().to_owned()
    };
    let approvers = format!("approvers: ['{}', '{}']", approver("bob"), approver("cat"));
    let first = home(format!("audit: {{ {keys}, {approvers} }}\n"));
    let by_way = database.url().replacen(&database.address(), &way.address, 1);
    assert!(by_way.contains(&way.address), "{by_way}");
    let second = home(format!("audit: {{ {keys}, {approvers}, writer: '{by_way}' }}\n"));
    // What replicas share.
    let key = first.key(USER, "staff");
    for file in ["installation.key", "keys.json"] {
        let [from, to] = [&first, &second].map(|home| home.path().join("state").join(file));
        fs::copy(from, to).expect("the file can be copied");
    }
    let (one, other) = (first.serve().await, second.serve().await);

    // Each has a key for her in memory; the second's is in its spool alone.
    let mut exchanges = vec![ask(&one, &key).await, ask(&other, &key).await];
    first.record(&exchanges[0]).await;
    assert!(first.search(&["--exchange", &exchanges[1]]).is_empty());
    let erase = ["audit", "erase", "--subject", USER, "--reason", "asked for"];
    let erased = printed(&first, 0, &erase);
    assert!(erased.contains("1 keys shredded"), "{erased}");
    // Both go on sealing under what they have.
    exchanges.push(ask(&one, &key).await);
    exchanges.push(ask(&other, &key).await);
    way.open.store(true, Ordering::Release);
    for exchange in &exchanges {
        first.record(exchange).await;
    }
    assert_eq!(
        database
            .ask("SELECT count(*) FILTER (WHERE wrapped IS NULL AND name IS NULL), count(*) FROM audit_key"),
        "2|2"
    );
    for exchange in &exchanges {
        let request = [
            "audit",
            "reveal",
            "request",
            "--exchange",
            exchange,
            "--reason",
            "case 12",
        ];
        let reveal = printed(&first, 0, &request);
        for name in ["bob", "cat"] {
            let key = folder.path().join(name).display().to_string();
            let approve = ["audit", "reveal", "approve", &reveal, "--key", &key, "--as", name];
            printed(&first, 0, &approve);
        }
        let told = printed(&first, 1, &["audit", "reveal", "open", &reveal]);
        assert!(told.contains("it was erased"), "{told}");
    }
    let verified = printed(&first, 0, &["audit", "verify"]);
    assert!(verified.starts_with("ok "), "{verified}");
    let again = printed(&first, 0, &erase);
    assert!(again.contains("no key of theirs is left"), "{again}");
    assert_eq!(one.terminate().await, Some(0));
    assert_eq!(other.terminate().await, Some(0));
}
