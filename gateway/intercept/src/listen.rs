//! Listeners: accept, bound, hand each connection to its door, drain.
//!
//! At shutdown the listener closes first; then HTTP/1 connections answer `connection: close`,
//! HTTP/2 connections send GOAWAY, exchanges in flight get [`ListenerLimits::drain`] to finish, and
//! tunnels their own shorter grace. What is left then is cut, and [`serve`] returns.
//!
//! Limits: [`ListenerLimits`]. At the connection limit nothing is accepted, so callers queue in the
//! kernel and are served as soon as one leaves. An address at its own limit is turned away.
//!
//! On failure: an accept that fails (out of file descriptors) is logged and tried again; a panic in
//! one connection ends that connection.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use cordon_domain::Door;
use rustls::{ClientConfig, ServerConfig};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    addresses::{AddressPlace, Addresses},
    authority::Authority,
    certificate::{Certificates, OwnTls, Watching},
    exchange::{Exchanges, Reason},
    gateway,
    limits::ListenerLimits,
    outbound::Outbound,
    page::Pages,
    proxy,
    serving::stranger,
    transparent,
    tunnel::TunnelRules,
};

/// Pause after a failed accept; the cause (no file descriptor left) does not go away by spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long it may take to tell a caller that it has too many connections.
const FAREWELL: Duration = Duration::from_secs(1);
/// After the cut at the end of a drain, tasks get this long to notice.
const CUT: Duration = Duration::from_secs(5);

/// The gateway listener's own certificate.
#[derive(Clone, Default)]
pub enum GatewayTls {
    /// Minted from the authority's gateway intermediate, which callers trust by our root.
    #[default]
    Minted,
    /// The company's own, see [`gateway_tls_from_pem`](crate::gateway_tls_from_pem).
    Configured(Arc<ServerConfig>),
}

impl std::fmt::Debug for GatewayTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Minted => "Minted",
            Self::Configured(_) => "Configured",
        })
    }
}

/// What all connections share. What a reload may change sits behind a swap: connections that are
/// open keep what they began with, new ones get the new.
pub struct Interceptor<S> {
    pub(crate) exchanges: S,
    pub(crate) authority: ArcSwap<Authority>,
    pub(crate) pages: ArcSwap<Pages>,
    pub(crate) tunnels: ArcSwap<TunnelRules>,
    pub(crate) tunnel_slots: Arc<Semaphore>,
    pub(crate) outbound: Outbound,
    pub(crate) limits: Arc<ListenerLimits>,
    pub(crate) gateway_tls: ArcSwap<GatewayTls>,
    pub(crate) certificates: Certificates,
    pub(crate) plain_on_loopback: bool,
}

impl<S: Exchanges> Interceptor<S> {
    /// With default limits and tunnel rules, a minted gateway certificate, and no plain HTTP.
    pub fn new(exchanges: S, authority: Arc<Authority>, pages: Pages) -> Self {
        let tunnels = TunnelRules::default();
        Self {
            exchanges,
            authority: ArcSwap::new(authority),
            pages: ArcSwap::from_pointee(pages),
            tunnel_slots: Arc::new(Semaphore::new(tunnels.max_tunnels)),
            tunnels: ArcSwap::from_pointee(tunnels),
            outbound: Outbound::default(),
            limits: Arc::default(),
            gateway_tls: ArcSwap::default(),
            certificates: Certificates::default(),
            plain_on_loopback: false,
        }
    }

    /// With these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: ListenerLimits) -> Self {
        self.limits = Arc::new(limits);
        self
    }

    /// With these rules for tunnels.
    #[must_use]
    pub fn with_tunnels(mut self, rules: TunnelRules) -> Self {
        self.tunnel_slots = Arc::new(Semaphore::new(rules.max_tunnels));
        self.tunnels = ArcSwap::from_pointee(rules);
        self
    }

    /// With this way out for tunnels.
    #[must_use]
    pub fn with_outbound(mut self, outbound: Outbound) -> Self {
        self.outbound = outbound;
        self
    }

    /// With this certificate on the gateway listener.
    #[must_use]
    pub fn with_gateway_tls(self, tls: GatewayTls) -> Self {
        self.replace_gateway_tls(tls);
        self
    }

    /// Asking callers at our own TLS ports for a certificate, or not.
    #[must_use]
    pub fn with_own_tls(mut self, own: OwnTls) -> Self {
        self.certificates = Certificates::of(own);
        self
    }

    /// Whether the gateway port also takes plain HTTP/1.1, from loopback peers only.
    #[must_use]
    pub fn with_plain_on_loopback(mut self, allowed: bool) -> Self {
        self.plain_on_loopback = allowed;
        self
    }

    /// Exchanges the authority, after a rotation.
    pub fn replace_authority(&self, authority: Arc<Authority>) {
        self.authority.store(authority);
    }

    /// Exchanges the certificate on our own TLS ports, after it was renewed.
    pub fn replace_gateway_tls(&self, tls: GatewayTls) {
        self.gateway_tls.store(Arc::new(tls));
    }

    /// Exchanges what callers' certificates are judged by. Connections whose certificates are refused by it are
    /// cut; how many they were is returned.
    pub fn replace_own_tls(&self, own: OwnTls) -> usize {
        self.certificates.replace(own)
    }

    /// Exchanges the pages, after a reload.
    pub fn replace_pages(&self, pages: Pages) {
        self.pages.store(Arc::new(pages));
    }

    /// Exchanges the rules for tunnels. Their greatest number stays as it was at start.
    pub fn replace_tunnels(&self, rules: TunnelRules) {
        self.tunnels.store(Arc::new(rules));
    }

    /// From now on the company's own proxy, where tunnels go through one, is verified by this.
    pub fn trust(&self, tls: &ClientConfig) {
        self.outbound.trust(tls);
    }

    /// The server's side.
    pub fn exchanges(&self) -> &S {
        &self.exchanges
    }
}

