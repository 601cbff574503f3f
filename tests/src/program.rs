//! Client programs that we did not write, in an environment that holds nothing but what is given.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::process::Command;

use crate::{Places, caller::Door, cordon::Cordon};

/// How long a program may take for one turn.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a program left behind.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Both outputs.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Fails unless it ended well and printed just that; `log` is Cordon's.
    ///
    /// # Panics
    /// When it did not.
    pub fn assert_said(&self, said: &str, what: &str, log: &str) {
        assert_eq!(self.code, 0, "{what}: {self:?}\n{log}");
        assert_eq!(self.stdout.trim_end(), said, "{what}: {self:?}");
    }

    /// How often both outputs together hold a text.
    #[must_use]
    pub fn shows(&self, text: &str) -> usize {
        self.output().matches(text).count()
    }
}

/// A program and its arguments, with a home folder of its own.
pub struct Program {
    command: Vec<PathBuf>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    home: TempDir,
}

impl Program {
    fn new(command: &[PathBuf], arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let program = Self {
            command: command.to_vec(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
            home,
        };
        let path = std::env::var("PATH").expect("tests are run with a PATH");
        let home = program.home.path().display().to_string();
        program
            .with("PATH", &path)
            .with("HOME", &home)
            .with("LANG", "C.UTF-8")
    }

    /// A script of `tests/clients/` on Python.
    #[must_use]
    pub fn python(script: &str, arguments: &[&str]) -> Self {
        // `-I` would hide nothing that matters, and `-B` keeps the repository free of bytecode.
        Self::new(
            &[Places::python(), "-B".into(), Places::client_script(script)],
            arguments,
        )
    }

    /// `llm PROMPT`, the command-line program of the package of that name.
    #[must_use]
    pub fn llm(prompt: &str) -> Self {
        let binary = Places::python().with_file_name("llm");
        Self::new(&[Places::python(), binary], &["-m", "gpt-4o-mini", prompt])
    }

    /// `schemathesis run ...`, which makes up requests from a description of an API.
    #[must_use]
    pub fn schemathesis(arguments: &[&str]) -> Self {
        let binary = Places::python().with_file_name("schemathesis");
        let arguments = [&["run", "--no-color", "--warnings", "off"], arguments].concat();
        Self::new(&[Places::python(), binary], &arguments)
    }

    /// `aider --message PROMPT`, which edits nothing and asks nobody.
    #[must_use]
    pub fn aider(prompt: &str) -> Self {
        let quiet = [
            "--no-git",
            "--yes-always",
            "--no-check-update",
            "--no-show-model-warnings",
            "--no-analytics",
            "--no-show-release-notes",
            "--no-pretty",
            "--no-detect-urls",
            "--model",
            "openai/gpt-4o-mini",
            "--message",
            prompt,
        ];
        Self::new(&[Places::aider()], &quiet)
    }

    /// `gemini -p PROMPT`, with an API key.
    #[must_use]
    pub fn gemini(prompt: &str, api_key: &str) -> Self {
        let script = Places::node_clients().join("node_modules/@google/gemini-cli/bundle/gemini.js");
        let program = Self::new(
            &["node".into(), script],
            &["--skip-trust", "-m", "gemini-2.5-flash", "-p", prompt],
        );
        let state = program.home.path().join(".gemini");
        std::fs::create_dir(&state).expect("the home folder takes folders");
        let settings = serde_json::json!({
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            "privacy": {"usageStatisticsEnabled": false},
            "general": {"disableAutoUpdate": true, "disableUpdateNag": true},
        });
        std::fs::write(state.join("settings.json"), settings.to_string())
            .expect("the home folder takes files");
        program.with("GEMINI_API_KEY", api_key)
    }

    /// A script of `tests/clients/` on Node.js.
    #[must_use]
    pub fn node(script: &str, arguments: &[&str]) -> Self {
        let packages = Places::node_clients().join("package.json");
        Self::new(&["node".into(), Places::client_script(script)], arguments)
            .with("CLIENT_PACKAGES", &packages.display().to_string())
    }

    /// `codex exec PROMPT`, logged in with an API key.
    #[must_use]
    pub fn codex(prompt: &str, api_key: &str, settings: &[&str]) -> Self {
        let binary = native(
            &[
                "@openai/codex-linux-x64/vendor",
                "@openai/codex-linux-arm64/vendor",
            ],
            "codex",
        );
        let mut program = Self::new(&[binary], &["exec", "--skip-git-repo-check", "--color", "never"]);
        let work = program.home.path().join("work");
        let state = program.home.path().join(".codex");
        for folder in [&work, &state] {
            std::fs::create_dir(folder).expect("the home folder takes folders");
        }
        let login = serde_json::json!({"OPENAI_API_KEY": api_key}).to_string();
        std::fs::write(state.join("auth.json"), login).expect("the home folder takes files");
        for setting in settings {
            program.arguments.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        program
            .arguments
            .extend(["-C".to_owned(), work.display().to_string(), prompt.to_owned()]);
        let state = state.display().to_string();
        program.with("CODEX_HOME", &state).with("OPENAI_API_KEY", api_key)
    }

    /// `claude -p PROMPT`, with an API key.
    #[must_use]
    pub fn claude(prompt: &str, api_key: &str) -> Self {
        let packages = [
            "@anthropic-ai/claude-code-linux-x64",
            "@anthropic-ai/claude-code-linux-arm64",
        ];
        let program = Self::new(&[native(&packages, "claude")], &["-p", prompt]);
        program.with("ANTHROPIC_API_KEY", api_key)
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets what an employee sets: the proxy with their key, and the CA. Nothing else.
    #[must_use]
    pub fn through_proxy(self, cordon: &Cordon, key: &str) -> Self {
        let proxy = format!("http://cordon:{key}@{}", cordon.proxy());
        self.with("HTTPS_PROXY", &proxy).trusting(cordon)
    }

    /// Trusts Cordon's CA by the variables that programs read.
    #[must_use]
    pub fn trusting(self, cordon: &Cordon) -> Self {
        self.with("SSL_CERT_FILE", &cordon.bundle().display().to_string())
            .with("NODE_EXTRA_CA_CERTS", &cordon.ca().display().to_string())
    }

    /// Comes in by a door: through the proxy with the provider's key in `key_variable`, or with the
    /// gateway as base URL and Cordon's key in its place.
    #[must_use]
    pub fn by(
        self,
        door: Door,
        cordon: &Cordon,
        key: &str,
        base_variable: &str,
        base_path: &str,
        key_variable: &str,
    ) -> Self {
        match door {
            Door::Proxy => self
                .through_proxy(cordon, key)
                .with(key_variable, crate::caller::PROVIDER_KEY),
            Door::Gateway => self
                .trusting(cordon)
                .with(
                    base_variable,
                    &format!("https://localhost:{}{base_path}", cordon.gateway().port()),
                )
                .with(key_variable, key),
        }
    }

    /// Runs it to its end.
    pub async fn run(self) -> Ran {
        let began = Instant::now();
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", self.command[0].display()));
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let name = self
            .command
            .last()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        let output = ended.unwrap_or_else(|_| panic!("{name} took longer than {PATIENCE:?}"));
        let output = output.expect("a child's output can be read");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: began.elapsed(),
        }
    }
}

/// A native binary inside an npm package, whichever of the packages is installed here.
fn native(packages: &[&str], name: &str) -> PathBuf {
    let modules = Places::node_clients().join("node_modules");
    packages
        .iter()
        .find_map(|package| find(&modules.join(package), name))
        .unwrap_or_else(|| panic!("{name} is in none of {packages:?} under {}", modules.display()))
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    let direct = entries
        .iter()
        .find(|path| path.is_file() && path.file_name().is_some_and(|file| file == name));
    direct.cloned().or_else(|| {
        entries
            .iter()
            .filter(|path| path.is_dir())
            .find_map(|path| find(path, name))
    })
}
