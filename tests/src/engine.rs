//! The on-prem model's process, one for all tests of a file: two cores carry no more.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use serde_json::Value;

use crate::Places;

struct Engine {
    url: String,
    /// The engine leaves when its standard input closes: at the end of the test's process, however
    /// that ends.
    _process: Child,
}

/// The URL of the running engine, which is started at the first call.
#[must_use]
pub fn shared() -> String {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(start).url.clone()
}

fn start() -> Engine {
    let mut child = Command::new(Places::engine())
        .arg("--model")
        .arg(Places::weights())
        .args([
            "--listen",
            "127.0.0.1:0",
            "--slots",
            "4",
            "--ctx",
            "2048",
            "--threads",
            "2",
            "--die-with-parent",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the engine can be run");
    let stdout = child.stdout.take().expect("standard output is piped");
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the engine's output can be read");
    let ready: Value = serde_json::from_str(&line)
        .unwrap_or_else(|_| panic!("the engine printed {line:?} in place of its address"));
    let listening = ready["listening"]
        .as_str()
        .unwrap_or_else(|| panic!("the engine announced {ready}"));
    let url = if listening.contains("://") {
        listening.to_owned()
    } else {
        format!("http://{listening}")
    };
    Engine { url, _process: child }
}
