//! A refusal as its caller reads it: in the dialect's own error object, as gRPC or Connect tell it, and with the headers that name exchange and decision.

use cordon_domain::{Action, Dialect, ExchangeId, Refusal};
use cordon_intercept::{AnswerBody, full_body};
use cordon_wire::{Endpoint, Operation, Shape};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// The header that names the exchange to its caller.
const EXCHANGE_HEADER: HeaderName = HeaderName::from_static("x-cordon-exchange");
/// The header that names the decision to the caller.
const DECISION_HEADER: HeaderName = HeaderName::from_static("x-cordon-decision");

/// Makes of a refusal one that callers of gRPC or Connect read.
pub(super) fn remote(answer: &mut Response<AnswerBody>, rpc: cordon_wire::Rpc, refusal: &Refusal) {
    let (rendered, told) = rpc.refuse(refusal);
    *answer.status_mut() = StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(rendered.content_type),
    );
    for (name, value) in told {
        // Percent-encoded, so it is always a header's value.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    *answer.body_mut() = full_body(rendered.body);
}

/// A refusal as a reply in a dialect, or as a described route shows it.
pub fn render(dialect: Dialect, shape: Option<&'static Shape>, refusal: &Refusal) -> Response<AnswerBody> {
    let endpoint = Endpoint {
        shape,
        ..Endpoint::new(dialect, Operation::Manage)
    };
    let rendered = cordon_wire::refuse_at(endpoint, refusal);
    let mut response = Response::new(full_body(rendered.body));
    *response.status_mut() =
        StatusCode::from_u16(rendered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(rendered.content_type),
    );
    if let Some((name, value)) = rendered.header {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    mark(headers, refusal.exchange, refusal.action);
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match refusal.status {
        401 => headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"cordon\""),
        ),
        407 => headers.insert(
            header::PROXY_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"cordon\""),
        ),
        // RFC 9110, section 15.5.22, asks for the protocol that would do.
        426 => headers.insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1")),
        _ => None,
    };
    response
}

/// Names exchange and decision to the caller.
pub fn mark(headers: &mut HeaderMap, exchange: ExchangeId, action: Action) {
    if let Ok(id) = HeaderValue::from_str(&exchange.to_string()) {
        headers.insert(EXCHANGE_HEADER, id);
    }
    headers.insert(DECISION_HEADER, HeaderValue::from_static(action.name()));
}
