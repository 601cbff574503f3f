//! The on-prem model's process, one for all tests of a file: two cores carry no more.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

use crate::Places;

/// The URL of the running engine, which is started at the first call.
#[must_use]
pub fn shared() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(start).clone()
}

fn start() -> String {
    let (tell, told) = std::sync::mpsc::channel();
    // The kernel ends the engine together with the thread that started it (`setpriv --pdeathsig`),
    // however the test ends; so that thread must live as long as the test does.
    let keeper = std::thread::Builder::new().name("engine-keeper".to_owned()).spawn(move || {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(Places::engine())
            .arg("--model")
            .arg(Places::weights())
            .args(["--listen", "127.0.0.1:0", "--slots", "4", "--ctx", "2048", "--threads", "2"])
            .env("GOMP_SPINCOUNT", "1000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the engine can be run");
        let stdout = child.stdout.take().expect("standard output is piped");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let _ = tell.send(read.map(|_| line));
        // Returns when the engine ends by itself; the tests then fail at their next request.
        let _ = child.wait();
    });
    keeper.expect("a thread can be started");
    let line = told.recv().expect("the keeper tells").expect("the engine's output can be read");
    let ready: Value =
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the engine printed {line:?} in place of its address"));
    let listening = ready["listening"].as_str().unwrap_or_else(|| panic!("the engine announced {ready}"));
    if listening.contains("://") { listening.to_owned() } else { format!("http://{listening}") }
}
