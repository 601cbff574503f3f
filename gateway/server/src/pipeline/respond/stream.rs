//! A streamed reply: pumped event by event from the upstream to the caller, in a task of its own.
//!
//! The task ends in exactly one seal, whatever happens: the stream completed, the upstream died, the
//! caller left, a limit was passed. The closing event waits for that seal; without it the caller
//! gets an error event instead, so no answer is complete without its record.
//!
//! Limits: the wire room's on events and held bytes; `idle_seconds` without a byte end the stream, and
//! `stream_seconds` end it in any case. All of its text is inspected for the seal, [`INSPECTED_BYTES`] at a
//! time; something that stands across the border of two such pieces can be missed.

use std::{collections::BTreeMap, io, pin::Pin, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use cordon_audit::Outcome;
use cordon_domain::{Dialect, Refusal};
use cordon_intercept::{AnswerBody, strip_reply};
use cordon_policy::{Originals, Reidentifier};
use cordon_wire::{
    Base64Reader, Channel, Endpoint, Framing, Rewrite, Rpc, StreamEditor, StreamTranslator, Unpack,
    error_event,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, response::Parts};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Duration, Instant, Sleep, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;

use super::{findings_in, unbuffered, used, wire_limits};
use crate::{
    gate::Gate,
    metrics::Stage,
    pipeline::{
        audit::{self, Draft},
        call::{Call, Stopped},
        route::Form,
    },
    refusal::Cause,
    rules::Rules,
    upstream::Upstream,
};

/// Pieces that may wait for a slow caller before the upstream is read no further.
const WAITING_PIECES: usize = 16;
/// How much of a stream in a hurry is written at a time: what fits one record of TLS (RFC 8446, 5.1).
const GATHERED_BYTES: usize = 16 << 10;
/// How much of a stream's text is gathered before it is inspected.
const INSPECTED_BYTES: usize = 1 << 20;

/// Starts the stream and gives its head.
#[expect(
    clippy::too_many_arguments,
    reason = "a stream takes over everything that the exchange held"
)]
pub fn open(
    gate: &Arc<Gate>,
    rules: &Arc<Rules>,
    upstream: Arc<Upstream>,
    mut parts: Parts,
    body: Incoming,
    form: Form,
    framing: Framing,
    originals: Originals,
    call: Option<Call>,
    draft: Draft,
) -> Response<AnswerBody> {
    // A call that failed before it said anything tells so among its headers, and has no trailers.
    let failed = parts.headers.get(GRPC_STATUS).map(|status| status != "0");
    let text = kind_of(&parts.headers).is_some_and(cordon_wire::is_base64_call);
    unbuffered(&mut parts.headers);
    if let Form::Translated(asked, _) = form {
        let kind = HeaderValue::from_static(asked.stream_type());
        parts.headers.insert(header::CONTENT_TYPE, kind);
    }
    audit::mark(&mut parts.headers, draft.exchange, draft.action());
    let mut editor = Editor::new(gate, form, framing, &draft, originals);
    if let Some(unpack) = unpacking(gate, &parts.headers) {
        editor.unpack(unpack);
    }
    editor.restore_message(&mut parts.headers);
    let (pieces, caller) = mpsc::channel(WAITING_PIECES);
    let pump = Pump {
        gate: gate.clone(),
        rules: rules.clone(),
        upstream,
        editor,
        pieces,
        text: text.then(Base64Reader::default),
        trailers: failed.map(|_| HeaderMap::new()),
        failed: failed == Some(true),
        call,
        draft,
    };
    let tasks: &TaskTracker = &gate.tasks;
    tasks.spawn(pump.run(body));
    let body = StreamBody::new(ReceiverStream::new(caller));
    Response::from_parts(parts, BodyExt::boxed(body))
}

