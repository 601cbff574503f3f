//! A running engine, and HTTP to it.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader},
    net::{TcpStream, UnixStream},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

/// No step of a test takes this long, even on a busy machine; a test that hangs fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) struct Engine {
    child: Child,
    /// Closing it is the parent's death.
    parent: Option<ChildStdin>,
    pub(crate) address: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        self.body["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_else(|| panic!("no answer: {}", self.body))
    }

    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no error: {}", self.body))
    }
}

pub(crate) fn weights() -> PathBuf {
    let usual = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"
    );
    let file = std::env::var_os("CORDON_TEST_WEIGHTS").map_or_else(|| PathBuf::from(usual), PathBuf::from);
    assert!(
        file.is_file(),
        "no weights at {}: run `make weights`, or set CORDON_TEST_WEIGHTS",
        file.display()
    );
    file
}

impl Engine {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let small: &[&str] = if arguments.contains(&"--ctx") {
            &[]
        } else {
            &["--ctx", "512"]
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_cordon-engine"))
            .args(["--die-with-parent", "--log", "warn", "--model"])
            .arg(weights())
            .args(small)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the engine starts");
        let parent = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .expect("ready in time")
            .unwrap()
            .expect("one line");
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self {
            child,
            parent,
            address: ready["listening"].as_str().unwrap().to_owned(),
        }
    }

    /// What is said by one that does not start.
    pub(crate) async fn refuses(arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_cordon-engine"))
            .args(["--log", "off", "--ctx", "512", "--model"])
            .arg(weights())
            .args(arguments)
            .output();
        let output = timeout(PATIENCE, output).await.expect("ended in time").unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        self.send_with(method, path, &[], body).await
    }

    pub(crate) async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (head, body) = self.open(method, path, headers, body.into()).await.into_parts();
        let body = timeout(PATIENCE, body.collect())
            .await
            .expect("answered in time")
            .unwrap()
            .to_bytes();
        let body =
            serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body)));
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    pub(crate) async fn chat(&self, body: Value) -> Answer {
        self.send("POST", "/v1/chat/completions", body.to_string()).await
    }

    /// Begins a streamed answer on a connection of its own, which closes when the stream is dropped.
    pub(crate) async fn stream(&self, mut body: Value) -> Stream {
        body["stream"] = Value::Bool(true);
        let response = self
            .open("POST", "/v1/chat/completions", &[], Bytes::from(body.to_string()))
            .await;
        assert_eq!(response.status(), 200);
        Stream {
            body: response.into_body(),
            unread: String::new(),
        }
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Response<Incoming> {
        let stream: Box<dyn Both> = match self.address.strip_prefix("unix:") {
            Some(path) => Box::new(UnixStream::connect(Path::new(path)).await.unwrap()),
            None => Box::new(
                TcpStream::connect(self.address.strip_prefix("http://").unwrap())
                    .await
                    .unwrap(),
            ),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driving = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "engine");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = timeout(
            PATIENCE,
            sender.send_request(request.body(Full::new(body)).unwrap()),
        )
        .await;
        drop(driving);
        response.expect("answered in time").unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("running")
    }

    pub(crate) async fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.pid().to_string()])
            .status()
            .await
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn orphan(&mut self) {
        self.parent = None;
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait())
            .await
            .expect("ended in time")
            .unwrap()
    }
}

pub(crate) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Both for S {}

pub(crate) struct Stream {
    body: Incoming,
    unread: String,
}

impl Stream {
    /// The next event's data; `None` at the end of the body.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let data = event.strip_prefix("data: ").expect("only data events").to_owned();
                self.unread = rest.to_owned();
                return Some(data);
            }
            let frame = timeout(PATIENCE, self.body.frame())
                .await
                .expect("an event in time")?;
            let data = frame.expect("a whole stream").into_data().expect("no trailers");
            self.unread
                .push_str(std::str::from_utf8(&data).expect("whole characters in each event"));
        }
    }

    /// Reads until the first text has come.
    pub(crate) async fn under_way(&mut self) {
        while let Some(data) = self.next().await {
            if data.contains("\"delta\":{\"content\":") {
                return;
            }
        }
        panic!("no text came");
    }

    /// Reads to the end: all text, why it ended, the usage.
    pub(crate) async fn finish(mut self) -> (String, String, Value) {
        let (mut text, mut reason, mut usage, mut done) = (String::new(), String::new(), Value::Null, false);
        while let Some(data) = self.next().await {
            assert!(!done, "an event after [DONE]");
            if data == "[DONE]" {
                done = true;
                continue;
            }
            let chunk: Value = serde_json::from_str(&data).unwrap();
            assert_eq!(chunk["object"], "chat.completion.chunk", "{chunk}");
            if let Some(choice) = chunk["choices"].get(0) {
                text += choice["delta"]["content"].as_str().unwrap_or_default();
                reason += choice["finish_reason"].as_str().unwrap_or_default();
            }
            if !chunk["usage"].is_null() {
                usage = chunk["usage"].clone();
            }
        }
        assert!(done, "the stream ended without [DONE]");
        (text, reason, usage)
    }
}
