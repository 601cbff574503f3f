//! Tunnels: bytes passed unread between a caller and a host that is not intercepted, counted.
//!
//! Unread, with one exception: a TLS handshake that opens the tunnel is looked at ([`hello`](crate::hello))
//! for the server it names. A caller that CONNECTs to the bare address of an intercepted host (or to a name
//! of its own that points there) and then names the host inside would otherwise pass uninspected. One that
//! hides the name in an encrypted ClientHello is refused unless [`TunnelRules::hidden_names`] permits it, one
//! that names nobody unless [`TunnelRules::nameless`] does or the configuration names where it leads: many servers answer for a
//! host by default.
//!
//! Limits: tunnels at a time, time to connect, idle time, grace at shutdown, bytes of a handshake
//! held back. Addresses as [`reach`](crate::reach) says, checked on what was resolved and then dialled.
//!
//! On failure: before the 200, a refusal; after it, the connection is closed. The record is closed
//! with the bytes counted in every case.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use cordon_domain::Door;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split},
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    exchange::{Exchanges, Reason, TunnelRecord, TurnedAway},
    hello::{Greeting, Hello, MOST, Seen},
    line::{Line, Taken},
    listen::{Interceptor, Lease},
    names::{Target, is_within, normal_host},
    outbound::{DialError, Stream},
    reach::{Network, is_reserved, unmapped},
    serving::turned_away,
};

/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// What tunnels are permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelRules {
    /// Tunnels open at a time.
    pub max_tunnels: usize,
    /// Time to resolve the name and connect.
    pub connect: Duration,
    /// Time that a tunnel may stay open with no byte either way.
    pub idle: Duration,
    /// Time that open tunnels get at shutdown.
    pub grace: Duration,
    /// Ports that may be reached; empty means every port.
    pub ports: Vec<u16>,
    /// Reserved networks (loopback, private, link-local, ...) that may be reached nevertheless.
    pub permitted_networks: Vec<Network>,
    /// Whether a handshake may hide the name of its server.
    pub hidden_names: bool,
    /// The public names, with subdomains, that encrypted ClientHellos show.
    pub ech_names: Vec<String>,
    /// Whether TLS that names no server is passed on, and at the transparent door whatever else names none.
    pub nameless: bool,
    /// Hosts, with subdomains, that the configuration passes unread, whatever is said to them.
    pub spared_hosts: Vec<String>,
    /// Networks whose addresses it passes so.
    pub spared_networks: Vec<Network>,
}

/// Cloudflare's, behind which chatgpt.com and claude.ai are served, too.
const ECH_NAMES: [&str; 1] = ["cloudflare-ech.com"];

impl Default for TunnelRules {
    fn default() -> Self {
        Self {
            max_tunnels: 1024,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(15 * 60),
            grace: Duration::from_secs(10),
            ports: Vec::new(),
            permitted_networks: Vec::new(),
            hidden_names: false,
            ech_names: ECH_NAMES.map(str::to_owned).to_vec(),
            nameless: false,
            spared_hosts: Vec::new(),
            spared_networks: Vec::new(),
        }
    }
}

impl TunnelRules {
    /// Whether a handshake hides which server it wants: its encrypted ClientHello is more than noise. `host` is
    /// where the caller said that the connection leads, where it said so.
    pub(crate) fn hides(&self, greeting: &Greeting, host: Option<&str>) -> bool {
        if !greeting.encrypted {
            return false;
        }
        let Some(shown) = greeting.name.as_deref().and_then(normal_host) else {
            return true;
        };
        // Noise comes beside the true name, which is the one that was asked for.
        let named = host.filter(|host| host.parse::<IpAddr>().is_err());
        named.is_some_and(|host| host != shown)
            || self.ech_names.iter().any(|public| is_within(&shown, public))
    }

    /// Whether a handshake in a tunnel to `host` says too little of where it leads: it names nobody.
    pub(crate) fn lacks_name(&self, greeting: &Greeting, host: &str) -> bool {
        let spared = || {
            self.spared_hosts.iter().any(|spared| is_within(host, spared))
                || host.parse().is_ok_and(|address: IpAddr| {
                    let mut networks = self.spared_networks.iter();
                    networks.any(|network| network.contains(address))
                })
        };
        greeting.name.is_none() && !self.nameless && !spared()
    }

    /// Whether a tunnel may end at that address.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        !is_reserved(address)
            || self
                .permitted_networks
                .iter()
                .any(|network| network.contains(address))
    }
}

/// A connected tunnel that no byte has passed yet.
pub(crate) struct Open {
    pub(crate) upstream: Stream,
    pub(crate) rules: Arc<TunnelRules>,
    /// Its place among the tunnels.
    pub(crate) slot: OwnedSemaphorePermit,
}

