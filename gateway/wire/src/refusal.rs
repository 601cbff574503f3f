//! A refusal in the words of each dialect's own error object.
//!
//! Client programs show the message of such an object to their user; anything else they report as a
//! broken server. A refusal holds no request text, so neither does what is made of it.

mod rpc;
pub(crate) use rpc::code as rpc_name;
pub use rpc::{Rpc, rewrite_grpc_message};

use bytes::Bytes;
use cordon_domain::{Dialect, Fault, Refusal};
use serde::Serialize;
use serde_json::json;

use crate::{Endpoint, json::escape};

/// A refusal as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// HTTP status.
    pub status: u16,
    /// Value of `content-type`.
    pub content_type: &'static str,
    /// A header that the dialect tells the kind of error in.
    pub header: Option<(&'static str, &'static str)>,
    /// The error object.
    pub body: Bytes,
}

/// Renders a refusal for a dialect; a caller of no known dialect gets OpenAI's shape.
#[must_use]
pub fn refuse(dialect: Dialect, refusal: &Refusal) -> Rendered {
    Rendered {
        status: refusal.status,
        content_type: "application/json",
        header: match dialect {
            Dialect::BedrockConverse | Dialect::BedrockInvoke => {
                Some(("x-amzn-errortype", bedrock_header(refusal.fault, refusal.status)))
            }
            _ => None,
        },
        body: error_object(dialect, refusal),
    }
}

/// Renders a refusal for an endpoint: as its file says where it is described.
///
/// A page that shows answers only gets the refusal as one, with a status of its file's choice; who is not
/// known, and what failed here, keep theirs.
#[must_use]
pub fn refuse_at(endpoint: Endpoint, refusal: &Refusal) -> Rendered {
    let Some(form) = endpoint.shape.and_then(|shape| shape.refusal.as_ref()) else {
        return refuse(endpoint.dialect, refusal);
    };
    let escaped = |text: &str| {
        let mut out = String::new();
        if form.content_type.starts_with("text/plain") {
            out.push_str(text);
        } else {
            escape(text, &mut out);
        }
        out
    };
    let of_request = matches!(
        refusal.fault,
        Fault::Policy | Fault::Shape | Fault::Limit | Fault::Encoding
    );
    let mut body = String::new();
    let mut rest = form.body.as_str();
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        body.push_str(before);
        let (value, length) = if from.starts_with("{message}") {
            (escaped(&refusal.message), "{message}".len())
        } else if from.starts_with("{code}") {
            (refusal.code.to_owned(), "{code}".len())
        } else if from.starts_with("{exchange}") {
            (refusal.exchange.to_string(), "{exchange}".len())
        } else {
            ("{".to_owned(), 1)
        };
        body.push_str(&value);
        rest = &from[length..];
    }
    body.push_str(rest);
    Rendered {
        status: form.status.filter(|_| of_request).unwrap_or(refusal.status),
        content_type: &form.content_type,
        header: None,
        body: body.into(),
    }
}

/// The error object alone, as streams send it too.
pub(crate) fn error_object(dialect: Dialect, refusal: &Refusal) -> Bytes {
    let Refusal {
        fault, code, message, ..
    } = refusal;
    let rendered = match dialect {
        Dialect::AnthropicMessages | Dialect::AnthropicBatches | Dialect::AnthropicFiles => {
            serde_json::to_vec(&AnthropicError {
                kind: "error",
                error: AnthropicBody {
                    kind: anthropic_type(*fault, refusal.status),
                    message,
                },
                request_id: refusal.exchange.to_string(),
            })
        }
        Dialect::Gemini => serde_json::to_vec(&json!({"error": {
            "code": refusal.status,
            "message": message,
            "status": google_status(*fault, refusal.status),
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": code,
                "domain": "cordon",
                "metadata": {"exchange": refusal.exchange.to_string()},
            }],
        }})),
        Dialect::BedrockConverse | Dialect::BedrockInvoke => {
            serde_json::to_vec(&json!({"message": message, "__type": bedrock_header(*fault, refusal.status)}))
        }
        Dialect::Cohere => {
            serde_json::to_vec(&json!({"message": message, "id": refusal.exchange.to_string()}))
        }
        Dialect::Ollama => serde_json::to_vec(&json!({"error": message})),
        // Whose request it answers was not read, or may be several.
        Dialect::Mcp => serde_json::to_vec(&json!({"jsonrpc": "2.0", "id": null, "error": {
            "code": rpc_code(*fault),
            "message": message,
            "data": {"code": code, "exchange": refusal.exchange.to_string()},
        }})),
        _ => serde_json::to_vec(&OpenaiError {
            error: OpenaiBody {
                message,
                kind: openai_type(*fault, refusal.status),
                param: None,
                code,
            },
        }),
    };
    rendered.expect("strings alone always serialise").into()
}

