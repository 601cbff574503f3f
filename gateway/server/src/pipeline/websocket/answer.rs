//! What is asked on a connection whose answer comes from elsewhere than its upstream: from the on-prem model, a
//! cluster, or another cloud, as the same request over HTTP would be answered.
//!
//! The stages route and respond do the work, in a task of their own that ends with the connection; the events
//! of their stream become messages. A refusal, or any answer that is no stream, becomes an error message.
//!
//! Limits: those of route and respond; one such answer is under way at a time.
//! On failure: an error message, after which the connection goes on.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use cordon_domain::Dialect;
use cordon_intercept::AnswerBody;
use cordon_wire::{EventMessages, Limits, error_message, message_to_body};
use futures_util::FutureExt;
use http::{Response, header};
use http_body_util::BodyExt;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    super::{
        audit::{self, Draft},
        respond, route,
    },
    message::Passed,
};
use crate::{gate::Gate, refusal::Cause};

/// The most of a refusal that is read.
const ERROR_BYTES: usize = 64 << 10;

/// An answer under way.
pub(super) struct Answer {
    dialect: Dialect,
    task: Option<JoinHandle<Response<AnswerBody>>>,
    body: Option<AnswerBody>,
    events: EventMessages,
    /// The status of an answer that is no stream, and what came of it.
    plain: Option<(u16, Vec<u8>)>,
    event: Option<String>,
    /// What was asked, to be remembered with the answer.
    pub(super) asked: Bytes,
    /// Dropped with the connection: who leaves takes the request along.
    _left: DropGuard,
}

/// What an answer gives next.
pub(super) enum Given {
    /// Messages that may go to the caller.
    Messages(Vec<Bytes>),
    /// It is over, with those.
    Last(Vec<Bytes>),
}

impl Answer {
    /// Begins one. The intent is not recorded yet.
    pub(super) fn begin(
        gate: &Arc<Gate>,
        passed: Passed,
        mut draft: Draft,
        event: Option<String>,
        limits: &Limits,
    ) -> Self {
        let left = CancellationToken::new();
        let (dialect, asked) = (draft.dialect, passed.asked.clone());
        let (owned, watched) = (gate.clone(), left.clone());
        let task = gate.tasks.spawn(async move {
            let gate = owned;
            let answered = AssertUnwindSafe(answer(&gate, passed, &watched, &mut draft))
                .catch_unwind()
                .await;
            match answered.unwrap_or(Err(Cause::Internal)) {
                Ok(response) => response,
                Err(cause) => audit::refuse(&gate, draft, cause).await,
            }
        });
        Self {
            dialect,
            task: Some(task),
            body: None,
            events: EventMessages::new(limits),
            plain: None,
            event,
            asked,
            _left: left.drop_guard(),
        }
    }

    /// What comes next. It can be given up and taken up again.
    pub(super) async fn next(&mut self) -> Given {
        if let Some(task) = &mut self.task {
            let answered = task.await;
            self.task = None;
            let Ok(response) = answered else {
                return Given::Last(vec![self.error(500, &[])]);
            };
            let streamed = response.status().is_success()
                && response
                    .headers()
                    .get(header::CONTENT_TYPE)
                    .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            if !streamed {
                self.plain = Some((response.status().as_u16(), Vec::new()));
            }
            self.body = Some(response.into_body());
        }
        loop {
            let frame = match &mut self.body {
                Some(body) => body.frame().await,
                None => None,
            };
            let Some(Ok(frame)) = frame else {
                self.body = None;
                let plain = self.plain.take();
                return Given::Last(
                    plain
                        .map(|(status, body)| self.error(status, &body))
                        .into_iter()
                        .collect(),
                );
            };
            let Ok(bytes) = frame.into_data() else { continue };
            match &mut self.plain {
                Some((_, gathered)) if gathered.len() + bytes.len() <= ERROR_BYTES => {
                    gathered.extend_from_slice(&bytes)
                }
                Some(_) => {}
                None => match self.events.push(&bytes) {
                    Some(messages) if messages.is_empty() => {}
                    Some(messages) => return Given::Messages(messages),
                    None => return Given::Last(vec![self.error(502, &[])]),
                },
            }
        }
    }

    fn error(&self, status: u16, body: &[u8]) -> Bytes {
        error_message(self.dialect, status, body, self.event.as_deref())
    }
}

async fn answer(
    gate: &Arc<Gate>,
    passed: Passed,
    left: &CancellationToken,
    draft: &mut Draft,
) -> Result<Response<AnswerBody>, Cause> {
    let Passed {
        rules,
        decision,
        decoded,
        cleared,
        originals,
        ..
    } = passed;
    let cleared = cleared.translate(message_to_body, ())?;
    audit::intend(gate, draft).await?;
    let reply = route::route(gate, &decision, &decoded, cleared, None, left, draft).await?;
    respond::respond(gate, &rules, reply, originals, None, draft, left).await
}
