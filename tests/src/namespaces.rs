//! A network of its own for a test: a gateway that callers' connections are routed through, and the callers behind it.
//!
//! The test starts itself again in a network namespace ([`apart`]), so that nothing it does to addresses and rules
//! reaches the machine. There it is the gateway: Cordon runs beside it, and its upstreams, too. [`Callers`] are
//! another namespace, joined to the first by a pair of interfaces; connections are opened from in there.
//!
//! It needs root, or a kernel that lets everybody make namespaces, and the commands `unshare` and `nsenter`
//! (util-linux), `ip` (iproute2) and `nft` (nftables).
//!
//! On failure: a test whose network cannot be made fails and says why. `CORDON_TESTS_WITHOUT_NAMESPACES=1` leaves
//! such tests out on machines that cannot run them; each says on standard error that it did not run.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Says that the test runs in its network already.
const INSIDE: &str = "CORDON_TESTS_NAMESPACE";
/// Leaves out tests that need a network of their own.
const WITHOUT: &str = "CORDON_TESTS_WITHOUT_NAMESPACES";

/// The gateway's interface towards the callers.
pub const INNER: &str = "lan0";
/// The gateway's addresses there.
pub const GATEWAY: [&str; 2] = ["198.51.100.1/24", "2001:db8:1::1/64"];
/// The callers' addresses.
pub const CALLER: [&str; 2] = ["198.51.100.2/24", "2001:db8:1::2/64"];
/// Addresses outside, at which a test may listen.
pub const OUTSIDE: [&str; 2] = ["203.0.113.10", "2001:db8:f::10"];
/// The gateway's address in a network outside, and one there that swallows what is sent to it.
pub const NOWHERE: [&str; 2] = ["192.0.2.1/24", "192.0.2.99"];

/// How long a command that lays out the network may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test in a network namespace of its own. `name` is the test's, as the test harness knows it.
pub fn apart<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        return runtime.expect("threads can be made").block_on(test());
    }
    if std::env::var_os(WITHOUT).is_some() {
        // Past the harness, which shows nothing that a passing test prints.
        let _ = writeln!(std::io::stderr(), "NOT RUN, as {WITHOUT} says: {name}");
        return;
    }
    let own = std::env::current_exe().expect("a test knows its own path");
    let output = Command::new("unshare")
        .args(way())
        .arg(own)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("`unshare` can be run");
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("1 passed"),
        "the test did not run in its network: {told}"
    );
}

/// How a network namespace can be made here.
fn way() -> &'static [&'static str] {
    let mut reasons = String::new();
    for way in [&["--net"][..], &["--map-root-user", "--net"]] {
        let tried = Command::new("unshare").args(way).arg("true").output();
        match tried {
            Ok(output) if output.status.success() => return way,
            Ok(output) => reasons.push_str(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => reasons = format!("unshare: {error}\n"),
        }
    }
    panic!(
        "NOT TESTED: this machine lets us make no network namespace, without which connections cannot be redirected.\n{reasons}\
         Run the tests as root on a kernel that permits them, or set {WITHOUT}=1 to leave out what needs one."
    );
}

/// Runs a command that must succeed.
fn run(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output();
    let output =
        output.unwrap_or_else(|error| panic!("{program}: {error} (scripts/test-packages installs it)"));
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Those who call, in a network behind the gateway.
pub struct Callers {
    /// Keeps their namespace.
    holder: Child,
}

impl Callers {
    /// Lays out the network, with these rules of nftables on the gateway.
    #[must_use]
    pub fn behind(rules: &str) -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "infinity"])
            .spawn();
        let callers = Self {
            holder: holder.expect("`unshare` can be run"),
        };
        callers.wait_until_apart();
        run("ip link set lo up");
        for outside in OUTSIDE {
            let bits = if outside.contains(':') { 128 } else { 32 };
            run(&format!("ip address add {outside}/{bits} dev lo"));
        }
        run("ip link add out0 type veth peer name out1");
        run(&format!("ip address add {} dev out0", NOWHERE[0]));
        run("ip link set out0 up");
        run("ip link set out1 up");
        run(&format!(
            "ip neighbour add {} lladdr 02:00:00:00:00:01 dev out0",
            NOWHERE[1]
        ));
        run(&format!("ip link add {INNER} type veth peer name up0"));
        run(&format!("ip link set up0 netns {}", callers.holder.id()));
        for address in GATEWAY {
            run(&format!(
                "ip address add {address} dev {INNER} {}",
                nodad(address)
            ));
        }
        run(&format!("ip link set {INNER} up"));
        callers.run("ip link set lo up");
        for address in CALLER {
            callers.run(&format!("ip address add {address} dev up0 {}", nodad(address)));
        }
        callers.run("ip link set up0 up");
        for (gateway, family) in GATEWAY.iter().zip(["-4", "-6"]) {
            let gateway = gateway.split('/').next().unwrap_or_default();
            callers.run(&format!("ip {family} route add default via {gateway}"));
        }
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a namespace's own settings can be changed");
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("nftables is installed (scripts/test-packages)");
        let mut stdin = nft.stdin.take().expect("it is piped");
        stdin.write_all(rules.as_bytes()).expect("nft reads its rules");
        drop(stdin);
        assert!(
            nft.wait().is_ok_and(|status| status.success()),
            "nft refused:\n{rules}"
        );
        callers
    }

    /// Their namespace's file.
    fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    fn wait_until_apart(&self) {
        let deadline = Instant::now() + PATIENCE;
        let ours = fs::read_link("/proc/self/ns/net").expect("Linux tells of namespaces");
        while fs::read_link(self.network()).is_ok_and(|theirs| theirs == ours) {
            assert!(Instant::now() < deadline, "`unshare` made no namespace");
            std::thread::yield_now();
        }
    }

    fn run(&self, line: &str) {
        run(&format!("nsenter --net={} {line}", self.network()));
    }

    /// A program that runs where they are.
    #[must_use]
    pub fn program(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network())).arg(program);
        command
    }

    /// Something done where they are: a socket stays in the network that it was made in.
    pub fn there<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let network = File::open(self.network()).expect("the holder holds it");
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("the namespace can be entered");
                what()
            });
            entered.join().expect("what is done there does not panic")
        })
    }

    /// A connection from where they are.
    #[must_use]
    pub fn connect(&self, to: SocketAddr) -> tokio::net::TcpStream {
        let stream = self
            .there(|| std::net::TcpStream::connect_timeout(&to, PATIENCE))
            .unwrap_or_else(|error| panic!("{to}: {error}"));
        stream.set_nonblocking(true).expect("a socket can be set up");
        stream.set_nodelay(true).expect("a socket can be set up");
        tokio::net::TcpStream::from_std(stream).expect("a socket can be used")
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// An address outside with a port.
#[must_use]
pub fn outside(which: usize, port: u16) -> SocketAddr {
    let address: IpAddr = OUTSIDE[which].parse().expect("an address");
    SocketAddr::new(address, port)
}

/// Addresses of IPv6 are ours at once, with nobody asked whether they have them.
fn nodad(address: &str) -> &'static str {
    if address.contains(':') { "nodad" } else { "" }
}