/// How the messages of a call are compressed, where it is not as we asked for: servers answer so all the same. What is
/// compressed in a way that nobody here knows goes on as it came.
fn unpacking(gate: &Gate, headers: &HeaderMap) -> Option<Unpack> {
    let named = ["grpc-encoding", "connect-content-encoding"]
        .into_iter()
        .find_map(|name| headers.get(name)?.to_str().ok())?;
    if ["gzip", "identity"].contains(&named) {
        return None;
    }
    let (named, limits) = (named.to_owned(), &gate.config.limits);
    let (most, ratio) = (wire_limits(limits).max_body, limits.expansion_ratio);
    Some(Box::new(move |message| {
        cordon_intercept::decode_body(&named, message, most, ratio).ok()
    }))
}

/// How a call of gRPC went, in its trailers.
const GRPC_STATUS: &str = "grpc-status";
/// The same in words.
const GRPC_MESSAGE: &str = "grpc-message";

fn kind_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok()
}

type Piece = Result<Frame<Bytes>, io::Error>;

/// What came of an upstream's body; none at its end.
type Coming = Option<Result<Frame<Bytes>, hyper::Error>>;

/// A frame's bytes and those of the frames that have come behind it, so that an upstream in a hurry costs a write for
/// many of its chunks and not for each. It waits for none: where no other task has anything to do, nothing has come.
async fn gathered(first: Bytes, body: &mut Incoming, ahead: &mut Option<Coming>) -> Bytes {
    let mut all: Option<BytesMut> = None;
    loop {
        if all.as_ref().map_or(first.len(), BytesMut::len) >= GATHERED_BYTES {
            break;
        }
        // The connection hands over one chunk at a time, and gets to the next while this task stands aside.
        tokio::task::yield_now().await;
        let Some(coming) = body.frame().now_or_never() else {
            break;
        };
        let more = coming.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let Some(more) = more else {
            *ahead = Some(coming);
            break;
        };
        all.get_or_insert_with(|| BytesMut::from(&first[..]))
            .extend_from_slice(more);
    }
    all.map_or(first, BytesMut::freeze)
}

struct Pump {
    gate: Arc<Gate>,
    rules: Arc<Rules>,
    upstream: Arc<Upstream>,
    editor: Editor,
    pieces: mpsc::Sender<Piece>,
    /// Of a call in base64.
    text: Option<Base64Reader>,
    /// What gRPC tells behind a stream: how the call went, and whatever else the server likes to say.
    trailers: Option<HeaderMap>,
    /// Whether it was told already that the call failed.
    failed: bool,
    call: Option<Call>,
    draft: Draft,
}

/// How a stream ended, and what of it still waits for the seal.
enum End {
    /// With its closing event.
    Complete(Bytes),
    /// Broken, with the cause.
    Broken(Cause),
    /// The caller is gone.
    Left,
}

