//! The seam between this room and the server: what is handed over, what comes back.
//!
//! This room finds out who speaks to whom over which connection; the server ([`Exchanges`])
//! identifies, decides, answers and records.

use std::{convert::Infallible, fmt, io, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use cordon_domain::Door;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::Incoming;

use crate::{
    certificate::Certified,
    websocket::{Socket, SocketLimits},
};

/// The body of an answer. It streams; nothing here gathers it.
pub type AnswerBody = BoxBody<Bytes, io::Error>;

/// A body of no bytes.
#[must_use]
pub fn empty_body() -> AnswerBody {
    Empty::new().map_err(|never: Infallible| match never {}).boxed()
}

/// A body that is there already.
#[must_use]
pub fn full_body(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed()
}

/// What the server plugs in.
///
/// A panic in any of these is caught; the caller gets a 500 and the connection's other exchanges go
/// on. When a caller leaves, the future of its exchange is dropped at its next await point, so what
/// must happen nevertheless (sealing a record) belongs in a task of its own or in `Drop`.
pub trait Exchanges: Send + Sync + 'static {
    /// What a CONNECT identified; handed to each exchange of that connection.
    type Caller: Clone + Send + Sync + 'static;

    /// A CONNECT, or an absolute-form request before it is read. Identify (407), then intercept, tunnel or
    /// refuse. An absolute-form request to an intercepted host goes on as an exchange.
    fn connect(&self, ask: ConnectAsk) -> impl Future<Output = ConnectAnswer<Self::Caller>> + Send;

    /// One request: from the gateway, from an intercepted connection, or absolute-form to the proxy.
    ///
    /// Hop-by-hop headers are still on it (an upgrade that is no WebSocket's must be seen to be refused);
    /// an answer of 101 is not possible here: [`Exchanges::websocket`] has it.
    fn exchange(
        &self,
        arrival: Arrival<Self::Caller>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<AnswerBody>> + Send;

    /// Whether an intercepted host itself speaks HTTP/2; `None` where that is not known yet. Its callers are
    /// offered no protocol that it would not have offered them.
    fn origin_http2(&self, host: &str) -> Option<bool> {
        let _ = host;
        None
    }

    /// A WebSocket is asked for, by upgrade or by extended CONNECT, on an intercepted connection or at the
    /// gateway. The handshake was looked at and is a proper one; its headers are still there, for the
    /// caller's sub-protocols and origin.
    fn websocket(
        &self,
        arrival: Arrival<Self::Caller>,
        request: Request<()>,
    ) -> impl Future<Output = SocketAnswer> + Send;

    /// Something was turned away before it became an exchange. The server records it and renders the
    /// answer; where [`Reason::status`] is `None` no answer can be sent and the one given is dropped.
    fn turned_away(
        &self,
        event: TurnedAway<Self::Caller>,
    ) -> impl Future<Output = Response<AnswerBody>> + Send;
}

/// A CONNECT request, or an absolute-form one, which asks for the same: a way to a host.
#[derive(Clone)]
pub struct ConnectAsk {
    /// CONNECT, or the method of the absolute-form request.
    pub method: Method,
    /// The host in normal form (see [`normal_host`](crate::normal_host)).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The listener. By the transparent door nobody asked, but the connection leads there.
    pub door: Door,
    /// The request's headers, `Proxy-Authorization` among them.
    pub headers: HeaderMap,
    /// The caller's own certificate, where it showed one.
    pub certificate: Option<Arc<Certified>>,
    /// Who asks.
    pub peer: SocketAddr,
}

impl fmt::Debug for ConnectAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectAsk")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// What becomes of a CONNECT.
pub enum ConnectAnswer<C> {
    /// TLS is taken up here and each request inside it becomes an exchange of this caller.
    /// Without one, each of them has to say who it is from. The headers go with the answer that grants it, where
    /// there is one: the last word of a login.
    Intercept(Option<C>, HeaderMap),
    /// Bytes are passed unread for this caller; the record is closed when they end. Headers as above.
    Tunnel(C, Box<dyn TunnelRecord>, HeaderMap),
    /// The answer instead of a connection.
    Refuse(Response<AnswerBody>),
}

/// What becomes of a caller's wish for a WebSocket.
pub enum SocketAnswer {
    /// It is granted.
    Open {
        /// Headers of the answer beside those of the handshake, e.g. the sub-protocol that was chosen.
        headers: HeaderMap,
        /// The bounds of the caller's leg.
        limits: SocketLimits,
        /// Takes the connection; `None` when the caller left before it was there. Called exactly once.
        serve: ServeSocket,
    },
    /// The answer instead of a WebSocket.
    Refuse(Response<AnswerBody>),
}

/// What speaks on a WebSocket from its opening to its end.
pub type ServeSocket = Box<dyn FnOnce(Option<Socket>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// The record of one tunnel.
pub trait TunnelRecord: Send + Sync {
    /// The tunnel ended, or never came about (both counts 0). Called exactly once.
    fn closed(self: Box<Self>, up: u64, down: u64) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Where one exchange came in.
#[derive(Clone, Debug)]
pub struct Arrival<C> {
    /// The listener.
    pub door: Door,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The host that the caller addressed through the proxy, in normal form; `None` at the gateway.
    pub host: Option<String>,
    /// The port that goes with `host`; `None` at the gateway.
    pub port: Option<u16>,
    /// Who CONNECT identified, or the same question about an absolute-form request; `None` where nobody was.
    pub caller: Option<C>,
    /// The caller's own certificate, where it showed one and there was no CONNECT.
    pub certificate: Option<Arc<Certified>>,
    /// HTTP/2, else HTTP/1.
    pub http2: bool,
    /// Whether the request came over TLS.
    pub tls: bool,
}

/// Something that was turned away before it became an exchange.
#[derive(Clone, Debug)]
pub struct TurnedAway<C> {
    /// The listener.
    pub door: Door,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The host that the caller addressed by CONNECT or absolute form, where it was readable.
    pub host: Option<String>,
    /// Who CONNECT identified, where it did.
    pub caller: Option<C>,
    /// Why.
    pub reason: Reason,
}

impl<C> TurnedAway<C> {
    /// A plain answer in words, for a server with nothing better to say.
    #[must_use]
    pub fn plain_answer(&self) -> Response<AnswerBody> {
        plain(
            self.reason.status().unwrap_or(StatusCode::BAD_REQUEST),
            self.reason.message(),
        )
    }
}

pub(crate) fn plain(status: StatusCode, message: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(full_body(format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Why something was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A CONNECT or absolute-form target that is no host and port, or not `http:`.
    BadTarget,
    /// No Host, or more than one.
    BadHost,
    /// Host or `:authority` names another place than CONNECT or the request's target.
    HostDisagrees,
    /// The TLS handshake named no server; an absent name agrees with none.
    SniMissing,
    /// The TLS handshake named another server than CONNECT.
    SniDisagrees,
    /// Bytes that are not TLS where TLS must come.
    NotTls,
    /// The caller did not finish its TLS handshake in time.
    HandshakeTimeout,
    /// The TLS handshake failed, most often because the caller does not trust our root.
    HandshakeFailed,
    /// The caller's own certificate was refused: revoked, expired, or under another CA.
    CertificateRefused,
    /// Plain HTTP on a port that speaks TLS.
    PlainHttp,
    /// CONNECT where no proxy is.
    NoProxyHere,
    /// The authority may not vouch for the host that was to be intercepted.
    HostNotCertified,
    /// A tunnel to a port that is not permitted.
    TunnelPort,
    /// A tunnel to an address that is not the public internet.
    TunnelReserved,
    /// A tunnel whose TLS handshake names an intercepted host: an attempt to pass unread.
    TunnelEvades,
    /// A tunnel whose first bytes say TLS but cannot be read as such.
    TunnelUnreadable,
    /// Too many tunnels at a time.
    TunnelLimit,
    /// The tunnel's other end cannot be reached.
    TunnelUnreachable,
    /// The tunnel's other end did not answer in time.
    TunnelTimeout,
    /// More connections of one address than may be open at a time.
    AddressLimit,
    /// A connection whose caller gave up one request after the other, went on after its last, or sent frames that ask for
    /// nothing without end.
    ConnectionAbused,
    /// A request's target is longer than permitted.
    TargetTooLong,
    /// A request has more header fields than permitted.
    TooManyHeaders,
    /// A body in another transfer coding than chunks, or in more than one.
    TransferCoding,
    /// The company's own proxy, which tunnels go through, cannot be reached or refused.
    TunnelParent,
    /// A handshake that hides which server it wants (an encrypted ClientHello).
    NameHidden,
    /// A connection at the transparent door of which the network tells no destination.
    NoDestination,
    /// TLS in a tunnel that names no server; at the transparent door whatever else names none.
    NameMissing,
    /// Something of ours failed while answering.
    Failed,
}

impl Reason {
    /// The status of the answer; `None` where none can be sent.
    #[must_use]
    pub fn status(self) -> Option<StatusCode> {
        Some(match self {
            Self::BadTarget | Self::BadHost | Self::PlainHttp | Self::TransferCoding => {
                StatusCode::BAD_REQUEST
            }
            Self::HostDisagrees
            | Self::SniMissing
            | Self::SniDisagrees
            | Self::NameHidden
            | Self::NoDestination
            | Self::NameMissing => StatusCode::MISDIRECTED_REQUEST,
            Self::NotTls
            | Self::HandshakeTimeout
            | Self::HandshakeFailed
            | Self::CertificateRefused
            | Self::TunnelEvades
            | Self::TunnelUnreadable
            | Self::ConnectionAbused => return None,
            Self::NoProxyHere => StatusCode::METHOD_NOT_ALLOWED,
            Self::TunnelPort | Self::TunnelReserved => StatusCode::FORBIDDEN,
            Self::HostNotCertified | Self::TunnelUnreachable | Self::TunnelParent => StatusCode::BAD_GATEWAY,
            Self::TunnelLimit => StatusCode::SERVICE_UNAVAILABLE,
            Self::TunnelTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::AddressLimit => StatusCode::TOO_MANY_REQUESTS,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        })
    }

    /// Whether it is worth a record also where nobody can be told and the caller is not known. A handshake that
    /// breaks off is not: every scan of ports leaves some.
    #[must_use]
    pub fn is_telling(self) -> bool {
        self.status().is_some() || matches!(self, Self::CertificateRefused | Self::TunnelUnreadable)
    }

    /// A stable name for records and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::BadTarget => "bad_target",
            Self::BadHost => "bad_host",
            Self::HostDisagrees => "host_disagrees",
            Self::SniMissing => "sni_missing",
            Self::SniDisagrees => "sni_disagrees",
            Self::NotTls => "not_tls",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::CertificateRefused => "certificate_refused",
            Self::PlainHttp => "plain_http",
            Self::NoProxyHere => "no_proxy_here",
            Self::HostNotCertified => "host_not_certified",
            Self::TunnelPort => "tunnel_port",
            Self::TunnelReserved => "tunnel_reserved",
            Self::TunnelEvades => "tunnel_evades",
            Self::TunnelUnreadable => "tunnel_unreadable",
            Self::TunnelLimit => "tunnel_limit",
            Self::TunnelUnreachable => "tunnel_unreachable",
            Self::TunnelTimeout => "tunnel_timeout",
            Self::NameHidden => "name_hidden",
            Self::NoDestination => "no_destination",
            Self::NameMissing => "name_missing",
            Self::AddressLimit => "address_limit",
            Self::ConnectionAbused => "connection_abused",
            Self::TargetTooLong => "target_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::TransferCoding => "transfer_coding",
            Self::TunnelParent => "tunnel_parent",
            Self::Failed => "failed",
        }
    }

    /// What happened and what to do, for a person to read. Quotes nothing.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::BadTarget => {
                "The request's target is not usable here: CONNECT takes host:port, other requests an http:// URL."
            }
            Self::BadHost => "The request must carry exactly one Host.",
            Self::HostDisagrees => {
                "The Host of this request is not the host that this connection was opened to. Open a connection of its own for it."
            }
            Self::SniMissing => {
                "The TLS handshake did not name the server it wants (SNI), so it cannot be matched with the CONNECT host."
            }
            Self::SniDisagrees => {
                "The TLS handshake names another server (SNI) than the CONNECT that opened this connection."
            }
            Self::NotTls => "TLS was expected after CONNECT.",
            Self::HandshakeTimeout => "The TLS handshake took too long.",
            Self::HandshakeFailed => {
                "The TLS handshake failed; does the program trust Cordon's root certificate? See http://cordon.internal/ through the proxy."
            }
            Self::CertificateRefused => {
                "Your certificate is revoked, expired, or not under the certificate authority for callers."
            }
            Self::PlainHttp => "This port speaks TLS: use https:// in the base URL.",
            Self::NoProxyHere => "This is not the proxy port; CONNECT belongs there.",
            Self::HostNotCertified => {
                "This host is to be intercepted, but Cordon's certificate authority may not vouch for it. Rotate the authority with the host listed."
            }
            Self::TunnelPort => "Tunnels to this port are not permitted.",
            Self::TunnelReserved => {
                "Tunnels to loopback, private, link-local and metadata addresses are not permitted."
            }
            Self::TunnelEvades => "The tunnel's TLS handshake names an intercepted host.",
            Self::TunnelUnreadable => "The tunnel began with a TLS handshake that cannot be read.",
            Self::TunnelLimit => "Too many tunnels are open. Try again later.",
            Self::TunnelUnreachable => "The host cannot be reached from the proxy.",
            Self::TunnelTimeout => "The host did not answer the proxy in time.",
            Self::NameHidden => {
                "The TLS handshake hides which server it wants (encrypted ClientHello), so it cannot be told whether the host is to be inspected."
            }
            Self::NoDestination => "The connection was not redirected here, so where it leads is not known.",
            Self::NameMissing => {
                "The connection names no server, so it cannot be told whether the host is to be inspected."
            }
            Self::AddressLimit => {
                "Your address has as many connections open as Cordon is configured for. Close some, or ask your administrator to raise limits.connections_per_address."
            }
            Self::ConnectionAbused => {
                "The connection gave up too many of its requests, or sent too many frames that ask for nothing, and was cut."
            }
            Self::TargetTooLong => "The request's URL is longer than Cordon is configured to take.",
            Self::TooManyHeaders => "The request has more header fields than Cordon is configured to take.",
            Self::TransferCoding => {
                "The body's transfer coding is not taken here; send it in chunks or with a length."
            }
            Self::TunnelParent => {
                "The company's own proxy, which Cordon goes out through, cannot be reached or refused the connection."
            }
            Self::Failed => "Something failed inside Cordon; nothing was sent on.",
        }
    }
}
