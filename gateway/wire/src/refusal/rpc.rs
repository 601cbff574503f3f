//! Refusals as callers of gRPC and Connect read them.
//!
//! gRPC tells errors in trailers, which without a message stand among the headers of a reply of status 200.
//! gRPC-Web writes the trailers behind a reply into an envelope of their own.
//! Connect tells errors as JSON: of a single call by itself, of a stream in the envelope that ends it.

use bytes::Bytes;
use cordon_domain::{Fault, Refusal};
use serde_json::json;

use super::Rendered;
use crate::{envelopes, percent};

/// How a caller of a remote procedure reads errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rpc {
    /// gRPC and gRPC-Web.
    Grpc {
        /// The reply's content type, which has to be the request's kind.
        content_type: &'static str,
    },
    /// A single call of Connect.
    Connect,
    /// A stream of Connect.
    ConnectStream {
        /// The reply's content type.
        content_type: &'static str,
    },
}

impl Rpc {
    /// By a request's content type; none for anything else.
    #[must_use]
    pub fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let known =
            |names: &[&'static str]| names.iter().find(|name| kind.eq_ignore_ascii_case(name)).copied();
        if let Some(content_type) = known(&[
            "application/grpc",
            "application/grpc+proto",
            "application/grpc+json",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web+json",
            "application/grpc-web-text",
            "application/grpc-web-text+proto",
        ]) {
            Some(Self::Grpc { content_type })
        } else if let Some(content_type) = known(&["application/connect+proto", "application/connect+json"]) {
            Some(Self::ConnectStream { content_type })
        } else {
            known(&["application/proto"]).map(|_| Self::Connect)
        }
    }

    /// Whether replies end in trailers of HTTP, without which they broke off.
    #[must_use]
    pub fn ends_in_trailers(self) -> bool {
        matches!(self, Self::Grpc { content_type } if !content_type.contains("-web"))
    }

