//! The house's plan, checked: which crate may use which, and what lives in one room only.
//!
//! `deny.toml` keeps the same dependencies in their rooms when `make lint` runs; this test also
//! holds the edges between our own crates, and what only sources show.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cordon_tests::Places;
use serde_json::Value;

/// Each room and the rooms it may use, in any kind of dependency.
const EDGES: [(&str, &[&str]); 10] = [
    ("cordon-domain", &[]),
    ("cordon-wire", &["cordon-domain"]),
    ("cordon-inspect", &["cordon-domain"]),
    ("cordon-policy", &["cordon-domain", "cordon-inspect"]),
    ("cordon-intercept", &["cordon-domain"]),
    ("cordon-audit", &["cordon-domain"]),
    ("cordon-engine", &["cordon-domain", "cordon-wire"]),
    (
        "cordon-console",
        &[
            "cordon-domain",
            "cordon-wire",
            "cordon-inspect",
            "cordon-policy",
            "cordon-intercept",
            "cordon-audit",
        ],
    ),
    (
        "cordon-server",
        &[
            "cordon-domain",
            "cordon-wire",
            "cordon-inspect",
            "cordon-policy",
            "cordon-intercept",
            "cordon-audit",
            "cordon-console",
        ],
    ),
    // They know Cordon as its users do.
    ("cordon-tests", &[]),
];

/// Dependencies that live in one room, and the crates that may name them.
const HOMES: [(&str, &[&str]); 8] = [
    ("sqlx", &["cordon-audit"]),
    ("ort", &["cordon-inspect"]),
    ("tokenizers", &["cordon-inspect"]),
    // The tests make the certificates of their own upstream.
    ("rcgen", &["cordon-intercept", "cordon-tests"]),
    ("libgssapi", &["cordon-server"]),
    ("llama-cpp-2", &["cordon-engine"]),
    ("llama-cpp-sys-2", &["cordon-engine"]),
    ("llguidance", &["cordon-engine"]),
];

/// What a room must not know of (the plan's last column), as far as dependencies show it. Its tests
/// and benchmarks may.
const IGNORANCE: [(&str, &[&str]); 5] = [
    ("cordon-domain", &["tokio", "hyper", "http", "rustls"]),
    ("cordon-wire", &["tokio", "hyper", "http", "rustls"]),
    (
        "cordon-inspect",
        &["tokio", "hyper", "http", "serde_json", "rustls"],
    ),
    ("cordon-policy", &["tokio", "hyper", "http", "rustls"]),
    ("cordon-audit", &["hyper", "http", "rustls"]),
];

struct Crate {
    name: String,
    folder: PathBuf,
    /// (name of the dependency, whether it is one for tests only)
    dependencies: Vec<(String, bool)>,
}

fn crates() -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(Places::top())
        .output()
        .expect("cargo can be run");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let text = |value: &Value| value.as_str().expect("a string in cargo's metadata").to_owned();
    let list = |value: &Value| value.as_array().expect("a list in cargo's metadata").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| Crate {
            name: text(&package["name"]),
            folder: Path::new(&text(&package["manifest_path"]))
                .parent()
                .expect("a manifest's folder")
                .to_owned(),
            dependencies: list(&package["dependencies"])
                .iter()
                .map(|dependency| (text(&dependency["name"]), dependency["kind"] == "dev"))
                .collect(),
        })
        .collect()
}