/// Checks the rules, resolves, and connects to an address that was checked. `at` is the address where the
/// network has told it, and is dialled instead of what the name resolves to.
pub(crate) async fn open<S: Exchanges>(
    shared: &Interceptor<S>,
    target: &Target,
    at: Option<SocketAddr>,
) -> Result<Open, Reason> {
    let rules = shared.tunnels.load_full();
    if !rules.ports.is_empty() && !rules.ports.contains(&target.port) {
        return Err(Reason::TunnelPort);
    }
    let slot = Arc::clone(&shared.tunnel_slots)
        .try_acquire_owned()
        .map_err(|_| Reason::TunnelLimit)?;
    let host = at.map_or_else(|| target.host.clone(), |at| at.ip().to_string());
    let upstream = shared
        .outbound
        .dial(&host, target.port, rules.connect, |address| {
            rules.permits(address)
        })
        .await
        .map_err(|error| match error {
            DialError::Reserved => Reason::TunnelReserved,
            DialError::Unresolved | DialError::Unreachable => Reason::TunnelUnreachable,
            DialError::TimedOut => Reason::TunnelTimeout,
            DialError::ParentUnreachable | DialError::ParentRefused(_) => Reason::TunnelParent,
        })?;
    Ok(Open {
        upstream,
        rules,
        slot,
    })
}

/// Passes bytes until either side ends, nothing moves, or the listener drains; then closes the record.
pub(crate) async fn run<S: Exchanges>(
    shared: Arc<Interceptor<S>>,
    lease: Lease,
    (door, peer, who): (Door, SocketAddr, S::Caller),
    target: Target,
    caller: Option<Taken>,
    open: Open,
    record: Box<dyn TunnelRecord>,
) {
    let meter = Meter::new();
    if let Some(mut caller) = caller {
        let Open {
            mut upstream,
            rules,
            slot: _slot,
        } = open;
        let prefix = caller.take_prefix();
        let mut caller = caller.into_inner().into_inner();
        let passed = {
            let judge = |greeting: &Greeting| {
                if rules.hides(greeting, Some(&target.host)) && !rules.hidden_names {
                    return Err(Reason::NameHidden);
                }
                if rules.lacks_name(greeting, &target.host) {
                    return Err(Reason::NameMissing);
                }
                // The server let this very name be tunnelled, so only another one is an attempt to evade.
                let evades = greeting.name.as_deref().is_some_and(|name| {
                    normal_host(name)
                        .is_none_or(|name| name != target.host && shared.authority.load().permits(&name))
                });
                if evades { Err(Reason::TunnelEvades) } else { Ok(()) }
            };
            let passing = async {
                let first = first_flight(&mut caller, &mut upstream, prefix, &meter, judge).await?;
                pass(caller, upstream, first, &meter).await;
                Ok(())
            };
            tokio::select! {
                passed = Box::pin(passing) => passed,
                () = meter.rested(rules.idle) => Ok(()),
                () = async { lease.shutdown.cancelled().await; sleep(rules.grace).await } => Ok(()),
                () = lease.cut.cancelled() => Ok(()),
            }
        };
        if let Err(reason) = passed {
            let event = TurnedAway {
                door,
                peer,
                host: Some(target.host),
                caller: Some(who),
                reason,
            };
            // Its answer cannot be sent: the caller was told 200 already.
            drop(turned_away(&shared, event).await);
        }
    }
    record.closed(meter.up(), meter.down()).await;
}

/// Passes what the host says first and holds back what the caller says first, until that is no TLS
/// handshake or names a server that may be reached unread. Returns what was held back.
async fn first_flight(
    caller: &mut Line,
    upstream: &mut Stream,
    prefix: bytes::Bytes,
    meter: &Meter,
    judge: impl Fn(&Greeting) -> Result<(), Reason>,
) -> Result<Vec<u8>, Reason> {
    let mut held = prefix.to_vec();
    let mut hello = Hello::default();
    let mut fresh = 0;
    let mut from_upstream = vec![0; CHUNK];
    loop {
        match hello.read(held.get(fresh..).unwrap_or_default()) {
            Seen::Unfinished => {}
            Seen::NotTls => return Ok(held),
            Seen::Read(greeting) => {
                judge(&greeting)?;
                return Ok(held);
            }
            Seen::Unreadable => return Err(Reason::TunnelUnreadable),
        }
        if held.len() > 2 * MOST {
            return Err(Reason::TunnelUnreadable);
        }
        fresh = held.len();
        tokio::select! {
            read = caller.read_buf(&mut held) => match read {
                // The caller ended; half a handshake is nothing worth passing on.
                Ok(0) | Err(_) => return Ok(Vec::new()),
                Ok(_) => meter.touch(),
            },
            read = upstream.read(&mut from_upstream) => match read {
                Ok(0) | Err(_) => return Ok(held),
                Ok(count) => {
                    let bytes = from_upstream.get(..count).unwrap_or_default();
                    if caller.write_all(bytes).await.is_err() {
                        return Ok(Vec::new());
                    }
                    meter.add_down(count);
                }
            },
        }
    }
}

