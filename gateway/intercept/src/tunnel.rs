//! Tunnels: bytes passed unread between a caller and a host that is not intercepted, counted.
//!
//! Unread, with one exception: a TLS handshake that opens the tunnel is looked at for the server it
//! names. A caller that CONNECTs to the bare address of an intercepted host (or to a name of its own
//! that points there) and then names the host inside would otherwise pass uninspected. What an
//! encrypted ClientHello hides cannot be seen here; a company that needs that closed refuses tunnels.
//!
//! Limits: tunnels at a time, time to connect, idle time, grace at shutdown, bytes of a handshake
//! held back. Addresses as [`reach`](crate::reach) says, checked on what was resolved and then dialled.
//!
//! On failure: before the 200, a refusal; after it, the connection is closed. The record is closed
//! with the bytes counted in every case.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use cordon_domain::Door;
use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    exchange::{Exchanges, Reason, TunnelRecord, TurnedAway},
    gateway::TLS_HANDSHAKE,
    listen::{Interceptor, Lease},
    names::{Target, normal_host},
    outbound::{DialError, Stream},
    proxy::Taken,
    reach::{Network, is_reserved, unmapped},
    serving::turned_away,
};

/// A ClientHello with post-quantum key shares has some two kilobytes; sixteen records' worth is held.
const MAX_HELLO: usize = 64 * 1024;
/// Bytes read at a time while the first flight is looked at.
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
}

impl Default for TunnelRules {
    fn default() -> Self {
        Self {
            max_tunnels: 1024,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(15 * 60),
            grace: Duration::from_secs(10),
            ports: Vec::new(),
            permitted_networks: Vec::new(),
        }
    }
}

impl TunnelRules {
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

/// Checks the rules, resolves, and connects to an address that was checked.
pub(crate) async fn open<S: Exchanges>(shared: &Interceptor<S>, target: &Target) -> Result<Open, Reason> {
    let rules = shared.tunnels.load_full();
    if !rules.ports.is_empty() && !rules.ports.contains(&target.port) {
        return Err(Reason::TunnelPort);
    }
    let slot = Arc::clone(&shared.tunnel_slots)
        .try_acquire_owned()
        .map_err(|_| Reason::TunnelLimit)?;
    let upstream = shared
        .outbound
        .dial(&target.host, target.port, rules.connect, |address| {
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
    (peer, who): (SocketAddr, S::Caller),
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
            // The server let this very name be tunnelled, so only another one is an attempt to evade.
            let evades = |name: &str| {
                normal_host(name)
                    .is_none_or(|name| name != target.host && shared.authority.load().permits(&name))
            };
            let passing = async {
                let first = first_flight(&mut caller, &mut upstream, prefix, &meter, evades).await?;
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
                door: Door::Proxy,
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
    caller: &mut TcpStream,
    upstream: &mut Stream,
    prefix: bytes::Bytes,
    meter: &Meter,
    evades: impl Fn(&str) -> bool,
) -> Result<Vec<u8>, Reason> {
    let mut held = prefix.to_vec();
    let mut hello = Hello::default();
    let mut fresh = 0;
    let mut from_upstream = vec![0; CHUNK];
    loop {
        match hello.read(held.get(fresh..).unwrap_or_default()) {
            Seen::Unfinished => {}
            Seen::NotTls | Seen::Nameless => return Ok(held),
            Seen::Named(name) if evades(&name) => return Err(Reason::TunnelEvades),
            Seen::Named(_) => return Ok(held),
            Seen::Unreadable => return Err(Reason::TunnelUnreadable),
        }
        if held.len() > MAX_HELLO {
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
async fn pass(caller: TcpStream, mut upstream: Stream, first: Vec<u8>, meter: &Meter) {
    // Through a proxy that speaks TLS, what is written waits for a flush.
    if upstream.write_all(&first).await.is_err() || upstream.flush().await.is_err() {
        return;
    }
    meter.add_up(first.len());
    let mut caller = Metered {
        io: caller,
        written: |count| meter.add_down(count),
    };
    let mut upstream = Metered {
        io: upstream,
        written: |count| meter.add_up(count),
    };
    // Either side may reset at any time; the counts say how far it came.
    let _ = copy_bidirectional(&mut caller, &mut upstream).await;
}

/// What a tunnel's first bytes turned out to be.
enum Seen {
    Unfinished,
    NotTls,
    Nameless,
    Named(String),
    Unreadable,
}

/// Reads a ClientHello across any split into records and reads.
#[derive(Default)]
struct Hello {
    acceptor: Acceptor,
    begun: bool,
}

impl Hello {
    fn read(&mut self, mut fresh: &[u8]) -> Seen {
        match fresh.first() {
            None => return Seen::Unfinished,
            Some(&byte) if !self.begun && byte != TLS_HANDSHAKE => return Seen::NotTls,
            Some(_) => self.begun = true,
        }
        while !fresh.is_empty() {
            if !matches!(self.acceptor.read_tls(&mut fresh), Ok(1..)) {
                return Seen::Unreadable;
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let named = accepted.client_hello().server_name().map(str::to_owned);
                    return named.map_or(Seen::Nameless, Seen::Named);
                }
                Err(_) => return Seen::Unreadable,
            }
        }
        Seen::Unfinished
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

/// A stream that tells how much was written to it.
struct Metered<IO, F> {
    io: IO,
    written: F,
}

impl<IO: AsyncRead + Unpin, F: Unpin> AsyncRead for Metered<IO, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite + Unpin, F: Fn(usize) + Unpin> AsyncWrite for Metered<IO, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = polled {
            (self.written)(count);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::{ClientConnection, RootCertStore, pki_types::ServerName};

    use super::*;

    fn client_hello(name: &'static str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut connection =
            ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same handshake message cut into records of `size` bytes.
    fn fragmented(record: &[u8], size: usize) -> Vec<u8> {
        let (header, message) = record.split_at(5);
        message
            .chunks(size)
            .flat_map(|piece| {
                let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
                [&header[..3], &length, piece].concat()
            })
            .collect()
    }

    #[test]
    fn the_name_is_seen_in_any_split() {
        let hello = client_hello("api.openai.com");
        for (size, step) in [(16_384, 1), (16_384, 700), (50, 7), (11, 300)] {
            let bytes = fragmented(&hello, size);
            let mut reader = Hello::default();
            let seen = bytes
                .chunks(step)
                .map(|piece| reader.read(piece))
                .find(|seen| !matches!(seen, Seen::Unfinished));
            assert!(
                matches!(seen, Some(Seen::Named(name)) if name == "api.openai.com"),
                "records of {size}, reads of {step}"
            );
        }
    }

    #[test]
    fn what_is_no_tls_is_not_held() {
        assert!(matches!(Hello::default().read(b"SSH-2.0-OpenSSH"), Seen::NotTls));
        assert!(matches!(
            Hello::default().read(b"\x16garbage that is no record"),
            Seen::Unreadable
        ));
        assert!(matches!(Hello::default().read(b""), Seen::Unfinished));
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

    proptest! {
        #[test]
        fn hostile_handshakes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50) {
            if let Some(first) = bytes.first_mut() {
                *first = TLS_HANDSHAKE;
            }
            let mut reader = Hello::default();
            for piece in bytes.chunks(step) {
                if !matches!(reader.read(piece), Seen::Unfinished) {
                    break;
                }
            }
        }
    }
}