/// The `type` of OpenAI's error object.
pub(crate) fn openai_type(fault: Fault, status: u16) -> &'static str {
    match fault {
        Fault::Limit | Fault::Upstream if status == 429 => "rate_limit_error",
        Fault::Policy
        | Fault::Shape
        | Fault::Limit
        | Fault::Encoding
        | Fault::Misdirected
        | Fault::NotFound
        | Fault::Upgrade => "invalid_request_error",
        Fault::Identity => "authentication_error",
        Fault::Upstream | Fault::Internal => "server_error",
    }
}

/// The `type` of Anthropic's error object.
pub(crate) fn anthropic_type(fault: Fault, status: u16) -> &'static str {
    match fault {
        Fault::Policy | Fault::Shape | Fault::Encoding | Fault::Misdirected | Fault::Upgrade => {
            "invalid_request_error"
        }
        Fault::Limit | Fault::Upstream if status == 429 => "rate_limit_error",
        Fault::Limit => "request_too_large",
        Fault::Identity => "authentication_error",
        Fault::NotFound => "not_found_error",
        Fault::Upstream if status == 504 => "timeout_error",
        Fault::Upstream | Fault::Internal if status == 503 => "overloaded_error",
        Fault::Upstream | Fault::Internal => "api_error",
    }
}

/// The `status` of Google's error object.
fn google_status(fault: Fault, status: u16) -> &'static str {
    match fault {
        Fault::Policy
        | Fault::Shape
        | Fault::Limit
        | Fault::Encoding
        | Fault::Misdirected
        | Fault::Upgrade => "INVALID_ARGUMENT",
        Fault::Identity => "UNAUTHENTICATED",
        Fault::NotFound => "NOT_FOUND",
        Fault::Upstream if status == 429 => "RESOURCE_EXHAUSTED",
        Fault::Upstream if status == 504 => "DEADLINE_EXCEEDED",
        Fault::Upstream | Fault::Internal if status == 503 => "UNAVAILABLE",
        Fault::Upstream | Fault::Internal => "INTERNAL",
    }
}

/// The name of an exception as Bedrock's streams have it.
pub(crate) fn bedrock_type(fault: Fault, status: u16) -> &'static str {
    match fault {
        Fault::Upstream if status == 429 => "throttlingException",
        Fault::Upstream if status == 503 => "serviceUnavailableException",
        Fault::Upstream => "modelStreamErrorException",
        Fault::Internal => "internalServerException",
        _ => "validationException",
    }
}

/// The same as its plain replies have it.
fn bedrock_header(fault: Fault, status: u16) -> &'static str {
    match fault {
        Fault::Identity => "AccessDeniedException",
        Fault::NotFound => "ResourceNotFoundException",
        Fault::Upstream if status == 429 => "ThrottlingException",
        Fault::Upstream if status == 504 => "ModelTimeoutException",
        Fault::Upstream | Fault::Internal if status == 503 => "ServiceUnavailableException",
        Fault::Upstream => "ModelErrorException",
        Fault::Internal => "InternalServerException",
        _ => "ValidationException",
    }
}

/// The code of a JSON-RPC error: what is wrong with the call, or an error of the server's own.
fn rpc_code(fault: Fault) -> i32 {
    match fault {
        Fault::Shape | Fault::Encoding | Fault::Limit => -32_600,
        Fault::NotFound => -32_601,
        Fault::Internal => -32_603,
        _ => -32_000,
    }
}

#[derive(Serialize)]
struct OpenaiError<'a> {
    error: OpenaiBody<'a>,
}

#[derive(Serialize)]
struct OpenaiBody<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: &'static str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicBody<'a>,
    request_id: String,
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

#[cfg(test)]
mod tests {
    use cordon_domain::{Action, ExchangeId};
    use serde_json::Value;

    use super::*;

    fn refusal(status: u16, fault: Fault) -> Refusal {
        Refusal {
            status,
            fault,
            code: "cordon_policy_block",
            message: "Blocked by rule \"secrets\":\n1 SECRET.JWT".into(),
            action: Action::Block,
            exchange: "0190d5b8-2f5a-7c3e-8a11-000000000001"
                .parse::<ExchangeId>()
                .unwrap(),
            retry_after: None,
        }
    }

