//! A key distribution centre of a test's own, MIT's, with two realms: the company's, and a laboratory's whose users
//! the company's services get tickets from, too.
//!
//! It lives in a temporary folder, listens on loopback alone, and needs no root.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

/// The company's realm.
pub const CORP: &str = "CORP.EXAMPLE";
/// The laboratory's, which the company's trusts.
pub const LAB: &str = "LAB.EXAMPLE";

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// The centre; dropping it ends it.
pub struct Kdc {
    folder: TempDir,
    child: Child,
}

/// A user's tickets.
pub struct Tickets {
    cache: PathBuf,
    config: PathBuf,
}

impl Tickets {
    /// The variables by which Kerberos' programs find them.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("KRB5_CONFIG", self.config.display().to_string()),
            ("KRB5CCNAME", format!("FILE:{}", self.cache.display())),
        ]
    }
}

impl Kdc {
    /// Makes both realms and starts it.
    #[must_use]
    pub fn start() -> Self {
        let deadline = Instant::now() + START;
        loop {
            let folder = tempfile::tempdir().expect("a temporary folder can be made");
            let port = free_port();
            settle(folder.path(), port);
            let log = fs::File::create(folder.path().join("kdc.out")).expect("the folder is ours");
            let child = tool(folder.path(), "krb5kdc")
                .args(["-n", "-r", CORP, "-r", LAB])
                .stdout(log.try_clone().expect("a file can be had twice"))
                .stderr(log)
                .spawn()
                .expect("krb5kdc is installed (scripts/test-packages)");
            let mut kdc = Self { folder, child };
            if kdc.listens(port, deadline) {
                return kdc;
            }
            // Somebody else took the port meanwhile.
            assert!(Instant::now() < deadline, "krb5kdc does not start: {}", kdc.log());
        }
    }

    fn listens(&mut self, port: u16, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return false;
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("kdc.out")).unwrap_or_default()
    }

    /// Its clients' configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("krb5.conf")
    }

    /// The same for a service that takes a clock's word for so many seconds only.
    #[must_use]
    pub fn config_with_skew(&self, seconds: u64) -> PathBuf {
        let path = self.folder.path().join("krb5-skew.conf");
        let text = fs::read_to_string(self.config()).expect("the configuration is ours");
        let text = text.replace(
            "[libdefaults]\n",
            &format!("[libdefaults]\n clockskew = {seconds}\n"),
        );
        fs::write(&path, text).expect("the folder is ours");
        path
    }

    /// Makes new keys for a service of the company's, under new numbers, and adds them to a keytab.
    pub fn keys(&self, service: &str, keytab: &Path) {
        // An account that is there already is no error; it only says so.
        self.admin(CORP, &format!("addprinc -randkey {service}"));
        self.admin(CORP, &format!("ktadd -k {} {service}", keytab.display()));
    }

    /// Logs a user in, by a password, for so long.
    #[must_use]
    pub fn log_in(&self, user: &str, realm: &str, lifetime: &str) -> Tickets {
        self.admin(realm, &format!("addprinc -pw secret {user}"));
        let tickets = Tickets {
            cache: self.folder.path().join(format!("tickets-of-{user}-{realm}")),
            config: self.config(),
        };
        let mut kinit = Command::new("kinit")
            .args(["-l", lifetime, &format!("{user}@{realm}")])
            .env_clear()
            .envs(tickets.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("kinit is installed (scripts/test-packages)");
        let mut stdin = kinit.stdin.take().expect("a pipe was asked for");
        stdin.write_all(b"secret\n").expect("kinit reads a password");
        drop(stdin);
        let ended = kinit.wait().expect("a child can be waited for");
        assert!(ended.success(), "{user} cannot log in: {}", self.log());
        tickets
    }

    /// Logs a user in by a keytab, as programs without a person do.
    #[must_use]
    pub fn log_in_by_keytab(&self, user: &str) -> Tickets {
        let keytab = self.folder.path().join(format!("{user}.keytab"));
        self.keys(user, &keytab);
        let tickets = Tickets {
            cache: self.folder.path().join(format!("tickets-of-{user}")),
            config: self.config(),
        };
        let ended = Command::new("kinit")
            .args(["-k", "-t"])
            .arg(&keytab)
            .arg(format!("{user}@{CORP}"))
            .env_clear()
            .envs(tickets.environment())
            .stdin(Stdio::null())
            .status();
        assert!(ended.is_ok_and(|ended| ended.success()), "{}", self.log());
        tickets
    }

    fn admin(&self, realm: &str, query: &str) {
        run(tool(self.folder.path(), "kadmin.local").args(["-r", realm, "-q", query]));
    }
}

impl Drop for Kdc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// curl in an environment that holds a user's tickets and nothing else.
#[must_use]
pub fn curl(tickets: Option<&Tickets>) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("curl");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .args(["--silent", "--show-error", "--max-time", "60", "--noproxy", ""])
        .args(["--proxy-negotiate", "--proxy-user", ":"]);
    match tickets {
        Some(tickets) => command.envs(tickets.environment()),
        None => command.env("KRB5CCNAME", "FILE:/nonexistent"),
    };
    command
}

/// The token that curl would show to the proxy, in base64: a proxy that answers nothing hears it.
pub async fn token(tickets: &Tickets, further: &[&str]) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has free ports");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    let mut command = curl(Some(tickets));
    command
        .args(["--proxy", &format!("http://localhost:{port}")])
        .args(further)
        .arg("https://api.openai.com/")
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let _curl = command
        .spawn()
        .expect("curl is installed (scripts/test-packages)");
    let (mut stream, _) = listener.accept().await.expect("curl comes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("curl asks whole"));
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("Proxy-Authorization: Negotiate "));
    line.unwrap_or_else(|| panic!("curl shows no ticket: {head}"))
        .to_owned()
}

/// Writes the files of both realms.
fn settle(folder: &Path, port: u16) {
    let at = folder.display();
    let mut clients = String::from(
        "[libdefaults]\n default_realm = CORP.EXAMPLE\n dns_lookup_kdc = false\n dns_lookup_realm = false\n dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n[domain_realm]\n localhost = CORP.EXAMPLE\n[realms]\n",
    );
    let mut centre = String::from("[kdcdefaults]\n");
    centre += &format!(" kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n");
    for realm in [CORP, LAB] {
        clients += &format!(" {realm} = {{\n  kdc = 127.0.0.1:{port}\n }}\n");
        centre += &format!(
            " {realm} = {{\n  database_name = {at}/{realm}\n  key_stash_file = {at}/{realm}.stash\n  acl_file = {at}/acl\n }}\n"
        );
    }
    fs::write(folder.join("krb5.conf"), clients).expect("the folder is ours");
    fs::write(folder.join("kdc.conf"), centre).expect("the folder is ours");
    for realm in [CORP, LAB] {
        run(tool(folder, "kdb5_util").args(["create", "-s", "-r", realm, "-P", "master"]));
        let trusted = format!("addprinc -pw between krbtgt/{CORP}@{LAB}");
        run(tool(folder, "kadmin.local").args(["-r", realm, "-q", &trusted]));
    }
}

/// One of Debian's programs for administrators, which are not on everybody's path.
fn tool(folder: &Path, name: &str) -> Command {
    let found = ["/usr/sbin", "/usr/local/sbin", "/usr/lib/mit/sbin"]
        .into_iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists());
    let mut command = Command::new(found.unwrap_or_else(|| name.into()));
    command
        .env("KRB5_CONFIG", folder.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", folder.join("kdc.conf"))
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .expect("krb5-kdc and krb5-admin-server are installed (scripts/test-packages)");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
