//! The commands that people and scripts rely on, as they are typed.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use cordon_tests::Places;
use serde_json::Value;

const SECRET: &str = "AKIAQUMPMHS6PJARB7LM";

fn cordon(arguments: &[&str], input: &str, variables: &[(String, String)]) -> Output {
    let mut child = Command::new(Places::cordon())
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    // A command that reads nothing may be gone already.
    let _ = child
        .stdin
        .take()
        .expect("standard input is piped")
        .write_all(input.as_bytes());
    child.wait_with_output().expect("its output can be read")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The command's output, after it ended with the code given.
fn ends(code: i32, arguments: &[&str], input: &str) -> String {
    let output = cordon(arguments, input, &[]);
    assert_eq!(
        output.status.code(),
        Some(code),
        "cordon {}: {}{}",
        arguments.join(" "),
        out(&output),
        String::from_utf8_lossy(&output.stderr)
    );
    out(&output)
}

/// The programs of this machine, with all settings, without the CA, and with none at all.
fn programs_are_told_what_they_lack(dir: &str, variables: &[(String, String)]) {
    let path = (
        "PATH".to_owned(),
        std::env::var("PATH").expect("tests have a PATH"),
    );
    let with = |wanted: &dyn Fn(&str) -> bool| -> Vec<(String, String)> {
        let mut kept: Vec<_> = variables
            .iter()
            .filter(|(name, _)| wanted(name))
            .cloned()
            .collect();
        kept.push(path.clone());
        kept
    };
    let doctor = |variables: &[(String, String)]| {
        let ran = cordon(
            &["doctor", "--only", "curl,python,git,java", "--dir", dir],
            "",
            variables,
        );
        (ran.status.code(), out(&ran))
    };
    let (_, well) = doctor(&with(&|_| true));
    for program in ["curl (", "Python's urllib (", "git over HTTPS ("] {
        assert!(well.contains(&format!("ok    {program}")), "{well}");
    }
    // Java reads none of these variables; where it is installed the doctor says so.
    assert_eq!(
        well.contains("WRONG Java"),
        well.contains("Java reads no proxy variables"),
        "{well}"
    );

    let (code, untrusting) = doctor(&with(&|name| name.contains("PROXY") || name.contains("proxy")));
    assert_eq!(code, Some(1), "{untrusting}");
    for mend in [
        "export CURL_CA_BUNDLE='",
        "export SSL_CERT_FILE='",
        "http.sslCAInfo '",
    ] {
        assert!(untrusting.contains(mend), "{mend}: {untrusting}");
    }
    assert!(
        untrusting.contains("it does not trust Cordon's CA"),
        "{untrusting}"
    );

    let stranger: Vec<_> = with(&|_| true)
        .into_iter()
        .map(|(name, value)| match value.split_once('@') {
            Some((_, address)) => (name, format!("http://cordon:nobody@{address}")),
            None => (name, value),
        })
        .collect();
    let (_, unknown) = doctor(&stranger);
    assert!(unknown.contains("`cordon key create`"), "{unknown}");
}

/// What a device management distributes is what the systems' own readers take.
fn machines_are_rolled_out(dir: &str, folder: &Path) {
    let print = |kind: &str| {
        ends(
            0,
            &[
                "rollout",
                kind,
                "--proxy",
                "proxy.corp.example:8888",
                "--dir",
                dir,
            ],
            "",
        )
    };
    let root = ends(0, &["ca", "export", "--dir", dir], "");

    let script = folder.join("linux.sh");
    std::fs::write(&script, print("linux")).expect("the folder takes files");
    let image = folder.join("image");
    let run = |argument: &[&str]| {
        let ran = Command::new("sh")
            .arg(&script)
            .args(argument)
            .env("DESTDIR", &image)
            .output()
            .expect("sh can be run");
        assert!(ran.status.success(), "{ran:?}");
    };
    run(&[]);
    let installed = image.join("usr/local/share/ca-certificates/cordon.crt");
    let read = |path: &Path| std::fs::read_to_string(path).expect("the script has made it");
    assert_eq!(read(&installed).trim(), root.trim());
    let told = Command::new("sh")
        .args([
            "-c",
            ". \"$1\" && echo \"$HTTPS_PROXY $NODE_EXTRA_CA_CERTS\"",
            "sh",
        ])
        .arg(image.join("etc/profile.d/cordon.sh"))
        .output()
        .expect("sh can be run");
    assert_eq!(
        out(&told).trim(),
        "http://proxy.corp.example:8888 /usr/local/share/ca-certificates/cordon.crt"
    );
    run(&["remove"]);
    assert!(!installed.exists());

    let profile = "import plistlib, sys\n\
        profile = plistlib.loads(sys.stdin.buffer.read())\n\
        parts = {part['PayloadType']: part for part in profile['PayloadContent']}\n\
        print(len(parts['com.apple.security.root']['PayloadContent']))\n\
        print(parts['com.apple.SystemConfiguration']['Proxies']['ProxyAutoConfigURLString'])";
    let read = pipe(&["python3", "-c", profile], &print("macos"));
    let lines: Vec<&str> = read.lines().collect();
    assert!(lines[0].parse::<usize>().expect("a length") > 300, "{read}");
    assert_eq!(lines[1], "http://proxy.corp.example:8888/proxy.pac");

    let firefox: Value = serde_json::from_str(&print("firefox")).expect("policies are JSON");
    assert_eq!(firefox["policies"]["Proxy"]["Mode"], "autoConfig");
    let chrome: Value = serde_json::from_str(&print("chrome")).expect("policies are JSON");
    assert_eq!(chrome["QuicAllowed"], false);
    let windows = print("windows");
    assert!(
        windows.contains(root.trim()) && !windows.contains("@PROXY@"),
        "{windows}"
    );
    ends(2, &["rollout", "linux", "--proxy", "a'b:1", "--dir", dir], "");
}

/// What a program makes of its input.
fn pipe(command: &[&str], input: &str) -> String {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    let mut taken = child.stdin.take().expect("standard input is piped");
    taken.write_all(input.as_bytes()).expect("it reads");
    drop(taken);
    let output = child.wait_with_output().expect("its output can be read");
    assert!(output.status.success(), "{output:?}");
    out(&output)
}

/// `cordon up`, ended with SIGTERM when dropped.
struct Up {
    child: Child,
    ready: Value,
}

impl Up {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(Places::cordon())
            .args(["up", "--json", "--gateway-port", "0", "--proxy-port", "0"])
            .args(["--admin-port", "0", "--dir"])
            .arg(dir)
            .arg("--model")
            .arg(Places::weights())
            .arg("--engine")
            .arg(Places::engine())
            .env_remove("DATABASE_URL")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary can be run");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("standard output is piped"))
            .read_line(&mut line)
            .expect("its output can be read");
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("`cordon up` printed {line:?}"));
        Self { child, ready }
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is not in {}", self.ready))
    }

    fn stop(&mut self) -> Option<i32> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return status.code();
        }
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        self.child.wait().ok().and_then(|status| status.code())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn up_answers_and_is_found_by_the_other_commands() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let state = folder.path().join("state");
    let dir = state.to_str().expect("the temporary folder has a plain name");
    let mut up = Up::start(&state);
    let key = up.text("key").to_owned();

    // As README shows it.
    let request = format!(
        r#"{{"model":"default","max_tokens":8,"messages":[{{"role":"user","content":"Say hello. {SECRET}"}}]}}"#
    );
    let answer = Command::new("curl")
        .args(["-sS", "--max-time", "120", "--cacert", up.text("ca")])
        .arg(format!("{}/v1/chat/completions", up.text("gateway")))
        .args(["-H", &format!("authorization: Bearer {key}")])
        .args(["-H", "content-type: application/json", "-d", &request])
        .output()
        .expect("curl can be run");
    let body: Value = serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    assert!(body["choices"][0]["message"]["content"].is_string(), "{body}");

    // What a shell is told works, and nothing else does.
    let told: serde_json::Map<String, Value> =
        serde_json::from_str(&ends(0, &["env", "--format", "json", "--dir", dir], ""))
            .expect("a JSON object");
    let variables: Vec<(String, String)> = told
        .into_iter()
        .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let well = cordon(&["doctor", "--only", "settings", "--dir", dir], "", &variables);
    assert_eq!(well.status.code(), Some(0), "{}", out(&well));
    assert!(out(&well).contains("all is well"));
    let unset = ends(1, &["doctor", "--dir", dir], "");
    assert!(unset.contains("WRONG HTTPS_PROXY"), "{unset}");
    programs_are_told_what_they_lack(dir, &variables);
    machines_are_rolled_out(dir, folder.path());
    for (format, line) in [
        ("sh", "export HTTPS_PROXY='http://cordon:"),
        ("powershell", "$env:HTTPS_PROXY = 'http"),
    ] {
        let printed = ends(0, &["env", "--format", format, "--dir", dir], "");
        assert!(printed.contains(line), "{printed}");
    }

    let root = ends(0, &["ca", "export", "--dir", dir], "");
    assert_eq!(
        root.trim(),
        std::fs::read_to_string(up.text("ca"))
            .expect("it is there")
            .trim()
    );
    assert!(ends(0, &["ca", "export", "--bundle", "--dir", dir], "").contains(root.trim()));

    // Whoever searches reads what was found, and never the text.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let found = loop {
        let found = ends(0, &["audit", "search", "--dir", dir], "");
        if found.contains("completed") || std::time::Instant::now() > deadline {
            break found;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let owner = ends(0, &["audit", "reference", "owner", "--dir", dir], "");
    assert!(
        found.contains(owner.trim()) && found.contains("SECRET.AWS_ACCESS_KEY=1") && found.contains("engine"),
        "{found}"
    );
    assert!(!found.contains(SECRET));
    assert!(ends(0, &["audit", "verify", "--dir", dir], "").starts_with("ok "));

    assert_eq!(up.stop(), Some(0));
    drop(up);
    let again = Up::start(&state);
    assert_eq!(again.text("key"), key, "the same folder has the same key");
    assert_eq!(ends(0, &["ca", "export", "--dir", dir], ""), root);
    drop(again);

    // A key of our own that was revoked is not handed out.
    let listed: Value =
        serde_json::from_str(&ends(0, &["key", "list", "--json", "--dir", dir], "")).expect("JSON");
    ends(
        0,
        &[
            "key",
            "revoke",
            listed["id"].as_str().expect("an id"),
            "--dir",
            dir,
        ],
        "",
    );
    assert_ne!(Up::start(&state).text("key"), key);
}

