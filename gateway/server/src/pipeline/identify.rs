//! Identify: who is asking.
//!
//! A Cordon key is taken from `Authorization: Bearer`, the headers of providers' keys (Google's query parameter is one,
//! too), `x-cordon-key`, or Basic `Proxy-Authorization` (as the password, or as the user name when that is all a
//! program can send). On an intercepted connection the CONNECT has said it already; a key among the request's own
//! headers also counts. At the proxy a Kerberos ticket does as well ([`crate::negotiate`]). Who shows neither is known
//! by a certificate, by the network, or not at all.
//!
//! On failure: 407 at the proxy, 401 elsewhere, with the way to log in.

use std::{net::SocketAddr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use cordon_domain::{Actor, Door, Identity};
use cordon_intercept::{Arrival, Certified, ConnectAsk};
use http::{HeaderMap, HeaderValue, header};

use crate::{accept::Accepted, gate::Gate, keys::PREFIX, refusal::Cause, rules::Rules};

/// Where a program whose other headers are the provider's can put its Cordon key.
const KEY_HEADER: &str = "x-cordon-key";

/// Whom a CONNECT was identified as.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<Actor>);

/// The identify stage.
pub fn identify<B>(
    rules: &Rules,
    arrival: &Arrival<Caller>,
    accepted: &Accepted<B>,
) -> Result<Arc<Actor>, Cause> {
    let own = presented_key(&accepted.presented);
    // An absolute-form request to the proxy never passed a CONNECT: its proxy header counts.
    // A ticket counted when the way was asked for, and counts once.
    let by_ticket =
        matches!(&arrival.caller, Some(Caller(actor)) if matches!(actor.identity, Identity::Kerberos { .. }));
    let proxied =
        proxy_key(&accepted.presented).filter(|_| !(by_ticket && ticket(&accepted.presented).is_some()));
    let proxy = arrival.door == Door::Proxy && arrival.caller.is_none();
    if let Some(key) = own.or(proxied) {
        return rules
            .keys
            .recognise(&key)
            .map(Arc::new)
            .map_err(|_| Cause::Unidentified {
                presented: true,
                proxy,
            });
    }
    if let Some(caller) = &arrival.caller {
        // A connection outlives its CONNECT: a key that was revoked since lets nothing more in.
        return match &caller.0.identity {
            Identity::ApiKey { key } => {
                let actor = rules.keys.live(key).map_err(|_| Cause::Unidentified {
                    presented: true,
                    proxy: false,
                })?;
                Ok(Arc::new(actor))
            }
            // Nor does a network that is none of ours any more.
            Identity::Network { .. } | Identity::AnonymousLoopback => without_key(rules, arrival.peer, None)
                .ok_or(Cause::Unidentified {
                    presented: false,
                    proxy: false,
                }),
            // Nor one of a realm that is not admitted any more.
            Identity::Kerberos { principal } => {
                let known = rules.principals.as_ref().map(|known| known.actor(principal));
                let actor = known.and_then(Result::ok).ok_or(Cause::Unidentified {
                    presented: false,
                    proxy: false,
                })?;
                Ok(Arc::new(actor))
            }
            Identity::Certificate { .. } | Identity::Unidentified => Ok(caller.0.clone()),
        };
    }
    without_key(rules, arrival.peer, arrival.certificate.as_deref()).ok_or(Cause::Unidentified {
        presented: false,
        proxy,
    })
}

/// The same for a CONNECT, and what the answer that grants it tells the caller.
pub async fn at_connect(gate: &Gate, rules: &Rules, ask: &ConnectAsk) -> Result<(Caller, HeaderMap), Cause> {
    if let (Door::Proxy, Some(negotiator), Some(principals), Some(token)) = (
        ask.door,
        &gate.negotiator,
        &rules.principals,
        ticket(&ask.headers),
    ) {
        let accepted = negotiator.accept(token).await.map_err(Cause::Ticket)?;
        let actor = principals.actor(&accepted.principal).map_err(Cause::Ticket)?;
        let reply = accepted.reply.map(|reply| (header::PROXY_AUTHENTICATE, reply));
        return Ok((Caller(Arc::new(actor)), HeaderMap::from_iter(reply)));
    }
    without_ticket(rules, ask).map(|caller| (caller, HeaderMap::new()))
}

fn without_ticket(rules: &Rules, ask: &ConnectAsk) -> Result<Caller, Cause> {
    if let Some(key) = proxy_key(&ask.headers) {
        let actor = rules.keys.recognise(&key).map_err(|_| Cause::Unidentified {
            presented: true,
            proxy: true,
        })?;
        return Ok(Caller(Arc::new(actor)));
    }
    without_key(rules, ask.peer, ask.certificate.as_deref())
        .map(Caller)
        .ok_or(Cause::Unidentified {
            presented: false,
            proxy: ask.door == Door::Proxy,
        })
}

/// Whom a caller who shows no key is taken for: by certificate, by network, or for nobody on loopback.
fn without_key(rules: &Rules, peer: SocketAddr, certificate: Option<&Certified>) -> Option<Arc<Actor>> {
    if let Some(certificate) = certificate {
        // One that TLS has verified, but that names nobody, is as good as none.
        let user = certificate.emails.first().or(certificate.common_name.as_ref());
        if let Some(user) = user.filter(|user| !user.is_empty()) {
            let units = certificate.units.iter().cloned();
            return Some(Arc::new(Actor {
                user: user.clone(),
                groups: units.chain(rules.certificate_groups.iter().cloned()).collect(),
                identity: Identity::Certificate {
                    serial: certificate.serial.clone(),
                },
            }));
        }
    }
    let address = peer.ip().to_canonical();
    let known = rules
        .networks
        .iter()
        .find(|known| known.network.contains(address));
    if let Some(known) = known {
        return Some(Arc::new(Actor {
            user: known.user.clone().unwrap_or_else(|| address.to_string()),
            groups: known.groups.clone(),
            identity: Identity::Network {
                network: known.written.clone(),
            },
        }));
    }
    let permitted = rules.anonymous_loopback && peer.ip().to_canonical().is_loopback();
    permitted.then(|| Arc::new(Actor::anonymous_loopback()))
}

/// A Cordon key among the headers that a provider's program sends.
fn presented_key(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .chain(headers.get_all("x-api-key"))
        .chain(headers.get_all("api-key"))
        .chain(headers.get_all("x-goog-api-key"))
        .chain(headers.get_all(KEY_HEADER))
        .find_map(key_in)
}

/// The Cordon key that a credential header holds, if it holds one.
pub fn key_in(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    let bare = match text.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => return basic_key(rest.trim()),
        Some(_) => return None,
        None => text,
    };
    bare.starts_with(PREFIX).then(|| bare.to_owned())
}