    /// The end of a reply that has begun, in place of its own: bytes of the body, and trailers.
    #[must_use]
    pub fn end(self, refusal: &Refusal) -> (Bytes, Vec<(&'static str, String)>) {
        match self {
            Self::Grpc { .. } => {
                let (_, told) = self.refuse(refusal);
                if self.ends_in_trailers() {
                    (Bytes::new(), told)
                } else {
                    (envelopes::trailers(&told).into(), Vec::new())
                }
            }
            Self::ConnectStream { .. } => (self.refuse(refusal).0.body, Vec::new()),
            // A single answer is cut: there is no place for an error in it.
            Self::Connect => (Bytes::new(), Vec::new()),
        }
    }

    /// The refusal, and the headers that tell of it in gRPC.
    #[must_use]
    pub fn refuse(self, refusal: &Refusal) -> (Rendered, Vec<(&'static str, String)>) {
        let (code, number) = code(refusal.fault);
        let error = json!({"code": code, "message": refusal.message});
        let rendered = |status, content_type, body: Vec<u8>| Rendered {
            status,
            content_type,
            header: None,
            body: body.into(),
        };
        match self {
            Self::Grpc { content_type } => (
                rendered(200, content_type, Vec::new()),
                vec![
                    ("grpc-status", number.to_string()),
                    ("grpc-message", percent_encoded(&refusal.message)),
                ],
            ),
            Self::Connect => {
                let status = match number {
                    16 => 401,
                    7 => 403,
                    5 => 404,
                    8 => 429,
                    14 => 503,
                    13 => 500,
                    _ => 400,
                };
                (
                    rendered(status, "application/json", error.to_string().into()),
                    Vec::new(),
                )
            }
            Self::ConnectStream { content_type } => {
                let end = json!({ "error": error }).to_string();
                (
                    rendered(200, content_type, envelopes::end(end.as_bytes())),
                    Vec::new(),
                )
            }
        }
    }
}

/// The code's name in Connect, which gRPC numbers.
pub(crate) fn code(fault: Fault) -> (&'static str, u8) {
    match fault {
        Fault::Policy => ("permission_denied", 7),
        Fault::Shape | Fault::Encoding | Fault::Misdirected | Fault::Upgrade => ("invalid_argument", 3),
        Fault::Limit => ("resource_exhausted", 8),
        Fault::Identity => ("unauthenticated", 16),
        Fault::NotFound => ("not_found", 5),
        Fault::Upstream => ("unavailable", 14),
        Fault::Internal => ("internal", 13),
    }
}

/// A `grpc-message` with its text rewritten; `None` where that changes nothing.
pub fn rewrite_grpc_message(value: &[u8], rewrite: impl FnOnce(&str) -> String) -> Option<String> {
    let (text, _) = percent::decode(value, |bytes| percent::unit(bytes, false));
    let new = rewrite(&text);
    (new != text).then(|| percent_encoded(&new))
}

/// As gRPC writes `grpc-message`: all but printable ASCII, and the percent sign, in UTF-8 by percent signs.
fn percent_encoded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' => out.push_str("%25"),
            b' '..=b'~' => out.push(char::from(byte)),
            other => {
                out.push('%');
                for digit in [other >> 4, other & 15] {
                    out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use cordon_domain::{Action, ExchangeId};

    use super::*;

    fn refusal() -> Refusal {
        Refusal {
            action: Action::Block,
            fault: Fault::Policy,
            status: 403,
            code: "policy_blocked",
            message: "100 % Müll\n".to_owned(),
            exchange: ExchangeId::new(),
            retry_after: None,
        }
    }

    #[test]
    fn each_protocol_gets_its_own_form() {
        let grpc = Rpc::of("application/grpc+proto; x=y").expect("gRPC");
        let (rendered, headers) = grpc.refuse(&refusal());
        assert_eq!(
            (rendered.status, rendered.content_type),
            (200, "application/grpc+proto")
        );
        assert!(rendered.body.is_empty());
        let told = [
            ("grpc-status", "7".to_owned()),
            ("grpc-message", "100 %25 M%C3%BCll%0A".to_owned()),
        ];
        assert_eq!(headers, told);

        let (rendered, headers) = Rpc::of("application/proto").expect("Connect").refuse(&refusal());
        assert_eq!(
            (rendered.status, rendered.content_type),
            (403, "application/json")
        );
        let error: serde_json::Value = serde_json::from_slice(&rendered.body).expect("JSON");
        assert_eq!(
            error,
            json!({"code": "permission_denied", "message": "100 % Müll\n"})
        );
        assert!(headers.is_empty());

        let (rendered, _) = Rpc::of("application/connect+proto")
            .expect("Connect")
            .refuse(&refusal());
        assert_eq!((rendered.status, rendered.body[0]), (200, 2));
        let error: serde_json::Value = serde_json::from_slice(&rendered.body[5..]).expect("JSON");
        assert_eq!(error["error"]["code"], "permission_denied");
        assert_eq!(Rpc::of("application/json"), None);
    }

    #[test]
    fn a_message_of_grpc_is_rewritten_as_the_text_that_it_stands_for() {
        let put_back = |text: &str| text.replace("[PERSON_1]", "J\u{fc}rgen");
        let new = rewrite_grpc_message(b"100%25 of [PERSON_1]", put_back);
        assert_eq!(new.as_deref(), Some("100%25 of J%C3%BCrgen"));
        assert_eq!(rewrite_grpc_message(b"100%25 of nobody", put_back), None);
    }

    #[test]
    fn a_reply_that_has_begun_ends_as_its_protocol_ends_replies() {
        let end = |kind| Rpc::of(kind).expect("a call").end(&refusal());
        let (bytes, trailers) = end("application/grpc");
        assert!(bytes.is_empty());
        assert_eq!(trailers[0], ("grpc-status", "7".to_owned()));

        let (bytes, trailers) = end("application/grpc-web-text");
        let told = b"grpc-status: 7\r\ngrpc-message: 100 %25 M%C3%BCll%0A\r\n";
        assert_eq!(bytes[..5], [0x80, 0, 0, 0, told.len() as u8]);
        assert_eq!(&bytes[5..], told);
        assert!(trailers.is_empty());

        let (bytes, trailers) = end("application/connect+json");
        assert_eq!(bytes[0], 2);
        assert!(trailers.is_empty());
    }
}
