//! The child that reads a file: `cordon read-file`, our own program again, with bounds on what it may take.
//!
//! It gets one line of JSON and the file on its standard input and prints one [`Report`] as JSON. It has none
//! of our environment, no network where the platform lets it give that up, and writes no files.
//!
//! On failure: the child is killed; what it would have said is unread.

use std::{
    process::{ExitStatus, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cordon_inspect::document::{self, Picture};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

use super::Fault;
use crate::{config, supervise::own_program};

/// Bytes of JSON around texts and pictures that a report may have beside them.
const AROUND: u64 = 8 << 20;

/// The signal of a process that took more processor time than it may.
const SIGXCPU: i32 = 24;

/// What the child is asked.
#[derive(Serialize, Deserialize)]
pub struct Request {
    /// The file's name.
    pub name: String,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds on one file.
#[derive(Clone, Serialize, Deserialize)]
pub struct Limits {
    pub(super) bytes_in: usize,
    pub(super) bytes_unpacked: usize,
    pub(super) bytes_of_text: usize,
    pub(super) depth: usize,
    pub(super) entries: usize,
    pub(super) pictures: usize,
    pub(super) seconds: u64,
}

impl From<Limits> for document::Limits {
    fn from(limits: Limits) -> Self {
        Self {
            bytes_in: limits.bytes_in,
            bytes_unpacked: limits.bytes_unpacked,
            bytes_of_text: limits.bytes_of_text,
            depth: limits.depth,
            entries: limits.entries,
            pictures: limits.pictures,
            time: Duration::from_secs(limits.seconds),
            ..Self::default()
        }
    }
}

/// What the child answers.
#[derive(Default, Serialize, Deserialize)]
pub struct Report {
    pub(super) kind: Option<String>,
    pub(super) texts: Vec<(String, String)>,
    #[serde(serialize_with = "write_pictures", deserialize_with = "read_pictures")]
    pub(super) pictures: Vec<Picture>,
    pub(super) unread: Vec<String>,
    pub(super) locked: bool,
    pub(super) limit: Option<String>,
}

fn write_pictures<S: Serializer>(pictures: &[Picture], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        pictures
            .iter()
            .map(|picture| (&picture.path, STANDARD.encode(&picture.bytes))),
    )
}

fn read_pictures<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Picture>, D::Error> {
    Vec::<(String, String)>::deserialize(deserializer)?
        .into_iter()
        .map(|(path, bytes)| {
            let bytes = STANDARD.decode(bytes).map_err(D::Error::custom)?;
            Ok(Picture { path, bytes })
        })
        .collect()
}

/// Has a child read a file.
pub(super) async fn read(
    config: &config::Files,
    limits: Limits,
    name: &str,
    bytes: &[u8],
) -> Result<Report, Fault> {
    let gave_up = || Fault::Unread("its reader gave up".to_owned());
    // Twice the text, since JSON escapes some of it; pictures go in base64.
    let most = (limits.bytes_of_text as u64 * 2)
        .saturating_add(limits.pictures as u64 * 2)
        .saturating_add(AROUND);
    let request = Request {
        name: name.to_owned(),
        limits,
    };
    let mut asked = serde_json::to_vec(&request).map_err(|_| gave_up())?;
    asked.push(b'\n');
    let told = run(config.memory_bytes, config.seconds, &[], &[&asked, bytes], most).await?;
    serde_json::from_slice(&told).map_err(|_| gave_up())
}

/// Runs `cordon read-file`, or what it becomes, and gives what it prints.
pub(super) async fn run(
    memory: u64,
    seconds: u64,
    becomes: &[&std::ffi::OsStr],
    input: &[&[u8]],
    most: u64,
) -> Result<Vec<u8>, Fault> {
    let unread = |why: &str| Fault::Unread(why.to_owned());
    let own = own_program().map_err(|_| unread("its reader cannot be started"))?;
    let mut command = Command::new(own);
    command
        .arg("read-file")
        .args(["--memory", &memory.to_string(), "--seconds", &seconds.to_string()]);
    if !becomes.is_empty() {
        command.arg("--").args(becomes);
    }
    let mut child = command
        .env_clear()
        .envs([("LC_ALL", "C.UTF-8"), ("OMP_THREAD_LIMIT", "1")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|_| unread("its reader cannot be started"))?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(unread("its reader cannot be started"));
    };
    let asking = async {
        for part in input {
            // A child that ends early reads no more; its status tells why.
            if stdin.write_all(part).await.is_err() {
                break;
            }
        }
        drop(stdin);
    };
    let telling = async {
        let mut told = Vec::new();
        let read = stdout.take(most + 1).read_to_end(&mut told).await;
        (read, told)
    };
    let whole = async {
        let ((), (read, told)) = tokio::join!(asking, telling);
        if told.len() as u64 > most {
            return Err(Fault::Limit("bytes of text".to_owned()));
        }
        let status = child.wait().await.map_err(|_| unread("its reader gave up"))?;
        match (read, status.success()) {
            (Ok(_), true) => Ok(told),
            _ if is_slow(status) => Err(Fault::Limit("time for a document".to_owned())),
            _ => Err(unread("its reader gave up")),
        }
    };
    // The child looks at the clock itself; this is for one that does not get to it.
    tokio::time::timeout(Duration::from_secs(seconds.saturating_add(1)), whole)
        .await
        .unwrap_or_else(|_| Err(Fault::Limit("time for a document".to_owned())))
}

#[cfg(unix)]
fn is_slow(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(SIGXCPU)
}

#[cfg(not(unix))]
fn is_slow(_: ExitStatus) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_way() {
        let report = Report {
            kind: Some("docx".to_owned()),
            texts: vec![("a!/document".to_owned(), "text \"é\"\u{1}".to_owned())],
            pictures: vec![Picture {
                path: "a!/1.png".to_owned(),
                bytes: vec![0, 255, 7],
            }],
            unread: vec!["why".to_owned()],
            locked: false,
            limit: None,
        };
        let told = serde_json::to_vec(&report).unwrap();
        let again: Report = serde_json::from_slice(&told).unwrap();
        assert_eq!(again.texts, report.texts);
        assert_eq!(again.pictures, report.pictures);
        assert_eq!((again.kind, again.unread), (report.kind, report.unread));
    }
}
