//! The handshake of either leg: by upgrade on HTTP/1 (RFC 6455, 4), by extended CONNECT on HTTP/2 (RFC 8441).
//!
//! The only extension is `permessage-deflate`, and what is agreed on one leg says nothing of the other. What a
//! caller offers is never passed on. Compression windows other than the usual 32 KiB are declined, since our
//! compressor has no other.
//!
//! On failure: a request that is no proper WebSocket handshake is none, and stays an ordinary request; an
//! upstream's answer that does not fit is a [`HandshakeError`].

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::Protocol;
use tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::Agreed;

const DEFLATE: &str = "permessage-deflate";
/// What we agree to, and what we offer: a message is compressed without what came before it.
const ALONE: HeaderValue =
    HeaderValue::from_static("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// A caller's wish for a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The answer to the caller's key; HTTP/2 has none.
    accept: Option<String>,
    deflate: bool,
}

impl Wish {
    /// The wish in a request, when it is a proper handshake.
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        let headers = request.headers();
        if request.extensions().get::<Protocol>().is_some() {
            return is_extended(request).then(|| Self {
                accept: None,
                deflate: accepts_deflate(headers),
            });
        }
        let upgrades = request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && names(headers, &header::CONNECTION, "upgrade")
            && names(headers, &header::UPGRADE, "websocket")
            && only(headers, &header::SEC_WEBSOCKET_VERSION) == Some(&VERSION);
        let key = only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()))?;
        upgrades.then(|| Self {
            accept: Some(derive_accept_key(key.as_bytes())),
            deflate: accepts_deflate(headers),
        })
    }

    /// What holds on this leg once it is answered.
    pub(crate) fn agreed(&self) -> Agreed {
        Agreed {
            deflate: self.deflate,
            keeps_window: false,
        }
    }
}

/// Whether a request is an extended CONNECT for a WebSocket.
pub(crate) fn is_extended<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT
        && request
            .extensions()
            .get::<Protocol>()
            .is_some_and(|protocol| protocol.as_str() == "websocket")
}

/// The answer that grants a wish, with headers of the server's.
pub(crate) fn answer<B>(wish: &Wish, headers: HeaderMap, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    let status = match &wish.accept {
        Some(accept) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            if let Ok(accept) = HeaderValue::from_str(accept) {
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
            StatusCode::SWITCHING_PROTOCOLS
        }
        None => StatusCode::OK,
    };
    if wish.deflate {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, ALONE);
    }
    *response.status_mut() = status;
    response
}

/// Our own handshake with an upstream, on HTTP/1.
#[derive(Debug)]
pub struct SocketHandshake {
    key: String,
}

/// An upstream's answer to a handshake that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// It did not switch protocols: what it says instead is a reply like any other.
    #[error("the upstream answered the handshake by another status")]
    Refused,
    /// It switched, and says something that we did not ask for.
    #[error("the upstream's handshake is against the protocol")]
    Malformed,
}

impl SocketHandshake {
    /// A handshake with a fresh key.
    #[must_use]
    pub fn new() -> Self {
        Self { key: generate_key() }
    }

    /// Whether a header belongs to the handshake of one leg, and so never travels from one to the other.
    #[must_use]
    pub fn owns(name: &HeaderName) -> bool {
        [
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_ACCEPT,
            header::SEC_WEBSOCKET_EXTENSIONS,
        ]
        .contains(name)
    }