#[test]
fn files_that_describe_dialects_are_checked_by_themselves() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let shipped = Places::top().join("policies/dialects").display().to_string();
    assert_eq!(ends(0, &["check", "--dialects", &shipped], ""), "ok\n");
    let file = "name: our-chat\nhosts: [chat.corp.example]\nroutes:\n  - name: ask\n    methods: [POST]\n    paths: [/ask]\n    \
                text: {/q: user}\n    examples:\n      - body: '{\"q\":\"a\"}'\n        segments: [{place: /q, role: ROLE, text: a}]\n";
    std::fs::write(path("a.yaml"), file.replace("ROLE", "system")).expect("the folder takes files");
    let told = ends(1, &["check", "--dialects", &path("")], "");
    assert!(told.contains("a.yaml:9:"), "{told}");
    std::fs::write(path("a.yaml"), file.replace("ROLE", "user")).expect("the folder takes files");
    assert_eq!(
        ends(0, &["check", "--dialects", &path("a.yaml"), &shipped], ""),
        "ok\n"
    );
    ends(2, &["check", "--dialects", &path("b.yaml")], "");
    let schema = ends(0, &["check", "--dialect-schema"], "");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    assert!(schema["$defs"]["WrittenRoute"]["properties"]["text"].is_object());
}

#[test]
fn faults_of_config_and_policy_are_told_by_place() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the temporary folder takes files");
        path.to_str().expect("a plain name").to_owned()
    };
    let told = ends(
        1,
        &["check", "--config", &at("a.yaml", "limits:\n  body_byte: 3\n")],
        "",
    );
    assert!(told.contains("a.yaml:2:3"), "{told}");
    let told = ends(
        1,
        &["check", "--config", &at("s.yaml", "limits: { spool_bytes: 9 }\n")],
        "",
    );
    assert!(told.contains("s.yaml:1:") && told.contains("33554432"), "{told}");
    at(
        "p.yaml",
        "rules:\n  - id: x\n    entities: [EMIAL]\n    action: redact\n",
    );
    let told = ends(1, &["check", "--config", &at("b.yaml", "policy: p.yaml\n")], "");
    assert!(told.contains("p.yaml:3:"), "{told}");
    assert!(ends(0, &["check", "--config", &at("c.yaml", "")], "").ends_with("ok\n"));
    // Records that are gone before half a year has passed are worth a warning, and no more.
    let text = "audit: { retention: { standard: 183, short: 182 } }\n";
    let told = ends(0, &["check", "--config", &at("r.yaml", text)], "");
    let warned = told
        .matches("warning: records of the class `short` are kept for 182 days")
        .count();
    assert!(
        warned == 1 && !told.contains("class `standard`") && told.ends_with("ok\n"),
        "{told}"
    );
    ends(1, &["check", "--config", "/nowhere.yaml"], "");
    // A folder without keys is told what to do, and nothing is made behind anyone's back.
    let config = at("d.yaml", "dir: empty\n");
    let output = cordon(&["serve", "--config", &config], "", &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cordon ca init"), "{said}");
    assert!(!folder.path().join("empty/installation.key").exists());
}