    fn body(dialect: Dialect, status: u16, fault: Fault) -> Value {
        let rendered = refuse(dialect, &refusal(status, fault));
        assert_eq!(
            (rendered.status, rendered.content_type),
            (status, "application/json")
        );
        serde_json::from_slice(&rendered.body).unwrap()
    }

    #[test]
    fn openai_shows_message_type_and_code() {
        let expected = json!({"error": {
            "message": "Blocked by rule \"secrets\":\n1 SECRET.JWT",
            "type": "invalid_request_error", "param": null, "code": "cordon_policy_block",
        }});
        for dialect in [
            Dialect::OpenaiChat,
            Dialect::OpenaiResponses,
            Dialect::Models,
            Dialect::Unknown,
        ] {
            assert_eq!(body(dialect, 400, Fault::Policy), expected, "{dialect}");
        }
        assert_eq!(
            body(Dialect::OpenaiChat, 401, Fault::Identity)["error"]["type"],
            "authentication_error"
        );
        assert_eq!(
            body(Dialect::OpenaiChat, 503, Fault::Internal)["error"]["type"],
            "server_error"
        );
    }

    #[test]
    fn anthropic_shows_type_message_and_the_exchange() {
        let dialect = Dialect::AnthropicMessages;
        let expected = json!({
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Blocked by rule \"secrets\":\n1 SECRET.JWT",
            },
            "request_id": "0190d5b8-2f5a-7c3e-8a11-000000000001",
        });
        assert_eq!(body(dialect, 400, Fault::Policy), expected);
        for (status, fault, kind) in [
            (401, Fault::Identity, "authentication_error"),
            (413, Fault::Limit, "request_too_large"),
            (404, Fault::NotFound, "not_found_error"),
            (503, Fault::Upstream, "overloaded_error"),
            (502, Fault::Upstream, "api_error"),
            (500, Fault::Internal, "api_error"),
        ] {
            assert_eq!(body(dialect, status, fault)["error"]["type"], kind, "{status}");
        }
    }

    #[test]
    fn each_other_provider_shows_its_own_object() {
        let message = "Blocked by rule \"secrets\":\n1 SECRET.JWT";
        let exchange = "0190d5b8-2f5a-7c3e-8a11-000000000001";
        let gemini = body(Dialect::Gemini, 400, Fault::Policy);
        assert_eq!(gemini["error"]["code"], 400);
        assert_eq!(gemini["error"]["message"], message);
        assert_eq!(gemini["error"]["status"], "INVALID_ARGUMENT");
        assert_eq!(gemini["error"]["details"][0]["reason"], "cordon_policy_block");
        assert_eq!(
            body(Dialect::Gemini, 429, Fault::Upstream)["error"]["status"],
            "RESOURCE_EXHAUSTED"
        );
        assert_eq!(
            body(Dialect::Cohere, 400, Fault::Policy),
            json!({"message": message, "id": exchange})
        );
        assert_eq!(
            body(Dialect::Ollama, 400, Fault::Policy),
            json!({"error": message})
        );
        assert_eq!(
            body(Dialect::Mcp, 400, Fault::Policy),
            json!({"jsonrpc": "2.0", "id": null, "error": {
                "code": -32_000, "message": message,
                "data": {"code": "cordon_policy_block", "exchange": exchange},
            }})
        );
        for (dialect, status, fault, kind) in [
            (
                Dialect::BedrockConverse,
                400,
                Fault::Policy,
                "ValidationException",
            ),
            (
                Dialect::BedrockInvoke,
                401,
                Fault::Identity,
                "AccessDeniedException",
            ),
            (
                Dialect::BedrockInvoke,
                429,
                Fault::Upstream,
                "ThrottlingException",
            ),
            (
                Dialect::BedrockInvoke,
                503,
                Fault::Internal,
                "ServiceUnavailableException",
            ),
        ] {
            let rendered = refuse(dialect, &refusal(status, fault));
            assert_eq!(rendered.header, Some(("x-amzn-errortype", kind)));
            assert_eq!(
                body(dialect, status, fault),
                json!({"message": message, "__type": kind})
            );
        }
        assert_eq!(
            body(Dialect::AnthropicBatches, 400, Fault::Policy)["error"]["type"],
            "invalid_request_error"
        );
    }
}