    /// The headers that ask for it.
    #[must_use]
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_VERSION, VERSION),
            (header::SEC_WEBSOCKET_EXTENSIONS, ALONE),
        ];
        if let Ok(key) = HeaderValue::from_str(&self.key) {
            headers.push((header::SEC_WEBSOCKET_KEY, key));
        }
        headers
    }

    /// What the upstream agreed to. `protocols` are those that the caller asked for.
    ///
    /// # Errors
    /// When it refused, or answered what was not asked.
    pub fn agreed<B>(
        &self,
        response: &Response<B>,
        protocols: &[HeaderValue],
    ) -> Result<Agreed, HandshakeError> {
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(HandshakeError::Refused);
        }
        let headers = response.headers();
        let accept = derive_accept_key(self.key.as_bytes());
        let accepted = only(headers, &header::SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|value| value.as_bytes() == accept.as_bytes());
        let mut chosen = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
        let protocol = match (chosen.next(), chosen.next()) {
            (None, _) => true,
            (Some(one), None) => listed(protocols.iter()).any(|asked| asked.as_bytes() == one.as_bytes()),
            _ => false,
        };
        if !accepted || !protocol || !names(headers, &header::UPGRADE, "websocket") {
            return Err(HandshakeError::Malformed);
        }
        let mut extensions = listed(headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter());
        match (extensions.next(), extensions.next()) {
            (None, _) => Ok(Agreed::default()),
            (Some(one), None) => granted(one).ok_or(HandshakeError::Malformed),
            _ => Err(HandshakeError::Malformed),
        }
    }
}

impl Default for SocketHandshake {
    fn default() -> Self {
        Self::new()
    }
}

/// What an upstream's answer about compression says; `None` when it may not say so.
fn granted(extension: &str) -> Option<Agreed> {
    let mut agreed = Agreed {
        deflate: true,
        keeps_window: true,
    };
    let mut seen = Vec::new();
    for (name, value) in parameters(extension)? {
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
        match (name, value) {
            // A smaller window of theirs is within ours.
            ("server_max_window_bits", Some(bits)) => drop(window(bits)?),
            ("server_no_context_takeover", None) => agreed.keeps_window = false,
            ("client_no_context_takeover", None) => {}
            _ => return None,
        }
    }
    Some(agreed)
}

/// Whether any of a caller's offers is one that we can keep.
fn accepts_deflate(headers: &HeaderMap) -> bool {
    let keepable = |offer: &str| {
        let Some(parameters) = parameters(offer) else {
            return false;
        };
        let known = |(name, value): &(&str, Option<&str>)| match (*name, *value) {
            (
                "server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits",
                None,
            ) => true,
            ("client_max_window_bits", Some(bits)) => window(bits).is_some(),
            ("server_max_window_bits", Some(bits)) => window(bits) == Some(15),
            _ => false,
        };
        let once = |index: usize| {
            !parameters[..index]
                .iter()
                .any(|(name, _)| *name == parameters[index].0)
        };
        parameters.iter().all(known) && (0..parameters.len()).all(once)
    };
    listed(headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter()).any(keepable)
}

/// The parameters of `permessage-deflate`; `None` for any other extension.
fn parameters(extension: &str) -> Option<Vec<(&str, Option<&str>)>> {
    let mut parts = extension.split(';').map(str::trim);
    if parts.next()? != DEFLATE {
        return None;
    }
    let split = |part: &'_ str| -> (usize, Option<usize>) {
        match part.find('=') {
            Some(at) => (at, Some(at + 1)),
            None => (part.len(), None),
        }
    };
    Some(
        parts
            .map(|part| {
                let (end, value) = split(part);
                (
                    part[..end].trim(),
                    value.map(|from| part[from..].trim().trim_matches('"')),
                )
            })
            .collect(),
    )
}

fn window(bits: &str) -> Option<u8> {
    let plain = !bits.starts_with('0') && bits.bytes().all(|digit| digit.is_ascii_digit());
    bits.parse().ok().filter(|bits| plain && (8..=15).contains(bits))
}