impl Pump {
    async fn run(mut self, mut body: Incoming) {
        // A panic here must not leave the exchange without a seal.
        let pumped = std::panic::AssertUnwindSafe(self.pump(&mut body))
            .catch_unwind()
            .await;
        let end = pumped.unwrap_or(End::Broken(Cause::Internal));
        let outcome = match &end {
            End::Complete(_) if self.editor.failed() || self.call_failed() => Outcome::UpstreamFailed,
            End::Complete(_) => Outcome::Completed,
            End::Broken(cause) => cause.outcome(),
            End::Left => Outcome::ClientLeft,
        };
        self.account(&end).await;
        self.draft
            .metrics
            .stage(Stage::Respond, self.draft.since_routed());
        let sealed = audit::seal(&self.gate, &mut self.draft, outcome).await;
        let idle = self.gate.config.limits.idle();
        let mut trailers = self.trailers.take();
        let last = match (end, sealed) {
            (End::Left, _) => return,
            (End::Complete(last), Ok(())) => last,
            (End::Complete(_), Err(cause)) | (End::Broken(cause), _) if let Some(rpc) = self.draft.rpc => {
                let (last, told) = rpc.end(&cause.refusal(self.draft.exchange));
                trailers = Some(as_trailers(told));
                last
            }
            // Nobody knows how such a stream tells of an error: it is cut, so that it does not look whole.
            _ if self.editor.is_unknown() => {
                let cut = self.pieces.send(Err(io::ErrorKind::ConnectionAborted.into()));
                let _ = tokio::time::timeout(idle, cut).await;
                return;
            }
            (End::Complete(_), Err(cause)) | (End::Broken(cause), _) => self
                .editor
                .error_event(self.draft.dialect, &cause.refusal(self.draft.exchange)),
        };
        let last = self.written(last);
        if !last.is_empty() {
            let _ = tokio::time::timeout(idle, self.pieces.send(Ok(Frame::data(last)))).await;
        }
        if let Some(trailers) = trailers.filter(|trailers| !trailers.is_empty()) {
            let _ = tokio::time::timeout(idle, self.pieces.send(Ok(Frame::trailers(trailers)))).await;
        }
        // The end of the upstream's body is read, so that its connection can be used again.
        drop(self.pieces);
        let rest = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), rest).await;
    }

    async fn pump(&mut self, body: &mut Incoming) -> End {
        let limits = &self.gate.config.limits;
        let mut patience = Patience::new(limits.idle(), Duration::from_secs(limits.stream_seconds));
        let mut ahead = None;
        loop {
            if self.editor.gathered() >= INSPECTED_BYTES {
                self.look_at_texts().await;
            }
            let frame = match ahead.take() {
                Some(frame) => frame,
                None => match Self::next(&self.pieces, &mut self.call, body, &mut patience).await {
                    Ok(frame) => frame,
                    Err(end) => return end,
                },
            };
            let bytes = match frame {
                Some(Err(_)) => return self.broken_off().await,
                None => {
                    self.learn();
                    return match self.editor.close() {
                        // What ends without its trailers broke off, however whole it looks.
                        Ok(last) if self.lacks_trailers() => {
                            self.give(last).await;
                            End::Broken(Cause::Reply("broke off"))
                        }
                        Ok(last) if self.editor.complete() => End::Complete(last),
                        Ok(last) => {
                            self.give(last).await;
                            End::Broken(Cause::Reply("broke off"))
                        }
                        Err(cause) => End::Broken(cause),
                    };
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(frame) => {
                        // Of anything but a call nobody awaits them.
                        let mut trailers = frame.into_trailers().unwrap_or_default();
                        strip_reply(&mut trailers);
                        self.learn();
                        self.editor.restore_message(&mut trailers);
                        self.trailers = self.draft.rpc.map(|_| trailers);
                        continue;
                    }
                },
            };
            let bytes = gathered(bytes, body, &mut ahead).await;
            let bytes = match &mut self.text {
                Some(text) => match text.push(&bytes) {
                    Ok(bytes) => bytes.into(),
                    Err(_) => return End::Broken(Cause::Reply("is malformed")),
                },
                None => bytes,
            };
            self.draft.reply_came(&bytes);
            self.learn();
            match self.editor.push(&bytes) {
                Ok(last) if self.editor.complete() => return End::Complete(last),
                Ok(piece) => {
                    if !self.give(piece).await {
                        return End::Left;
                    }
                }
                Err(cause) => return End::Broken(cause),
            }
        }
    }

    /// The upstream's next frame, or why nobody waits for it any longer.
    async fn next(
        pieces: &mpsc::Sender<Piece>,
        call: &mut Option<Call>,
        body: &mut Incoming,
        patience: &mut Patience,
    ) -> Result<Coming, End> {
        if pieces.is_closed() {
            return Err(End::Left);
        }
        if let Some(stopped) = stopped(call).now_or_never() {
            return Err(End::Broken(Cause::Stopped(stopped)));
        }
        // What is there already needs no timer, but a stream that never rests must end, too.
        if let Some(frame) = body.frame().now_or_never() {
            patience.something_came();
            if patience.is_spent() {
                return Err(End::Broken(Cause::Reply(TOO_LONG)));
            }
            return Ok(frame);
        }
        loop {
            let cause = tokio::select! {
                biased;
                () = pieces.closed() => return Err(End::Left),
                stopped = stopped(call) => return Err(End::Broken(Cause::Stopped(stopped))),
                frame = body.frame() => {
                    patience.something_came();
                    return Ok(frame);
                }
                cause = patience.runs_out() => cause,
            };
            // In a call it may be the caller whose turn it is.
            if cause == STALLED && call.as_ref().is_some_and(|call| call.spoke_within(patience.idle)) {
                patience.something_came();
                continue;
            }
            return Err(End::Broken(Cause::Reply(cause)));
        }
    }

    /// The upstream's connection died: what it had said is given, then the error.
    async fn broken_off(&mut self) -> End {
        if let Ok(rest) = self.editor.finish() {
            self.give(rest).await;
        }
        End::Broken(Cause::Reply("broke off"))
    }

    async fn give(&mut self, piece: Bytes) -> bool {
        if piece.is_empty() {
            return true;
        }
        self.draft.reply_piece(&piece);
        let piece = self.written(piece);
        let piece = match self.pieces.try_send(Ok(Frame::data(piece))) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(piece)) => piece,
        };
        // A caller who takes nothing for so long has left, whatever its connection says: its place and
        // the upstream's are free for others.
        let sent = self.pieces.send(piece);
        matches!(
            tokio::time::timeout(self.gate.config.limits.idle(), sent).await,
            Ok(Ok(()))
        )
    }

    /// A piece as the caller gets it.
    fn written(&self, piece: Bytes) -> Bytes {
        match &self.text {
            Some(_) => BASE64_STANDARD.encode(piece).into(),
            None => piece,
        }
    }

    /// Takes over what was replaced in messages of the call since the last time: what comes now may say it.
    fn learn(&mut self) {
        while let Some(originals) = self.call.as_mut().and_then(Call::learned) {
            self.editor.restore.reidentifier.learn(originals);
        }
    }

    /// Whether trailers tell of anything but success.
    fn call_failed(&self) -> bool {
        let status = self
            .trailers
            .as_ref()
            .and_then(|trailers| trailers.get(GRPC_STATUS));
        self.failed || status.is_some_and(|status| status != "0")
    }

    /// Whether trailers would have to follow, and none came.
    fn lacks_trailers(&self) -> bool {
        self.draft.rpc.is_some_and(Rpc::ends_in_trailers) && self.trailers.is_none()
    }

    /// Puts what the stream told into the draft of its seal.
    async fn account(&mut self, end: &End) {
        if let End::Complete(last) = end {
            self.draft.reply_piece(last);
        }
        let (usage, model) = self.editor.told();
        used(
            &self.gate,
            &self.upstream,
            &mut self.draft,
            usage,
            model.as_deref(),
        );
        self.look_at_texts().await;
    }

    /// Counts what the stream has said since the last time.
    async fn look_at_texts(&mut self) {
        let (rules, actor, texts) = (
            self.rules.clone(),
            self.draft.actor.clone(),
            self.editor.take_texts(),
        );
        if let Ok(findings) = findings_in(&rules, &actor, texts).await {
            self.draft.reply_findings(&findings);
        }
    }
}