/// The key in `Proxy-Authorization`. Unlike elsewhere it need not look like one to count: whatever
/// stands there was meant for us.
fn proxy_key(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?.trim();
    match text.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("basic") => {
            Some(basic_key(rest.trim()).unwrap_or_default())
        }
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => Some(rest.trim().to_owned()),
        _ => Some(String::new()),
    }
}

/// The token in `Proxy-Authorization: Negotiate`, in base64.
fn ticket(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::PROXY_AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("negotiate").then(|| token.trim())
}

/// The key in Basic credentials (RFC 7617): the password, else the user name.
fn basic_key(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
    [password, user]
        .into_iter()
        .find(|part| part.starts_with(PREFIX))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn keys_are_found_where_programs_put_them() {
        assert_eq!(key_in(&value("Bearer cordon_a_b")).as_deref(), Some("cordon_a_b"));
        assert_eq!(key_in(&value("cordon_a_b")).as_deref(), Some("cordon_a_b"));
        assert_eq!(key_in(&value("Bearer sk-proj-1")), None);
        for login in ["u:cordon_a_b", "cordon_a_b:", "cordon_a_b"] {
            let basic = format!("Basic {}", BASE64_STANDARD.encode(login));
            assert_eq!(key_in(&value(&basic)).as_deref(), Some("cordon_a_b"), "{login}");
        }
    }

    #[test]
    fn anything_said_to_the_proxy_counts_as_a_try() {
        let mut headers = HeaderMap::new();
        assert_eq!(proxy_key(&headers), None);
        headers.insert(header::PROXY_AUTHORIZATION, value("Basic dTpw"));
        assert_eq!(proxy_key(&headers).as_deref(), Some(""));
        headers.insert(header::PROXY_AUTHORIZATION, value("Negotiate abc"));
        assert_eq!(proxy_key(&headers).as_deref(), Some(""));
        assert_eq!(ticket(&headers), Some("abc"));
        headers.insert(header::PROXY_AUTHORIZATION, value("negotiate"));
        assert_eq!(ticket(&headers), Some(""));
        headers.insert(header::PROXY_AUTHORIZATION, value("NegotiateX abc"));
        assert_eq!(ticket(&headers), None);
    }
}