/// How callers come in by a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// The reverse gateway.
    Gateway,
    /// The forward proxy.
    Proxy,
    /// The forward proxy, spoken to over TLS.
    ProxyOverTls,
    /// Connections that the network redirects.
    Transparent,
}

impl Entrance {
    /// How records and policies call it.
    #[must_use]
    pub fn door(self) -> Door {
        match self {
            Self::Gateway => Door::Gateway,
            Self::Proxy | Self::ProxyOverTls => Door::Proxy,
            Self::Transparent => Door::Transparent,
        }
    }
}

/// What a connection needs besides its stream.
#[derive(Clone)]
pub(crate) struct Lease {
    /// Says that the listener drains.
    pub(crate) shutdown: CancellationToken,
    /// Says that the drain is over and everything is cut.
    pub(crate) cut: CancellationToken,
    /// Where tasks of the connection are spawned, so that the drain waits for them.
    pub(crate) tracker: TaskTracker,
    /// The connection's places under the limits; the last clone frees them.
    _slot: Arc<(OwnedSemaphorePermit, AddressPlace)>,
    /// The caller's certificate is watched until the last clone is gone.
    _watching: Option<Arc<Watching>>,
}

impl Lease {
    /// The same, with an end of its own that may come earlier.
    pub(crate) fn until_cut(self) -> Self {
        let cut = self.cut.child_token();
        Self { cut, ..self }
    }

    /// The same, which keeps a certificate watched.
    pub(crate) fn watching(self, watching: Watching) -> Self {
        Self {
            _watching: Some(Arc::new(watching)),
            ..self
        }
    }
}

/// Serves a listener until `shutdown` is cancelled and all its connections are drained or cut.
pub async fn serve<S: Exchanges>(
    listener: TcpListener,
    entrance: Entrance,
    shared: Arc<Interceptor<S>>,
    shutdown: CancellationToken,
) {
    let tracker = TaskTracker::new();
    let cut = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(
        shared.limits.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let addresses = Arc::<Addresses>::default();
    let listening = listener.local_addr().ok();
    while let Some((tcp, peer, slot)) = accept(&listener, &slots, &shutdown).await {
        let shared = Arc::clone(&shared);
        let Some(place) = addresses.place(peer.ip(), shared.limits.max_per_address) else {
            tracker.spawn(async move {
                let _slot = slot;
                one_too_many(&shared, entrance, peer, tcp).await;
            });
            continue;
        };
        let lease = Lease {
            shutdown: shutdown.clone(),
            cut: cut.clone(),
            tracker: tracker.clone(),
            _slot: Arc::new((slot, place)),
            _watching: None,
        };
        match entrance {
            Entrance::Gateway => tracker.spawn(gateway::accepted(shared, tcp, lease)),
            Entrance::Proxy => tracker.spawn(proxy::accepted(shared, tcp, lease)),
            Entrance::ProxyOverTls => tracker.spawn(proxy::accepted_over_tls(shared, tcp, lease)),
            Entrance::Transparent => tracker.spawn(transparent::accepted(shared, tcp, listening, lease)),
        };
    }
    drop(listener);
    tracker.close();
    if timeout(shared.limits.drain, tracker.wait()).await.is_err() {
        tracing::warn!(
            door = entrance.door().name(),
            left = tracker.len(),
            "drain time is over, cutting what is left"
        );
        cut.cancel();
        // A task that does not notice even this is stuck in a body of ours; it dies with the process.
        let _ = timeout(CUT, tracker.wait()).await;
    }
}

/// Turns a connection away whose address has too many. A door that speaks plain HTTP says so; another could
/// not be understood before a handshake, which is what such a caller is not to cost us.
async fn one_too_many<S: Exchanges>(
    shared: &Interceptor<S>,
    entrance: Entrance,
    peer: SocketAddr,
    mut tcp: TcpStream,
) {
    let reason = Reason::AddressLimit;
    drop(stranger(shared, entrance.door(), peer, reason).await);
    if entrance == Entrance::Proxy {
        let message = reason.message();
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nretry-after: 1\r\nconnection: close\r\n\r\n{message}\n",
            message.len() + 1
        );
        // It fits into the socket's buffer or the caller does not get it.
        let _ = timeout(FAREWELL, async {
            tcp.write_all(answer.as_bytes()).await?;
            tcp.shutdown().await
        })
        .await;
    }
}

/// The next connection with its slot; `None` at shutdown.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // The semaphore is never closed, so the inner `ok()?` cannot end the listener.
    let slot = shutdown
        .run_until_cancelled(Arc::clone(slots).acquire_owned())
        .await?
        .ok()?;
    loop {
        match shutdown.run_until_cancelled(listener.accept()).await? {
            Ok((tcp, peer)) => {
                // Without it small events of a stream wait for each other; a failure costs only that.
                let _ = tcp.set_nodelay(true);
                return Some((tcp, peer, slot));
            }
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "a connection could not be accepted");
                shutdown.run_until_cancelled(sleep(ACCEPT_PAUSE)).await?;
            }
        }
    }
}