async fn stopped(call: &mut Option<Call>) -> Stopped {
    match call {
        Some(call) => call.stopped().await,
        None => std::future::pending().await,
    }
}

/// What gRPC tells of an error, as trailers.
fn as_trailers(told: Vec<(&'static str, String)>) -> HeaderMap {
    let named = told.into_iter();
    // Percent-encoded, so it is always a header's value.
    named
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)))
        .collect()
}

const TOO_LONG: &str = "took longer than the limit";
const STALLED: &str = "stalled";

/// How long a stream may take in all, and how long without a byte. One timer serves both, and is set anew only when it
/// goes off: a stream has thousands of frames, and each would move it.
struct Patience {
    idle: Duration,
    last: Instant,
    until: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(idle: Duration, whole: Duration) -> Self {
        let now = Instant::now();
        Self {
            idle,
            last: now,
            until: now + whole,
            timer: Box::pin(sleep_until(now + idle.min(whole))),
        }
    }

    fn something_came(&mut self) {
        self.last = Instant::now();
    }

    /// Whether what came last came too late.
    fn is_spent(&self) -> bool {
        self.last >= self.until
    }

    /// Returns when there is none left, with what the stream did.
    async fn runs_out(&mut self) -> &'static str {
        loop {
            self.timer.as_mut().await;
            let now = Instant::now();
            if now >= self.until {
                return TOO_LONG;
            }
            let due = self.last + self.idle;
            if now >= due {
                return STALLED;
            }
            self.timer.as_mut().reset(due.min(self.until));
        }
    }
}