/// The elements of headers that are lists.
fn listed<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a str> {
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

fn names(headers: &HeaderMap, name: &HeaderName, element: &str) -> bool {
    listed(headers.get_all(name).iter()).any(|one| one.eq_ignore_ascii_case(element))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// Sixteen bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(extensions: &str) -> Request<()> {
        Request::get("/v1/responses")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-extensions", extensions)
            .body(())
            .unwrap()
    }

    #[test]
    fn a_proper_handshake_is_answered_as_the_rfc_shows() {
        let wish = Wish::of(&ask("")).unwrap();
        let answer = answer(&wish, HeaderMap::new(), ());
        assert_eq!(answer.status(), 101);
        assert_eq!(
            answer.headers()["sec-websocket-accept"],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert!(!answer.headers().contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn anything_else_is_no_handshake() {
        for (name, value) in [
            ("connection", "close"),
            ("upgrade", "h2c"),
            ("sec-websocket-version", "8"),
            ("sec-websocket-key", "short"),
        ] {
            let mut request = ask("");
            request.headers_mut().insert(name, value.parse().unwrap());
            assert_eq!(Wish::of(&request), None, "{name}");
        }
        let mut twice = ask("");
        twice
            .headers_mut()
            .append("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==".parse().unwrap());
        assert_eq!(Wish::of(&twice), None);
        let mut post = ask("");
        *post.method_mut() = Method::POST;
        assert_eq!(Wish::of(&post), None);
    }

    #[test]
    fn compression_is_agreed_to_where_it_can_be_kept() {
        for (offer, agreed) in [
            ("permessage-deflate", true),
            ("permessage-deflate; client_max_window_bits", true),
            (
                "permessage-deflate; client_max_window_bits=\"10\"; server_max_window_bits=15",
                true,
            ),
            ("x-other, permessage-deflate; server_no_context_takeover", true),
            (
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                true,
            ),
            ("permessage-deflate; server_max_window_bits=10", false),
            ("permessage-deflate; server_max_window_bits", false),
            ("permessage-deflate; client_max_window_bits=7", false),
            ("permessage-deflate; client_max_window_bits=09", false),
            ("permessage-deflate; strange", false),
            (
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                false,
            ),
            ("permessage-deflate; server_no_context_takeover=1", false),
            ("x-webkit-deflate-frame", false),
            ("", false),
        ] {
            assert_eq!(Wish::of(&ask(offer)).unwrap().deflate, agreed, "{offer}");
        }
    }

    #[test]
    fn an_upstreams_answer_is_held_to_what_was_asked() {
        let ours = SocketHandshake::new();
        let accept = derive_accept_key(ours.key.as_bytes());
        let answered = |extensions: &[&str], protocol: Option<&str>, accept: &str| {
            let mut response = Response::builder()
                .status(101)
                .header("upgrade", "websocket")
                .header("sec-websocket-accept", accept);
            for extension in extensions {
                response = response.header("sec-websocket-extensions", *extension);
            }
            if let Some(protocol) = protocol {
                response = response.header("sec-websocket-protocol", protocol);
            }
            ours.agreed(
                &response.body(()).unwrap(),
                &[HeaderValue::from_static("realtime, other")],
            )
        };
        let agreed = |deflate, keeps_window| {
            Ok(Agreed {
                deflate,
                keeps_window,
            })
        };
        let malformed = Err(HandshakeError::Malformed);
        assert_eq!(answered(&[], Some("other"), &accept), agreed(false, false));
        assert_eq!(
            answered(&["permessage-deflate"], None, &accept),
            agreed(true, true)
        );
        let windowed = "permessage-deflate; server_no_context_takeover; server_max_window_bits=9";
        assert_eq!(answered(&[windowed], None, &accept), agreed(true, false));
        for wrong in [
            "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=16",
            "x-other",
        ] {
            assert_eq!(answered(&[wrong], None, &accept), malformed, "{wrong}");
        }
        assert_eq!(
            answered(&["permessage-deflate", "permessage-deflate"], None, &accept),
            malformed
        );
        assert_eq!(answered(&[], Some("third"), &accept), malformed);
        assert_eq!(answered(&[], None, "AAAA"), malformed);
        let refused = Response::builder().status(403).body(()).unwrap();
        assert_eq!(ours.agreed(&refused, &[]), Err(HandshakeError::Refused));
    }
}
