//! A PostgreSQL that is stopped at once (`pg_ctl stop -m immediate`, as a power failure would) and started again, while records come in.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use cordon_audit::{AuditConfig, StoreUrl};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use crate::{
    databases::{exchange, finish, open},
    killing::rounds,
};

/// A server of this test's own, from Debian's package, which syncs as a real one does.
struct Server {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
    as_postgres: bool,
}

impl Server {
    async fn new() -> Self {
        let installed = std::fs::read_dir("/usr/lib/postgresql").map(|versions| {
            let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
            programs.filter(|bin| bin.join("initdb").exists()).max()
        });
        let programs = installed.ok().flatten();
        let programs = programs.expect("PostgreSQL's programs: run scripts/test-packages");
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        // PostgreSQL refuses to run as root, and its own user may not reach into every folder.
        let as_postgres = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        if as_postgres {
            let owned = Command::new("chown").arg("postgres").arg(dir.path()).status();
            assert!(owned.unwrap().success());
        }
        let server = Self {
            dir,
            programs,
            port,
            as_postgres,
        };
        let data = server.data();
        let data = data.to_str().unwrap();
        server.run(
            "initdb",
            &["-D", data, "-U", "postgres", "--auth", "trust", "--no-sync"],
        );
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = if self.as_postgres {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        // What the server inherits as its output must not be a pipe that is waited for.
        let Output { status, stderr, .. } = command
            .args(arguments)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    }

    fn start(&self) {
        let options = format!(
            "-p {} -h 127.0.0.1 -k {} -c max_connections=50",
            self.port,
            self.dir.path().display()
        );
        let (data, log) = (self.data(), self.dir.path().join("log"));
        let (data, log) = (data.to_str().unwrap(), log.to_str().unwrap());
        self.run(
            "pg_ctl",
            &["-D", data, "-w", "-s", "-l", log, "-o", &options, "start"],
        );
    }

    fn stop_at_once(&self) {
        let data = self.data();
        self.run(
            "pg_ctl",
            &["-D", data.to_str().unwrap(), "-m", "immediate", "-s", "stop"],
        );
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if Path::exists(&self.data().join("postmaster.pid")) {
            self.stop_at_once();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_loses_power_gets_everything_once() {
    let server = Server::new().await;
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("a");
    let store: StoreUrl = server.url().parse().unwrap();
    let mut config = AuditConfig::new(&spool, store.clone(), "a");
    config.spool.segment_bytes = 256 << 10;
    config.linger = Duration::from_millis(1);
    // Records are counted, so none comes by the clock.
    config.heartbeat = Duration::from_secs(3600);
    let (recorder, shipping) = open(config).await;
    let rounds = rounds(3, 20);
    let mut callers = JoinSet::new();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    for _ in 0..8 {
        let (recorder, stopped) = (recorder.clone(), stopped.clone());
        callers.spawn(async move {
            let mut recorded = 0_u64;
            while !*stopped.borrow() {
                exchange(&recorder, "j.kim").await;
                recorded += 1;
                sleep(Duration::from_millis(2)).await;
            }
            recorded
        });
    }
    for round in 0..rounds {
        server.start();
        // Some stops find it shipping what had waited, others what comes in.
        sleep(Duration::from_millis(150 + 173 * round as u64 % 900)).await;
        server.stop_at_once();
        assert!(recorder.healthy(), "the spool does not need the store");
    }
    stop.send_replace(true);
    let recorded: u64 = callers.join_all().await.iter().sum();
    server.start();
    finish(shipping).await;
    let open = cordon_audit::Store::open(&store).await.unwrap();
    let evidence = cordon_audit::Evidence {
        spool: Some(&spool),
        ..cordon_audit::Evidence::default()
    };
    let verified = cordon_audit::verify(&open, &evidence).await.unwrap();
    open.close().await;
    assert_eq!((verified.records, verified.unsealed), (2 * recorded, 0));
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let [count, distinct] = {
        let sql = "SELECT count(*), count(DISTINCT (writer, sequence)) FROM audit_record";
        let (count, distinct): (i64, i64) = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
        [count, distinct].map(|n| u64::try_from(n).unwrap())
    };
    assert_eq!((count, distinct), (2 * recorded, 2 * recorded));
    eprintln!("{rounds} immediate stops: {count} records acknowledged and in the store, 0 lost, 0 doubled");
}