/// Passes bytes both ways until both sides ended or one failed.
async fn pass(caller: Line, mut upstream: Stream, first: Vec<u8>, meter: &Meter) {
    // Through a proxy that speaks TLS, what is written waits for a flush.
    if upstream.write_all(&first).await.is_err() || upstream.flush().await.is_err() {
        return;
    }
    meter.add_up(first.len());
    drop(first);
    let (from_caller, to_caller) = split(caller);
    let (from_upstream, to_upstream) = split(upstream);
    // Either side may reset at any time; the counts say how far it came.
    let _ = tokio::try_join!(
        pump(from_caller, to_upstream, |count| meter.add_up(count)),
        pump(from_upstream, to_caller, |count| meter.add_down(count)),
    );
}

/// Passes on what comes until it ends. While nothing comes it holds no buffer, since most tunnels rest most of the time.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: impl Fn(usize),
) -> io::Result<()> {
    loop {
        let mut piece = poll_fn(|cx| {
            let mut space = [const { MaybeUninit::uninit() }; CHUNK];
            let mut space = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut from).poll_read(cx, &mut space))?;
            Poll::Ready(io::Result::Ok(Bytes::copy_from_slice(space.filled())))
        })
        .await?;
        if piece.is_empty() {
            return to.shutdown().await;
        }
        while piece.has_remaining() {
            match to.write_buf(&mut piece).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => passed(count),
            }
        }
        to.flush().await?;
    }
}

/// Bytes passed, and when last.
pub(crate) struct Meter {
    up: AtomicU64,
    down: AtomicU64,
    last: Mutex<Instant>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    pub(crate) fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    pub(crate) fn add_up(&self, count: usize) {
        self.up.fetch_add(count as u64, Ordering::Relaxed);
        self.touch();
    }

    pub(crate) fn add_down(&self, count: usize) {
        self.down.fetch_add(count as u64, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when no byte has passed for `idle`.
    pub(crate) async fn rested(&self, idle: Duration) {
        loop {
            let until = *self.last.lock().unwrap_or_else(PoisonError::into_inner) + idle;
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(name: Option<&str>, encrypted: bool) -> Greeting {
        Greeting {
            name: name.map(str::to_owned),
            encrypted,
        }
    }

    #[test]
    fn a_hidden_name_is_told_from_the_noise_that_browsers_send_to_everybody() {
        let rules = TunnelRules::default();
        let hides = |name, host: Option<&str>| rules.hides(&greeting(name, true), host);
        assert!(
            hides(Some("cloudflare-ech.com"), Some("cloudflare-ech.com")),
            "known for it"
        );
        assert!(hides(Some("Cloudflare-ECH.com."), None));
        assert!(
            hides(Some("front.example"), Some("shop.example")),
            "not where the CONNECT went"
        );
        assert!(hides(None, Some("shop.example")));
        assert!(!hides(Some("shop.example"), Some("shop.example")), "noise");
        assert!(!hides(Some("shop.example"), None));
        // A program that resolves names itself says by CONNECT no name to compare with.
        assert!(!hides(Some("shop.example"), Some("203.0.113.7")));
        assert!(!rules.hides(&greeting(Some("cloudflare-ech.com"), false), None));
    }

    #[test]
    fn a_handshake_names_its_server_or_leads_where_the_configuration_says() {
        let rules = TunnelRules {
            spared_hosts: vec!["pinned.example".into()],
            spared_networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..TunnelRules::default()
        };
        let lacks = |name, host| rules.lacks_name(&greeting(name, false), host);
        assert!(lacks(None, "198.51.100.7") && lacks(None, "shop.example"));
        assert!(!lacks(Some("shop.example"), "198.51.100.7"));
        assert!(!lacks(None, "a.pinned.example") && !lacks(None, "10.2.3.4"));
        let open = TunnelRules {
            nameless: true,
            ..TunnelRules::default()
        };
        assert!(!open.lacks_name(&greeting(None, false), "198.51.100.7"));
    }

    #[test]
    fn configured_networks_are_let_through() {
        let rules = TunnelRules {
            permitted_networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..TunnelRules::default()
        };
        assert!(rules.permits("10.1.1.1".parse().unwrap()));
        assert!(rules.permits("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!rules.permits("127.0.0.1".parse().unwrap()));
        assert!(rules.permits("1.1.1.1".parse().unwrap()));
    }
}
