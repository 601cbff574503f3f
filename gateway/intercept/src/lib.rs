//! Where connections come in: listeners, TLS, CONNECT, the interception authority and tunnels.
//!
//! A connection meets the modules in the order they are listed here. What this room does not know:
//! policy, dialects, storage and configuration. It hands each request to the [`Exchanges`] that the
//! server plugs in and sends back what that answers; it renders no refusal of its own beyond a
//! plain line of text.
//!
//! What is deliberately absent: a switch that turns upstream verification off ([`upstream_tls`]), a
//! way to mint a certificate outside the intermediate's name constraints ([`Authority`]), and any
//! run-time use of the root key.

mod limits;
pub use limits::ListenerLimits;

mod addresses;

mod listen;
pub use listen::{Entrance, GatewayTls, Interceptor, serve};

mod watched;

mod line;

mod hello;
pub use hello::{Greeting, Hello, Seen};

mod certificate;
pub use certificate::{Certified, ClientCaError, OwnTls};

mod gateway;

mod proxy;

mod transparent;

mod intercepted;

mod serving;

mod control;

mod exchange;
pub use exchange::{
    AnswerBody, Arrival, ConnectAnswer, ConnectAsk, Exchanges, Reason, ServeSocket, SocketAnswer,
    TunnelRecord, TurnedAway, empty_body, full_body,
};

mod websocket;
pub use websocket::{
    Agreed, FrameReader, HandshakeError, Next, Received, Side, Socket, SocketFault, SocketHandshake,
    SocketLimits, SocketReader, SocketWriter,
};

mod names;
pub use names::{InvalidTarget, Target, normal_host};

mod forward;

mod tunnel;
pub use tunnel::TunnelRules;

mod reach;
pub use reach::{InvalidNetwork, Network, is_reserved};

mod outbound;
pub use outbound::{DialError, InvalidParent, Outbound, ParentProxy, Stream};

mod authority;
pub use authority::{
    Authority, AuthorityError, Described, Files, Leaf, Rotation, RotationState, Scope, TokenSettings,
};

#[cfg(feature = "pkcs11")]
pub use authority::TokenError;

mod trust;
pub use trust::{
    CertificateFault, Revocation, RevocationError, TrustError, gateway_tls_from_pem, private_tls,
    show_certificate, upstream_tls, write_bundle,
};

mod body;
pub use body::{Pace, ReadError, read_body};

mod encoding;
pub use encoding::{EncodingError, content_encoding, decode_body};

mod hop;
pub use hop::{strip_reply, strip_request};

mod page;
pub use page::{PAGES_HOST, Page, Pages};