#[test]
fn rooms_use_no_rooms_but_those_of_the_plan() {
    let plan: BTreeMap<_, _> = EDGES.into_iter().collect();
    let crates = crates();
    let names: BTreeSet<&str> = crates.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        names,
        plan.keys().copied().collect(),
        "the plan and the workspace hold different crates"
    );
    let mut wrong = Vec::new();
    for one in &crates {
        for (dependency, _) in &one.dependencies {
            if names.contains(dependency.as_str()) && !plan[one.name.as_str()].contains(&dependency.as_str())
            {
                wrong.push(format!("{} uses {dependency}", one.name));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the plan does not have: {wrong:?}");
}

#[test]
fn some_dependencies_live_in_one_room() {
    let mut wrong = Vec::new();
    for one in crates() {
        for (dependency, for_tests) in &one.dependencies {
            let home = HOMES.iter().find(|(name, _)| name == dependency);
            if home.is_some_and(|(_, rooms)| !rooms.contains(&one.name.as_str())) {
                wrong.push(format!("{} names {dependency}", one.name));
            }
            let ignored = IGNORANCE.iter().find(|(room, _)| *room == one.name);
            if !for_tests && ignored.is_some_and(|(_, names)| names.contains(&dependency.as_str())) {
                wrong.push(format!("{} must not know of {dependency}", one.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn only_the_servers_configuration_reads_the_environment() {
    let reads = |line: &str| {
        ["env::var", "env::set_var", "env::remove_var", "option_env!"].iter().any(|call| line.contains(call))
            // clap reads it, too, when an argument says `env`.
            || (line.contains("#[arg(") && (line.contains(" env") || line.contains("(env")))
    };
    let allowed = [
        "gateway/server/src/config.rs",
        // The OpenMP library takes its settings from nowhere else, and an operator's go before ours.
        "gateway/engine/src/process.rs",
    ];
    let found = product_lines(|file, line| {
        // Cargo speaks to build scripts through the environment.
        let at_build = file.file_name().is_some_and(|name| name == "build.rs");
        !at_build && !allowed.iter().any(|allowed| file == Path::new(allowed)) && reads(line)
    });
    assert!(
        found.is_empty(),
        "the environment is read outside the server's configuration:\n{}",
        found.join("\n")
    );
}

#[test]
fn only_the_engine_is_unsafe() {
    let engine = Path::new("gateway/engine");
    let found = product_lines(|file, line| {
        !file.starts_with(engine)
            && [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe trait",
                "unsafe extern",
                "#[unsafe(",
            ]
            .iter()
            .any(|form| line.contains(form))
    });
    assert!(
        found.is_empty(),
        "unsafe outside the engine:\n{}",
        found.join("\n")
    );
    for one in crates() {
        let manifest = fs::read_to_string(one.folder.join("Cargo.toml")).expect("a crate has a manifest");
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(
            inherits || one.name == "cordon-engine",
            "{} does not inherit the workspace's lints",
            one.name
        );
    }
}

#[test]
fn modules_have_names_of_their_own() {
    let vague = [
        "mod", "util", "utils", "helper", "helpers", "common", "core", "manager", "misc",
    ];
    let found: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|file| {
            file.file_stem()
                .is_some_and(|stem| vague.contains(&stem.to_string_lossy().as_ref()))
        })
        .collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The product's source files, relative to the repository.
fn sources() -> Vec<PathBuf> {
    let top = Places::top();
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = crates()
        .into_iter()
        .filter(|one| one.name != "cordon-tests")
        .flat_map(|one| [one.folder.join("src"), one.folder.join("build.rs")])
        .collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a source folder can be read");
            left.extend(entries.map(|entry| entry.expect("a source folder can be read").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
            found.push(
                path.strip_prefix(&top)
                    .expect("crates lie in the repository")
                    .to_owned(),
            );
        }
    }
    found.sort();
    assert!(found.len() > 10, "the sources were not found: {found:?}");
    found
}

/// `file:line: text` of each line of code (no comment, no test) that satisfies a test.
fn product_lines(satisfies: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources() {
        let for_tests = file.components().any(|part| part.as_os_str() == "tests")
            || file.file_stem().is_some_and(|stem| stem == "tests");
        if for_tests {
            continue;
        }
        let text = fs::read_to_string(Places::top().join(&file)).expect("a source file can be read");
        // Unit tests stand at the foot of the file.
        let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
        for (number, line) in product.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if satisfies(&file, code) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    found
}
