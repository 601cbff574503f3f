//! The programs of this machine, each tried with this shell's settings.
//!
//! A program that can send a request is let send one, for a path that nobody serves, to an intercepted
//! host: Cordon refuses it with an exchange id in its head, so whoever sees that id came through, and
//! trusts our CA. Agents that only talk to a language model are not started, since that would spend
//! somebody's money; which settings they read was measured (`docs/clients.md`).
//!
//! Limits: ten seconds a program. On failure: a program that is not installed is left out.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Java compiles the probe first.
const JAVA_PATIENCE: Duration = Duration::from_secs(30);

/// The programs that are known, by the name that `--only` takes.
pub const KNOWN: [&str; 9] = [
    "curl", "python", "requests", "httpx", "node", "git", "java", "agents", "settings",
];

/// What a program made of the settings.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It came through Cordon and trusts it.
    Fine,
    /// It does not; why, and the variable or command that mends it.
    Wrong {
        /// What it does.
        why: &'static str,
        /// What to set or run.
        mend: String,
    },
}

/// What programs are to be sent through, and what they are to trust.
pub struct Course<'a> {
    /// An intercepted host.
    pub host: &'a str,
    /// Our root certificate's file.
    pub root: &'a Path,
    /// System roots and ours.
    pub bundle: &'a Path,
    /// `host:port` of the proxy.
    pub proxy: &'a str,
    /// Variables of this shell.
    pub variables: &'a BTreeMap<String, String>,
    /// Whether a file that a variable names holds our root.
    pub holds: &'a dyn Fn(&str) -> bool,
}

/// How a program came out: what was tried with its version, and the verdict.
pub type Tried = (String, Verdict);

/// Tries every program that is wanted and installed.
pub async fn examine(course: &Course<'_>, wanted: impl Fn(&str) -> bool) -> Vec<Tried> {
    let mut tried = Vec::new();
    for probe in PROBES {
        if wanted(probe.name)
            && let Some(version) = version(probe.program, probe.version).await
            && let Some(output) = (probe.run)(course).await
        {
            let verdict = judge(&output, course, probe);
            tried.push((format!("{} ({version})", probe.title), verdict));
        }
    }
    if wanted("agents") {
        for agent in AGENTS {
            if let Some(version) = version(agent.program, "--version").await {
                tried.push((format!("{} ({version})", agent.title), agent.judge(course)));
            }
        }
    }
    tried
}

