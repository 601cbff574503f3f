//! Where the things under test lie: beside the test's own executable, and in `.cache/`.

use std::path::{Path, PathBuf};

/// Paths of what `make test` has built and fetched before the tests run.
#[derive(Clone, Copy, Debug)]
pub struct Places;

impl Places {
    /// The repository.
    #[must_use]
    pub fn top() -> PathBuf {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.parent()
            .expect("the tests' crate lies in the repository")
            .to_owned()
    }

    /// The binary under test, of the same profile as the test.
    #[must_use]
    pub fn cordon() -> PathBuf {
        built(Self::profile_dir().join("cordon"), "cargo build --bins")
    }

    /// The engine, always of the release profile: the other one takes minutes for a sentence.
    #[must_use]
    pub fn engine() -> PathBuf {
        let target = Self::profile_dir();
        let target = target
            .parent()
            .expect("a profile's folder lies in the target folder");
        built(target.join("release/cordon-engine"), "make engine")
    }

    /// The on-prem model's weights.
    #[must_use]
    pub fn weights() -> PathBuf {
        built(
            Self::top().join(".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"),
            "scripts/setup weights",
        )
    }

    /// The folder of the token classifier.
    #[must_use]
    pub fn names() -> PathBuf {
        built(Self::top().join(".cache/names/made-by"), "scripts/setup names")
            .parent()
            .expect("the mark lies in its folder")
            .to_owned()
    }

    /// Python with the client libraries.
    #[must_use]
    pub fn python() -> PathBuf {
        built(Self::top().join(".cache/venv/bin/python"), "scripts/setup python")
    }

    /// aider, in an environment of its own.
    #[must_use]
    pub fn aider() -> PathBuf {
        built(Self::top().join(".cache/aider/bin/aider"), "scripts/setup python")
    }

    /// The folder with the npm packages.
    #[must_use]
    pub fn node_clients() -> PathBuf {
        built(
            Self::top().join(".cache/clients/node_modules"),
            "scripts/setup node",
        )
        .parent()
        .expect("node_modules lies in a folder")
        .to_owned()
    }

    /// A script of `tests/clients/`.
    #[must_use]
    pub fn client_script(name: &str) -> PathBuf {
        Self::top().join("tests/clients").join(name)
    }

    fn profile_dir() -> PathBuf {
        // target/PROFILE/deps/TEST-HASH
        let test = std::env::current_exe().expect("the operating system tells a test its own path");
        test.ancestors()
            .nth(2)
            .expect("tests are built into target/PROFILE/deps")
            .to_owned()
    }
}

fn built(path: PathBuf, how: &str) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing: run `{how}` first, or just `make test`",
        path.display()
    );
    path
}