#[test]
fn usage_is_answered_by_exit_codes() {
    ends(2, &["no-such-command"], "");
    ends(2, &["serve"], "");
    for command in [
        "up",
        "serve",
        "check",
        "env",
        "doctor",
        "ca",
        "scan",
        "detectors",
        "policy",
        "key",
        "audit",
        "model",
        "bench",
    ] {
        let help = ends(0, &[command, "--help"], "");
        assert!(
            help.contains("Example"),
            "{command} --help shows no example:\n{help}"
        );
    }
}

#[test]
fn scans_say_where_and_never_what() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, format!("first line\nkéy = {SECRET}\n")).expect("the temporary folder takes files");
    let file = file.to_str().expect("a plain name");
    let told = ends(1, &["scan", file], "");
    assert!(
        told.starts_with(&format!("{file}:2:7 SECRET.AWS_ACCESS_KEY ")),
        "{told}"
    );
    assert!(!told.contains(SECRET));
    assert_eq!(ends(0, &["scan", "-"], "nothing to see here\n"), "");

    let input = format!(
        "{}\n",
        serde_json::json!({"id": 7, "text": format!("é {SECRET}")})
    );
    let told: Value =
        serde_json::from_str(&ends(0, &["scan", "--format", "jsonl", "-"], &input)).expect("one JSON object");
    assert_eq!(told["id"], 7);
    let span = &told["spans"][0];
    assert_eq!(
        (span["start"].as_u64(), span["end"].as_u64()),
        (Some(2), Some(22)),
        "{told}"
    );
    ends(2, &["scan", "--format", "jsonl", "-"], "no json\n");
}