/// A program that sends one request.
struct Probe {
    name: &'static str,
    title: &'static str,
    program: &'static str,
    /// The argument that makes it tell its version.
    version: &'static str,
    run: for<'a> fn(&'a Course<'a>) -> Running<'a>,
    /// What makes it trust our CA.
    trust: fn(&Course<'_>) -> String,
    /// What makes it go by the proxy, where the variables of `cordon env` do not.
    route: Option<&'static str>,
}

type Running<'a> = std::pin::Pin<Box<dyn Future<Output = Option<String>> + Send + 'a>>;

const PROBES: [&Probe; 7] = [
    &Probe {
        name: "curl",
        title: "curl",
        program: "curl",
        version: "--version",
        run: |course| {
            let url = course.url();
            Box::pin(async move {
                let arguments = ["-sS", "-D", "-", "-o", "-", "--max-time", "8", &url];
                run("curl", &arguments, &[], PATIENCE).await
            })
        },
        trust: |course| course.export("CURL_CA_BUNDLE", course.bundle),
        route: None,
    },
    &Probe {
        name: "python",
        title: "Python's urllib",
        program: "python3",
        version: "--version",
        run: |course| python(course, URLLIB),
        trust: |course| course.export("SSL_CERT_FILE", course.bundle),
        route: None,
    },
    &Probe {
        name: "requests",
        title: "Python's requests",
        program: "python3",
        version: "--version",
        run: |course| python(course, REQUESTS),
        trust: |course| course.export("REQUESTS_CA_BUNDLE", course.bundle),
        route: None,
    },
    &Probe {
        name: "httpx",
        title: "Python's httpx, as openai and anthropic use it",
        program: "python3",
        version: "--version",
        run: |course| python(course, HTTPX),
        trust: |course| course.export("SSL_CERT_FILE", course.bundle),
        route: None,
    },
    &Probe {
        name: "node",
        title: "Node.js",
        program: "node",
        version: "--version",
        run: |course| {
            let script = FETCH.replace("URL", &course.url());
            Box::pin(async move { run("node", &["-e", &script], &[], PATIENCE).await })
        },
        trust: |course| course.export("NODE_EXTRA_CA_CERTS", course.root),
        route: Some(
            "Node.js 22.21 and later goes by the proxy with NODE_USE_ENV_PROXY=1; earlier ones never do by themselves: \
             give `undici`'s EnvHttpProxyAgent as dispatcher, or set the gateway as base URL",
        ),
    },
    &Probe {
        name: "git",
        title: "git over HTTPS",
        program: "git",
        version: "--version",
        run: |course| {
            let url = course.url();
            Box::pin(async move {
                let quiet = [("GIT_CURL_VERBOSE", "1"), ("GIT_TERMINAL_PROMPT", "0")];
                run(
                    "git",
                    &["-c", "credential.helper=", "ls-remote", &url],
                    &quiet,
                    PATIENCE,
                )
                .await
            })
        },
        trust: |course| {
            format!(
                "git config --global http.sslCAInfo {}",
                quoted(&course.bundle.display().to_string())
            )
        },
        route: Some("look for another proxy in `git config --get-all http.proxy`"),
    },
    &Probe {
        name: "java",
        title: "Java",
        program: "java",
        version: "-version",
        run: |course| Box::pin(java(course.url())),
        trust: |course| {
            format!(
                "keytool -importcert -noprompt -cacerts -storepass changeit -alias cordon -file {}",
                quoted(&course.root.display().to_string())
            )
        },
        route: Some(
            "Java reads no proxy variables: set JAVA_TOOL_OPTIONS=\"-Dhttps.proxyHost=HOST -Dhttps.proxyPort=PORT\" \
             with the address of the proxy; it sends no login by settings alone, so let such programs use \
             the gateway as base URL",
        ),
    },
];

const URLLIB: &str = "
import urllib.error, urllib.request
try:
    answer = urllib.request.urlopen('URL', timeout=8)
except urllib.error.HTTPError as error:
    answer = error
print(answer.headers)
";

const REQUESTS: &str = "
try:
    import requests
except ImportError:
    print('cordon: not installed')
else:
    print(requests.get('URL', timeout=8).headers)
";

const HTTPX: &str = "
try:
    import httpx
except ImportError:
    print('cordon: not installed')
else:
    print(httpx.get('URL', timeout=8).headers)
";

const FETCH: &str = "fetch('URL', { signal: AbortSignal.timeout(8000) })
  .then((answer) => console.log([...answer.headers]))
  .catch((error) => console.log(String(error), error.cause?.code, error.cause?.message));";

const JAVA: &str = r#"
import java.net.HttpURLConnection;
import java.net.URI;

class CordonDoctor {
    public static void main(String[] arguments) throws Exception {
        var answer = (HttpURLConnection) URI.create(arguments[0]).toURL().openConnection();
        answer.setConnectTimeout(8000);
        answer.setReadTimeout(8000);
        answer.getResponseCode();
        System.out.println(answer.getHeaderFields());
    }
}
"#;

fn python<'a>(course: &'a Course<'a>, script: &str) -> Running<'a> {
    let script = script.replace("URL", &course.url());
    Box::pin(async move {
        let output = run("python3", &["-c", &script], &[], PATIENCE).await?;
        (!output.contains("cordon: not installed")).then_some(output)
    })
}

async fn java(url: String) -> Option<String> {
    let folder = tempfile::tempdir().ok()?;
    let source = folder.path().join("CordonDoctor.java");
    std::fs::write(&source, JAVA).ok()?;
    let output = run("java", &[source.to_str()?, &url], &[], JAVA_PATIENCE).await?;
    // A runtime without a compiler cannot be asked this way, which says nothing about its settings.
    let cannot = output.contains("jdk.compiler") || output.contains("Could not find or load main class");
    (!cannot).then_some(output)
}

/// Both outputs of a program; `None` when it is not there. What takes too long counts as silent.
async fn run(
    program: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
    patience: Duration,
) -> Option<String> {
    let child = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    match tokio::time::timeout(patience, child.wait_with_output()).await {
        Ok(Ok(output)) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Some(text)
        }
        Ok(Err(_)) => None,
        Err(_) => Some(String::new()),
    }
}

