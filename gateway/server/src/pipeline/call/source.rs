//! What a caller says in a call, message by message.

use bytes::Bytes;
use cordon_intercept::{Pace, ReadError};
use cordon_wire::{Base64Reader, CallForm, DecodeError, Endpoint, EnvelopeCutter};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use super::First;
use crate::{accept::Accepted, refusal::Cause};

/// The rest of a call's request.
pub struct Rest {
    /// The head that it came with.
    pub(super) accepted: Accepted<()>,
    /// What it says; `None` where nobody knows, and pieces go on as they come.
    pub(super) endpoint: Option<Endpoint>,
    /// Its content type.
    pub(super) kind: String,
    body: Incoming,
    text: Option<Base64Reader>,
    cutter: EnvelopeCutter,
    pace: Pace,
    /// When the message began that is not whole yet.
    begun: Option<Instant>,
    ended: bool,
}

impl Rest {
    pub fn new(
        accepted: Accepted<()>,
        body: Incoming,
        endpoint: Option<Endpoint>,
        kind: String,
        form: CallForm,
        limits: &crate::config::Limits,
    ) -> Self {
        Self {
            accepted,
            endpoint,
            kind,
            body,
            // What is not read goes on as it is written.
            text: (form.text && endpoint.is_some()).then(Base64Reader::default),
            cutter: EnvelopeCutter::new(limits.body_bytes),
            pace: limits.pace(),
            begun: None,
            ended: false,
        }
    }

    /// Whether messages go up in base64.
    pub(super) fn is_text(&self) -> bool {
        self.text.is_some()
    }

    /// The first message, unless none begins for so long.
    pub async fn first(&mut self, listen: Duration) -> Result<First, Cause> {
        let first = match timeout(listen, self.next()).await {
            Ok(first) => first?,
            Err(_) if self.begun.is_some() => self.next().await?,
            Err(_) => None,
        };
        Ok(first.map_or(First::Nothing, First::Message))
    }

    /// The next message in its envelope, or the next piece of what nobody knows; `None` at the end. It can be given up
    /// and taken up again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            if let Some(whole) = self.cutter.cut()? {
                self.begun = None;
                return Ok(Some(whole));
            }
            if self.ended {
                return Ok(None);
            }
            let frame = match self.deadline() {
                Some(deadline) => timeout_at(deadline, self.body.frame())
                    .await
                    .map_err(|_| ReadError::TooSlow)?,
                None => self.body.frame().await,
            };
            let Some(frame) = frame else {
                self.ended = true;
                if self.cutter.is_cut() || self.text.as_ref().is_some_and(Base64Reader::is_cut) {
                    let what = "whole envelopes of five bytes and a message";
                    return Err(DecodeError::Malformed { what }.into());
                }
                continue;
            };
            // Trailers of a request mean nothing in these protocols, and are not inspected.
            let Ok(data) = frame.map_err(|_| Cause::ClientLeft)?.into_data() else {
                continue;
            };
            if self.endpoint.is_none() {
                return Ok(Some(data));
            }
            match &mut self.text {
                Some(text) => self.cutter.push(&text.push(&data)?),
                None => self.cutter.push(&data),
            }
            if self.cutter.is_cut() {
                self.begun.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Until when the message that has begun must go on.
    fn deadline(&self) -> Option<Instant> {
        let begun = self.begun?;
        let earned = Duration::from_secs(self.cutter.waiting() as u64 / self.pace.bytes_a_second.max(1));
        Some((Instant::now() + self.pace.idle).min(begun + self.pace.grace + earned))
    }
}