#[test]
fn scans_show_lines_with_the_values_hidden() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("the temporary folder takes files");
    };
    write("a.txt", &format!("key = {SECRET}\n"));
    write("b.txt", &format!("key = {SECRET} # cordon:allow\n"));
    write("c.bin", &format!("\0{SECRET}"));
    write(".gitignore", "d.txt\n");
    write("d.txt", SECRET);
    let top = folder.path().to_str().expect("a plain name");
    let told = ends(1, &["scan", "--show", top], "");
    assert_eq!(told.lines().count(), 3, "{told}");
    assert!(told.contains("1 | key = [SECRET.AWS_ACCESS_KEY]\n"), "{told}");
    assert!(!told.contains(SECRET));
    assert!(ends(1, &["scan", "--reveal", top], "").contains(SECRET));
    let told = ends(1, &["scan", "--ignore-allow", "--all-files", top], "");
    assert_eq!(told.lines().count(), 3, "{told}");

    let told = ends(1, &["scan", "--format", "sarif", top], "");
    let sarif: Value = serde_json::from_str(&told).expect("one JSON document");
    let results = sarif["runs"][0]["results"].as_array().expect("a list");
    assert_eq!(
        (sarif["version"].as_str(), results.len()),
        (Some("2.1.0"), 1),
        "{told}"
    );
    assert!(!told.contains(SECRET));

    let known = folder.path().join("known");
    let known = known.to_str().expect("a plain name");
    let file = format!("{top}/a.txt");
    ends(0, &["scan", "--baseline", known, "--write-baseline", &file], "");
    assert_eq!(ends(0, &["scan", "--baseline", known, &file], ""), "");
    ends(2, &["scan", &format!("{top}/absent.txt")], "");
}

