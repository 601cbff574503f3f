//! Refusals as callers of gRPC and Connect read them.
//!
//! gRPC tells errors in trailers, which without a message stand among the headers of a reply of status 200.
//! Connect tells them as JSON: of a single call by itself, of a stream in the envelope that ends it.

use cordon_domain::{Fault, Refusal};
use serde_json::json;

use super::Rendered;
use crate::envelopes;

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
        ]) {
            Some(Self::Grpc { content_type })
        } else if let Some(content_type) = known(&["application/connect+proto", "application/connect+json"]) {
            Some(Self::ConnectStream { content_type })
        } else {
            known(&["application/proto"]).map(|_| Self::Connect)
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
}
