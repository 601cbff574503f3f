//! Who a page says is signed in, and which conversation it goes on with: hints that a file says where to find.
//!
//! They come from the request itself, so they prove nothing. Limits: [`MOST_BYTES`]; what is larger is no hint.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use cordon_domain::{Segment, Text};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use super::Shape;

/// The largest token or cookie that is looked into.
const MOST_BYTES: usize = 16 << 10;

/// The parts of a JWT (RFC 7519), with padding or without.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where a request says who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// A member of the JWT in `Authorization: Bearer`, by its JSON pointer.
    Bearer(String),
    /// A cookie: the session.
    Cookie(String),
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenClaim {
    /// A JSON pointer into the claims of the JWT in `Authorization: Bearer`.
    bearer: Option<String>,
    /// The name of a cookie.
    cookie: Option<String>,
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match WrittenClaim::deserialize(deserializer)? {
            WrittenClaim {
                bearer: Some(pointer),
                cookie: None,
            } if pointer.starts_with('/') => Ok(Self::Bearer(pointer)),
            WrittenClaim {
                bearer: None,
                cookie: Some(name),
            } if !name.is_empty() => Ok(Self::Cookie(name)),
            _ => Err(D::Error::custom(
                "a claim is `bearer`, a JSON pointer into a JWT, or `cookie`, a cookie's name",
            )),
        }
    }
}

/// Where the id of a conversation stands.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Conversation {
    /// At a place of the body.
    Body(String),
    /// At these steps of paths, by how many steps the path has.
    Path(Vec<(usize, usize)>),
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conversation(..)")
    }
}

impl Conversation {
    /// A place of the body, or `{x}` of the route's paths; `None` when no path has it.
    pub(super) fn new(written: &str, paths: &[String]) -> Option<Self> {
        if !written.starts_with('{') {
            return written.starts_with('/').then(|| Self::Body(written.to_owned()));
        }
        let steps: Vec<(usize, usize)> = paths
            .iter()
            .filter_map(|path| {
                let at = path.split('/').position(|step| step == written)?;
                Some((path.split('/').count(), at))
            })
            .collect();
        (!steps.is_empty()).then_some(Self::Path(steps))
    }
}

impl Shape {
    /// Whom a request says is signed in, by the values of its headers; the first claim that is there counts.
    #[must_use]
    pub fn claimed(&self, values: &dyn Fn(&str) -> Vec<String>) -> Option<Text> {
        self.claims
            .iter()
            .find_map(|claim| match claim {
                Claim::Bearer(pointer) => values("authorization")
                    .iter()
                    .find_map(|value| claim_of(value, pointer)),
                Claim::Cookie(name) => values("cookie").iter().find_map(|value| cookie(value, name)),
            })
            .map(Text::from)
    }

    /// The id of the conversation that a request goes on with.
    #[must_use]
    pub fn conversation(&self, path: &str, segments: &[Segment]) -> Option<Text> {
        match self.conversation.as_ref()? {
            Conversation::Body(place) => segments
                .iter()
                .find(|segment| segment.place.as_str() == place)
                .map(|segment| segment.text.clone()),
            Conversation::Path(steps) => {
                let own: Vec<&str> = path.split('/').collect();
                let (_, at) = steps.iter().find(|(count, _)| *count == own.len())?;
                Some(Text::from(own[*at].to_owned()))
            }
        }
        .filter(|id| !id.is_empty())
    }
}

/// A member of the claims of a JWT behind `Bearer`. Its signature is not looked at.
fn claim_of(value: &str, pointer: &str) -> Option<String> {
    let (scheme, token) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > MOST_BYTES {
        return None;
    }
    let claims = BASE64_URL.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let claim = claims.pointer(pointer)?.as_str()?;
    (!claim.is_empty()).then(|| claim.to_owned())
}

fn cookie(value: &str, name: &str) -> Option<String> {
    let pairs = value.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, found) = pairs
        .into_iter()
        .find(|(own, found)| *own == name && !found.is_empty() && found.len() <= MOST_BYTES)?;
    Some(found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_out_of_a_token_or_a_cookie() {
        let claims =
            BASE64_URL.encode(br#"{"sub":"u1","https://a.example/profile":{"email":"ann@corp.example"}}"#);
        let bearer = format!("Bearer e30.{claims}.c2ln");
        let pointer = "/https:~1~1a.example~1profile/email";
        assert_eq!(claim_of(&bearer, pointer).as_deref(), Some("ann@corp.example"));
        assert_eq!(claim_of(&bearer, "/sub").as_deref(), Some("u1"));
        for (value, pointer) in [
            (bearer.as_str(), "/email"),
            ("Bearer sk-abc", "/sub"),
            ("Basic e30.e30.e30", "/sub"),
            ("Bearer e30.!!.e30", "/sub"),
        ] {
            assert_eq!(claim_of(value, pointer), None, "{value}");
        }
        assert_eq!(cookie("a=1; session=x=y; b=2", "session").as_deref(), Some("x=y"));
        assert_eq!(cookie("asession=x; session=", "session"), None);
    }

    #[test]
    fn a_conversation_stands_in_the_body_or_the_path() {
        let paths = ["/api/{org}/chats/{id}/ask".to_owned(), "/api/ask".to_owned()];
        assert_eq!(
            Conversation::new("{id}", &paths),
            Some(Conversation::Path(vec![(6, 4)]))
        );
        assert_eq!(Conversation::new("{x}", &paths), None);
        assert_eq!(Conversation::new("id", &paths), None);
        assert_eq!(
            Conversation::new("/id", &paths),
            Some(Conversation::Body("/id".to_owned()))
        );
    }
}