#[test]
fn scans_of_pages_read_what_markup_divides() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let page = folder.path().join("page.html");
    let write = |text: &str| std::fs::write(&page, text).expect("the temporary folder takes files");
    let file = page.to_str().expect("a plain name");
    write(
        "<html><body>\n<p>card <b>41</b>11 11<i>11</i> 1111 1111</p>\n<p>write to ann@corp.example.com</p>\n",
    );
    let told = ends(1, &["scan", "--no-names", file], "");
    let places: Vec<&str> = told
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(place, _)| place)
        .collect();
    assert_eq!(
        places,
        [
            format!("{file}:3:13 EMAIL"),
            format!("{file}!/text:1:6 CREDIT_CARD")
        ],
        "{told}"
    );
    let told = ends(1, &["scan", "--no-names", "--format", "json", file], "");
    assert!(told.contains("\"inside\":\"!/text\""), "{told}");
    // What the source shows is told by its line there, and once.
    write(
        "<p>&#52;111 1111&nbsp;1111 1111</p><a href=\"mailto:ann@corp.example.com\">ann@corp.example.com</a>\n",
    );
    let told = ends(1, &["scan", "--no-names", file], "");
    assert!(!told.contains("!/"), "{told}");
    assert_eq!(told.matches("CREDIT_CARD").count(), 1, "{told}");
}

#[test]
fn scans_of_git_tell_added_lines_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let git = |arguments: &[&str]| {
        let ran = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("git can be run");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let write = |text: &str| {
        std::fs::write(folder.path().join("a.txt"), text).expect("the temporary folder takes files");
    };
    let scan = |arguments: &[&str]| {
        let output = Command::new(Places::cordon())
            .arg("scan")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("the binary can be run");
        (output.status.code(), out(&output))
    };
    git(&["init", "-q"]);
    write(&format!("old {SECRET}\n"));
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    write(&format!("old {SECRET}\nnothing\nnew mail@corp.example.com\n"));
    git(&["add", "."]);
    let (code, told) = scan(&["--staged"]);
    assert_eq!(code, Some(1));
    assert!(
        told.starts_with("a.txt:3:5 EMAIL ") && told.lines().count() == 1,
        "{told}"
    );
    git(&["commit", "-q", "-m", "two"]);
    write("nothing\n");
    git(&["commit", "-q", "-a", "-m", "three"]);
    // What a later commit takes out again would be pushed nevertheless.
    let (code, told) = scan(&["--git", "HEAD~2..HEAD"]);
    assert!(
        code == Some(1) && told.starts_with("a.txt:3:5 EMAIL ") && told.contains(" in "),
        "{told}"
    );
    assert_eq!(scan(&["--staged"]), (Some(0), String::new()));
    assert_eq!(scan(&["--git", "no-such-branch"]).0, Some(2));
    // A merge is told what none of its parents has, and its side's commits tell the rest, each thing once.
    git(&["tag", "before"]);
    git(&["checkout", "-q", "-b", "side"]);
    write("nothing\nside mail@side.example.com\n");
    git(&["commit", "-q", "-a", "-m", "four"]);
    write("nothing\nside\n");
    git(&["commit", "-q", "-a", "-m", "five"]);
    git(&["checkout", "-q", "-b", "main-line", "before"]);
    write("first\nnothing\n");
    git(&["commit", "-q", "-a", "-m", "six"]);
    git(&["merge", "-q", "--no-commit", "--no-ff", "-s", "ours", "side"]);
    write("first\nnothing\nside\nmerged mail@merge.example.com\n");
    git(&["commit", "-q", "-a", "-m", "seven"]);
    let (code, told) = scan(&["--git", "before..HEAD"]);
    assert_eq!((code, told.lines().count()), (Some(1), 2), "{told}");
    assert!(told.starts_with("a.txt:4:8 EMAIL "), "{told}");
    assert!(told.contains("\na.txt:2:6 EMAIL "), "{told}");
}