/// Translation where needed, then originals back in.
struct Editor {
    translator: Option<StreamTranslator>,
    /// None for a stream of unknown shape, which passes as it is.
    editor: Option<StreamEditor>,
    restore: Restore,
    raw_ended: bool,
}

impl Editor {
    fn new(gate: &Gate, form: Form, framing: Framing, draft: &Draft, originals: Originals) -> Self {
        let limits = wire_limits(&gate.config.limits);
        let model = draft.model.as_deref().unwrap_or_default();
        let edits = |endpoint: Endpoint, framing: Framing| {
            let editor = StreamEditor::framed(endpoint, framing, &limits);
            // Every chat request asks for usage on its way; only who asked for it sees it.
            let told = matches!(
                (endpoint.dialect, form),
                (Dialect::OpenaiChat, _) | (Dialect::OpenaiCompletions, Form::Translated(..))
            );
            let hide = told && !draft.wants_usage;
            Some(if hide { editor.without_usage() } else { editor })
        };
        let (translator, editor) = match form {
            Form::Same(endpoint) => (None, edits(endpoint, framing)),
            // What is translated is edited as the caller gets it.
            Form::Translated(asked, spoken) => (
                Some(StreamTranslator::new(asked, model).spoken(spoken, draft.created())),
                edits(asked.endpoint, asked.framing()),
            ),
            Form::Unknown | Form::Count(..) => (None, None),
        };
        let restore = Restore::new(originals);
        Self {
            translator,
            editor,
            restore,
            raw_ended: false,
        }
    }

    /// Has the compression of its messages undone by that.
    fn unpack(&mut self, unpack: Unpack) {
        self.editor = self.editor.take().map(|editor| editor.unpacking(unpack));
    }

    fn push(&mut self, bytes: &[u8]) -> Result<Bytes, Cause> {
        let translated = match &mut self.translator {
            Some(translator) => translator
                .push(bytes)
                .map_err(|_| Cause::Reply("could not be understood"))?,
            None => Bytes::copy_from_slice(bytes),
        };
        match &mut self.editor {
            Some(editor) => editor
                .push(&translated, &mut self.restore)
                .map_err(|_| Cause::Reply("is larger than the limit")),
            None => Ok(translated),
        }
    }

    /// The upstream has closed as it should, which in some dialects is what ends a reply.
    fn close(&mut self) -> Result<Bytes, Cause> {
        let translated = match &mut self.translator {
            Some(translator) => translator
                .close()
                .map_err(|_| Cause::Reply("could not be understood"))?,
            None => Bytes::new(),
        };
        let before = match &mut self.editor {
            Some(editor) => editor
                .push(&translated, &mut self.restore)
                .map_err(|_| Cause::Reply("is larger than the limit"))?,
            None => Bytes::new(),
        };
        Ok([before, self.finish()?].concat().into())
    }