/// The first line in which a program tells its version; `None` when it is not installed.
async fn version(program: &str, argument: &str) -> Option<String> {
    let told = run(program, &[argument], &[], PATIENCE).await?;
    let line = told
        .lines()
        .find(|line| line.bytes().any(|byte| byte.is_ascii_digit()) && !line.starts_with("Picked up"));
    Some(
        line.unwrap_or("version unknown")
            .trim()
            .chars()
            .take(60)
            .collect(),
    )
}

/// What a program's output says about how it went.
fn judge(output: &str, course: &Course<'_>, probe: &Probe) -> Verdict {
    let lower = output.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // What failed comes first: git shows the head of its first, unauthenticated CONNECT on its way as well.
    if says(&[
        "connect tunnel failed, response 407",
        "http code 407 from proxy",
        "connection failed: 407",
        "returns \"http/1.1 407",
    ]) {
        return Verdict::Wrong {
            why: "it reaches the proxy without a login that it knows",
            mend: match probe.name {
                "java" => probe.route.unwrap_or_default().to_owned(),
                _ => "make a key with `cordon key create` and run `eval \"$(cordon env --key KEY)\"`"
                    .to_owned(),
            },
        };
    }
    if says(&[
        "certificate problem",
        "certificate verif",
        "certificate_verify_failed",
        "self-signed certificate",
        "self_signed",
        "pkix path",
        "unable_to_get_issuer",
        "unable_to_verify",
    ]) && !says(&["certificate verification ok"])
    {
        return Verdict::Wrong {
            why: "it does not trust Cordon's CA",
            mend: (probe.trust)(course),
        };
    }
    if says(&["x-cordon-exchange"]) {
        return Verdict::Fine;
    }
    Verdict::Wrong {
        why: "its request did not come by Cordon: it ignores the proxy, or was refused on the way",
        mend: match probe.route {
            Some(advice) if course.routed() || probe.name == "java" => advice.to_owned(),
            _ => course.way(),
        },
    }
}

/// A coding agent, and the variables of which it reads one for its trust.
struct Agent {
    title: &'static str,
    program: &'static str,
    trust: &'static [(&'static str, Bundle)],
}

/// Which file a variable is to name.
#[derive(Clone, Copy, PartialEq)]
enum Bundle {
    Root,
    Whole,
}

const AGENTS: [&Agent; 3] = [
    &Agent {
        title: "Codex",
        program: "codex",
        trust: &[
            ("CODEX_CA_CERTIFICATE", Bundle::Root),
            ("SSL_CERT_FILE", Bundle::Whole),
        ],
    },
    &Agent {
        title: "Claude Code",
        program: "claude",
        trust: &[
            ("NODE_EXTRA_CA_CERTS", Bundle::Root),
            ("SSL_CERT_FILE", Bundle::Whole),
        ],
    },
    &Agent {
        title: "Gemini CLI",
        program: "gemini",
        trust: &[("NODE_EXTRA_CA_CERTS", Bundle::Root)],
    },
];

impl Agent {
    fn judge(&self, course: &Course<'_>) -> Verdict {
        if !course.routed() {
            return Verdict::Wrong {
                why: "no proxy is set for it",
                mend: course.way(),
            };
        }
        if self.trust.iter().any(|(name, _)| (course.holds)(name)) {
            return Verdict::Fine;
        }
        let (name, bundle) = self.trust[0];
        let file = match bundle {
            Bundle::Root => course.root,
            Bundle::Whole => course.bundle,
        };
        Verdict::Wrong {
            why: "it does not trust Cordon's CA",
            mend: course.export(name, file),
        }
    }
}

