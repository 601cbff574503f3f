//! Files: what the attachments of a request say becomes segments behind the body's own.
//!
//! It leaves reading to [`crate::files`], findings to inspect, and what an unread file means to decide. The
//! texts have their attachment's role and the place `file:NAME!/page 3`.
//!
//! On failure: a locked file, and one past a limit, refuse the exchange: 400 or 413.

use std::time::Instant;

use bytes::Bytes;
use cordon_wire::RequestBody;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{
    files::Fault,
    gate::Gate,
    metrics::Stage,
    refusal::{Cause, FileRefused},
};

/// The files of a request, as far as decide asks.
#[derive(Debug, Default)]
pub struct Attached {
    /// How many there are.
    pub count: usize,
    /// What they are, each kind once.
    pub kinds: Vec<&'static str>,
    /// Of those that were not read, or not all of them: which, from 1, and why.
    pub unread: Vec<(usize, String)>,
}

/// The name of a file of which nobody tells one.
const NAMELESS: &str = "file";

/// How a file is called of which nobody knows what it is.
const UNKNOWN: &str = "unknown";

/// Reads the attachments of a body out into it.
pub async fn read(
    gate: &Gate,
    whose: &str,
    body: &mut RequestBody,
    left: &CancellationToken,
) -> Result<Attached, Cause> {
    let files: Vec<(String, Option<Bytes>)> = body
        .attachments()
        .map(|file| (file.name().unwrap_or(NAMELESS).to_owned(), file.bytes().cloned()))
        .collect();
    if files.is_empty() {
        return Ok(Attached::default());
    }
    let started = Instant::now();
    let until = tokio::time::Instant::from_std(started) + gate.files.longest();
    let mut attached = Attached {
        count: files.len(),
        ..Attached::default()
    };
    let reading = files.into_iter().map(|(name, bytes)| async move {
        let bytes = bytes.ok_or_else(|| Fault::Unread("it is no base64".to_owned()))?;
        gate.files.read(whose, &name, bytes).await
    });
    let mut reading = stream::iter(reading).buffered(gate.files.at_once());
    let mut text = 0;
    let mut index = 0;
    loop {
        let next = tokio::select! {
            biased;
            () = left.cancelled() => return Err(Cause::ClientLeft),
            next = reading.next() => next,
            () = tokio::time::sleep_until(until) => {
                let fault = Fault::Limit("time for the files of a request".to_owned());
                return Err(Cause::File(FileRefused { nth: index + 1, fault }));
            }
        };
        let Some(outcome) = next else {
            break;
        };
        let kind = match outcome {
            Ok(said) => {
                text += said.texts.iter().map(|(_, text)| text.len()).sum::<usize>();
                if text > gate.files.text_bytes() {
                    let fault = Fault::Limit("bytes of text".to_owned());
                    return Err(Cause::File(FileRefused {
                        nth: index + 1,
                        fault,
                    }));
                }
                body.read_out(index, said.texts.clone());
                if let Some(why) = said.unread.first() {
                    attached.unread.push((index + 1, why.clone()));
                }
                said.kind.name()
            }
            Err(Fault::Unread(why)) => {
                body.read_out(index, Vec::new());
                attached.unread.push((index + 1, why));
                UNKNOWN
            }
            Err(fault) => {
                return Err(Cause::File(FileRefused {
                    nth: index + 1,
                    fault,
                }));
            }
        };
        if !attached.kinds.contains(&kind) {
            attached.kinds.push(kind);
        }
        index += 1;
    }
    gate.metrics.stage(Stage::Files, started.elapsed());
    Ok(attached)
}