#[test]
fn detectors_are_listed_tested_and_explained() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let own = folder.path().join("own.yaml");
    let yaml = "detectors:\n  - id: own-ticket\n    entity: TICKET\n    pattern: 'TCK-[0-9]{4}'\n    keywords: [tck-]\n    score: 0.9\n    \
                examples:\n      - 'see ⟦TCK-1234⟧'\n      - 'see ⟦TCK-12⟧'\n    counter_examples: ['TCK']\n";
    std::fs::write(&own, yaml).expect("the temporary folder takes files");
    let own = own.to_str().expect("a plain name");
    let told = ends(0, &["detectors", "list", "--entity", "TICKET", "--file", own], "");
    assert!(
        told.starts_with("own-ticket ") && told.lines().count() == 1,
        "{told}"
    );
    let told = ends(1, &["detectors", "test", own], "");
    assert!(
        told.contains(&format!("{own}:9: own-ticket: expected TICKET")),
        "{told}"
    );
    let told = ends(0, &["detectors", "explain", "own-ticket", "--file", own], "");
    assert!(told.contains("base score    0.90"), "{told}");
    let told = ends(
        1,
        &["detectors", "explain", "--text", "-"],
        &format!("key {SECRET}\n"),
    );
    assert!(
        told.contains("SECRET.AWS_ACCESS_KEY by aws-access-key") && told.contains("base: "),
        "{told}"
    );
    assert!(!told.contains(SECRET));
    ends(2, &["detectors", "explain", "no-such-detector"], "");
}

#[test]
fn the_shipped_policy_passes_its_tests() {
    let policy = Places::top().join("policies/default.yaml");
    let told = ends(0, &["policy", "test", policy.to_str().expect("a plain name")], "");
    assert!(told.contains("passed"), "{told}");
    let schema: Value = serde_json::from_str(&ends(0, &["policy", "schema"], "")).expect("JSON");
    assert!(schema["properties"]["rules"].is_object());
}

#[test]
fn weights_are_pulled_checked_listed_and_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let dir = folder.path().join("state");
    let dir = dir.to_str().expect("a plain name");
    let weights = Places::weights();
    let source = format!("file:{}", weights.display());
    let wrong = "0".repeat(64);
    ends(
        2,
        &["model", "pull", &source, "--sha256", &wrong, "--dir", dir],
        "",
    );
    assert_eq!(ends(0, &["model", "list", "--dir", dir], ""), "");
    ends(0, &["model", "pull", &source, "--dir", dir], "");
    let listed: Value =
        serde_json::from_str(&ends(0, &["model", "list", "--json", "--dir", dir], "")).expect("JSON");
    assert_eq!(
        listed["bytes"].as_u64(),
        weights.metadata().ok().map(|metadata| metadata.len())
    );
    let shown = ends(0, &["model", "show", "--dir", dir], "");
    assert!(
        shown.contains("architecture  llama") && shown.contains("context       8192"),
        "{shown}"
    );
}