    fn finish(&mut self) -> Result<Bytes, Cause> {
        self.raw_ended = true;
        // The translator writes the closing events when it meets `[DONE]`. A stream that ends without
        // it broke off, and gets one error event from us rather than another from there.
        match &mut self.editor {
            Some(editor) => editor
                .finish(&mut self.restore)
                .map_err(|_| Cause::Reply("is larger than the limit")),
            None => Ok(Bytes::new()),
        }
    }

    /// Puts originals back where gRPC says in words how a call went.
    fn restore_message(&mut self, headers: &mut HeaderMap) {
        let Some(told) = headers.get(GRPC_MESSAGE) else {
            return;
        };
        let reidentifier = &mut self.restore.reidentifier;
        let new = cordon_wire::rewrite_grpc_message(told.as_bytes(), |text| reidentifier.whole(text, false));
        // Percent-encoded, so it is always a header's value.
        if let Some(Ok(new)) = new.map(HeaderValue::try_from) {
            headers.insert(GRPC_MESSAGE, new);
        }
    }

    /// Whether the closing event has come. A stream of unknown shape is complete when it ends.
    fn complete(&self) -> bool {
        self.editor
            .as_ref()
            .map_or(self.raw_ended, StreamEditor::complete)
    }

    /// Whether nobody knows the stream's shape.
    fn is_unknown(&self) -> bool {
        self.editor.is_none()
    }

    /// Whether the stream closed by telling of an error.
    fn failed(&self) -> bool {
        self.editor.as_ref().is_some_and(StreamEditor::failed)
    }

    /// The event that ends a stream in place of its closing one.
    fn error_event(&self, dialect: Dialect, refusal: &Refusal) -> Bytes {
        match &self.editor {
            Some(editor) => editor.error_event(refusal),
            None => error_event(dialect, refusal),
        }
    }

    fn told(&self) -> (Option<cordon_wire::Usage>, Option<String>) {
        self.editor.as_ref().map_or((None, None), |editor| {
            (editor.usage(), editor.model().map(str::to_owned))
        })
    }

    /// Bytes of text that wait for inspection.
    fn gathered(&self) -> usize {
        self.restore.gathered()
    }

    fn take_texts(&mut self) -> Vec<String> {
        self.restore.take_texts()
    }
}

/// Puts originals back, and keeps what the upstream said for inspection.
pub(in crate::pipeline) struct Restore {
    pub(in crate::pipeline) reidentifier: Reidentifier,
    texts: BTreeMap<Channel, String>,
    kept: usize,
}

impl Restore {
    pub(in crate::pipeline) fn new(originals: Originals) -> Self {
        Self {
            reidentifier: Reidentifier::new(originals),
            texts: BTreeMap::new(),
            kept: 0,
        }
    }

    /// Bytes of text that wait for inspection.
    pub(in crate::pipeline) fn gathered(&self) -> usize {
        self.kept
    }

    pub(in crate::pipeline) fn take_texts(&mut self) -> Vec<String> {
        self.kept = 0;
        std::mem::take(&mut self.texts).into_values().collect()
    }
}

impl Rewrite for Restore {
    fn whole(&mut self, text: &str, arguments: bool) -> String {
        self.reidentifier.whole(text, arguments)
    }

    fn push(&mut self, channel: &Channel, piece: &str, arguments: bool) -> String {
        self.kept += piece.len();
        match self.texts.get_mut(channel) {
            Some(text) => text.push_str(piece),
            None => {
                self.texts.insert(channel.clone(), piece.to_owned());
            }
        }
        self.reidentifier.push(channel.as_str(), piece, arguments)
    }

    fn holds(&self, channel: &Channel) -> bool {
        self.reidentifier.holds(channel.as_str())
    }

    fn finish(&mut self, channel: &Channel) -> String {
        self.reidentifier.finish(channel.as_str())
    }
}
