//! The path of a request: one function that reads as the list in ARCHITECTURE.md.
//!
//! accept -> identify -> decode (-> files) -> inspect (-> ask) -> decide -> transform -> route -> respond -> audit
//!
//! Each stage is a file of its name. A stage that cannot go on returns a [`Cause`]; [`crate::refusal`]
//! turns it into the caller's dialect, and [`audit`] records it before the caller sees it.

pub mod ask;
pub mod audit;
pub mod call;
pub mod decide;
pub mod decode;
pub mod files;
pub mod identify;
pub mod inspect;
mod pace;
pub mod respond;
pub mod route;
pub mod transform;
pub mod websocket;

use std::{panic::AssertUnwindSafe, sync::Arc};

use cordon_domain::Decision;
use cordon_intercept::{AnswerBody, Arrival};
use cordon_policy::{Cleared, Originals};
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use self::{audit::Draft, decode::Decoded, identify::Caller};
use crate::{accept, gate::Gate, metrics::Stage, refusal::Cause, rules::Rules};

/// Answers one request, whatever happens: by a reply or by a refusal, and with a record of either.
pub async fn exchange(
    gate: Arc<Gate>,
    arrival: Arrival<Caller>,
    request: Request<Incoming>,
    left: CancellationToken,
) -> Response<AnswerBody> {
    let mut draft = Draft::new(&gate, &arrival, &request);
    // A panic in a stage refuses this exchange and is recorded like any other cause.
    let passed = AssertUnwindSafe(pass(&gate, arrival, request, &left, &mut draft))
        .catch_unwind()
        .await;
    match passed.unwrap_or(Err(Cause::Internal)) {
        Ok(response) => response,
        Err(cause) => audit::refuse(&gate, draft, cause).await,
    }
}

/// The path itself.
async fn pass(
    gate: &Arc<Gate>,
    arrival: Arrival<Caller>,
    request: Request<Incoming>,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<Response<AnswerBody>, Cause> {
    let rules = gate.rules.load_full();
    let accepted = accept::accept(gate, &arrival, request, draft)?;
    draft.actor = draft.time(Stage::Identify, || {
        identify::identify(&rules, &arrival, &accepted)
    })?;
    draft.take_share(gate)?;
    draft.claims(gate, &accepted.presented);
    let mut decoded = decode::decode(gate, &rules, &arrival, accepted, left, draft).await?;
    draft.conversation(gate, &decoded);
    let mut found = inspect::inspect(gate, &rules, &decoded, draft).await?;
    ask::ask(gate, &rules, &decoded, &mut found, left, draft).await?;
    let decision = decide::decide(gate, &rules, &decoded, &found, draft)?;
    let (cleared, originals) = transform::transform(gate, &rules, &decision, &found, &decoded, draft)?;
    audit::intend(gate, draft).await?;
    let mut call = call::begin(gate, arrival, &mut decoded, &decision, draft);
    let reply = route::route(gate, &decision, &decoded, cleared, call.as_mut(), left, draft).await?;
    respond::respond(gate, &rules, reply, originals, call, draft, left).await
}

/// The stages between decode and route, for what is said on a connection or in a call that is open already.
async fn clear(
    gate: &Arc<Gate>,
    rules: &Arc<Rules>,
    decoded: &Decoded,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<(Decision, Cleared, Originals), Cause> {
    let mut found = inspect::inspect(gate, rules, decoded, draft).await?;
    ask::ask(gate, rules, decoded, &mut found, left, draft).await?;
    let decision = decide::decide(gate, rules, decoded, &found, draft)?;
    let (cleared, originals) = transform::transform(gate, rules, &decision, &found, decoded, draft)?;
    Ok((decision, cleared, originals))
}