impl Course<'_> {
    /// A path that no provider serves, so that nothing can come of it elsewhere.
    fn url(&self) -> String {
        format!("https://{}/cordon-doctor", self.host)
    }

    /// Whether this shell names a proxy.
    fn routed(&self) -> bool {
        let names = ["HTTPS_PROXY", "https_proxy"];
        names.iter().any(|name| self.variables.contains_key(*name))
    }

    fn way(&self) -> String {
        format!(
            "set HTTPS_PROXY to http://cordon:KEY@{} (`eval \"$(cordon env)\"`)",
            self.proxy
        )
    }

    fn export(&self, name: &str, file: &Path) -> String {
        let file = file.display().to_string();
        if cfg!(windows) {
            format!("setx {name} \"{file}\"")
        } else {
            format!("export {name}={}", quoted(&file))
        }
    }
}

fn quoted(text: &str) -> String {
    super::super::env::sh_quoted(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(output: &str, name: &str) -> Verdict {
        let variables = BTreeMap::new();
        let course = Course {
            host: "api.openai.com",
            root: Path::new("/state/ca/root.pem"),
            bundle: Path::new("/state/ca/bundle.pem"),
            proxy: "127.0.0.1:8888",
            variables: &variables,
            holds: &|_| false,
        };
        let probe = PROBES.iter().find(|probe| probe.name == name).unwrap();
        judge(output, &course, probe)
    }

    fn mend(verdict: Verdict) -> String {
        match verdict {
            Verdict::Wrong { mend, .. } => mend,
            Verdict::Fine => panic!("it is fine"),
        }
    }

    #[test]
    fn outputs_as_programs_print_them_are_told_apart() {
        assert_eq!(
            verdict("HTTP/2 400\r\nX-Cordon-Exchange: 01\r\n", "curl"),
            Verdict::Fine
        );
        for (output, name, expected) in [
            (
                "curl: (60) SSL certificate problem: unable to get local issuer certificate",
                "curl",
                "CURL_CA_BUNDLE='/state/ca/bundle.pem'",
            ),
            (
                "TypeError: fetch failed SELF_SIGNED_CERT_IN_CHAIN",
                "node",
                "NODE_EXTRA_CA_CERTS='/state/ca/root.pem'",
            ),
            (
                "javax.net.ssl.SSLHandshakeException: PKIX path building failed",
                "java",
                "keytool -importcert",
            ),
            (
                "server certificate verification failed. CAfile: none",
                "git",
                "http.sslCAInfo '/state/ca/bundle.pem'",
            ),
            ("curl: (6) Could not resolve host", "curl", "HTTPS_PROXY"),
            ("TypeError: fetch failed ENOTFOUND", "node", "HTTPS_PROXY"),
            (
                "Received HTTP code 407 from proxy after CONNECT",
                "curl",
                "cordon key create",
            ),
            ("", "java", "JAVA_TOOL_OPTIONS"),
        ] {
            let mend = mend(verdict(output, name));
            assert!(mend.contains(expected), "{name}: {mend}");
        }
    }

    #[test]
    fn agents_are_judged_by_what_they_read() {
        let mut variables = BTreeMap::new();
        let holds = |name: &str| name == "SSL_CERT_FILE";
        let judged = |agent: &Agent, variables: &BTreeMap<String, String>, holds: &dyn Fn(&str) -> bool| {
            agent.judge(&Course {
                host: "api.openai.com",
                root: Path::new("/r"),
                bundle: Path::new("/b"),
                proxy: "p:1",
                variables,
                holds,
            })
        };
        assert!(mend(judged(AGENTS[0], &variables, &holds)).contains("HTTPS_PROXY"));
        variables.insert("https_proxy".to_owned(), "http://p:1".to_owned());
        assert_eq!(judged(AGENTS[0], &variables, &holds), Verdict::Fine);
        assert_eq!(judged(AGENTS[1], &variables, &holds), Verdict::Fine);
        // Gemini CLI runs on Node.js, which reads its own variable alone.
        assert!(mend(judged(AGENTS[2], &variables, &holds)).contains("NODE_EXTRA_CA_CERTS='/r'"));
    }
}
