//! The one place where a cause becomes what a caller sees.
//!
//! Messages are made of rule names, entity types, counts and limits. Nothing of a request, of an
//! upstream's words, or of another error's text goes into them.

use cordon_audit::Outcome;
use cordon_domain::{Action, Decision, Dialect, ExchangeId, Fault, Refusal, SpliceError};
use cordon_inspect::Missed;
use cordon_intercept::{EncodingError, ReadError};
use cordon_policy::TransformRefused;
use cordon_wire::{DecodeError, TranslateError};

use crate::{files, negotiate, pipeline::call::Stopped, upstream::UpstreamError};

pub mod page;

/// Why an exchange ends in a refusal.
#[derive(Debug)]
pub enum Cause {
    /// No key, or none that is known. At the proxy the answer is 407, elsewhere 401.
    Unidentified {
        /// Whether a key was there.
        presented: bool,
        /// Whether the proxy's own header is the one to use.
        proxy: bool,
    },
    /// A Kerberos ticket, or what was to be one, by which nobody is known.
    Ticket(negotiate::Fault),
    /// More exchanges under way than configured.
    Busy,
    /// More of one actor under way than configured, of what is named.
    ActorBusy(&'static str),
    /// What the caller said further in a call was refused, or ended otherwise.
    Stopped(Stopped),
    /// An upgrade was asked for, to a WebSocket whose messages nobody describes or to something else; and the
    /// status at which the caller's programs fall back.
    Upgrade(u16),
    /// Sound, which is not inspected.
    Sound,
    /// A message goes on from a response that is not kept where it is answered.
    PreviousUnknown,
    /// The body could not be read to its end.
    Read(ReadError),
    /// The body's content encoding.
    Encoding(EncodingError),
    /// The body is not what its dialect says.
    Decode(DecodeError),
    /// No dialect describes the host, path or method, and the policy does not pass it.
    Unknown {
        /// Whether it came to an intercepted host.
        intercepted: bool,
    },
    /// The policy blocks or coaches; the message is the policy's.
    Policy {
        /// What was decided.
        decision: Decision,
        /// Rule, counts and advice.
        message: String,
    },
    /// A file of the request.
    File(FileRefused),
    /// Inspection itself failed.
    Inspection,
    /// Names could not be looked for, and the policy does not let the request go without.
    NamesMissed(Missed),
    /// A question to the on-prem model has no answer, and the policy does not let the request go without.
    Unanswered(Decision),
    /// Edits could not be made.
    Transform(TransformRefused),
    /// The request cannot be put into the upstream's dialect.
    Translate(TranslateError),
    /// The upstream does not offer what was asked for.
    NotOffered(&'static str),
    /// The upstream speaks neither this dialect nor one that it can be put into.
    NotSpoken(Dialect),
    /// The policy sends it to an upstream for which no key is configured.
    NoCredentials,
    /// The caller has signed the request, and it had to be edited.
    Signed,
    /// The engine is not there yet, or not any more.
    EngineDown,
    /// The engine refused it, in words that are our own engine's.
    EngineRefused {
        /// Its HTTP status.
        status: u16,
        /// Its message.
        message: String,
    },
    /// The upstream could not be asked.
    Upstream(UpstreamError),
    /// The upstream's reply broke off, is malformed, or is over a limit.
    Reply(&'static str),
    /// An error status of an upstream whose dialect is not the caller's.
    UpstreamStatus(u16),
    /// The record could not be made durable.
    Audit,
    /// The caller left; nobody reads the answer.
    ClientLeft,
    /// A defect of ours.
    Internal,
}

/// A file that stops its request.
#[derive(Debug)]
pub struct FileRefused {
    /// Which of the request's files, from 1.
    pub nth: usize,
    /// Why.
    pub fault: files::Fault,
}

impl FileRefused {
    /// What the caller is told: which file by its number, and why in words of ours.
    fn message(&self) -> String {
        let (nth, fault) = (self.nth, &self.fault);
        let so = match fault {
            files::Fault::Locked => "so Cordon could not inspect it and did not pass the request on.",
            files::Fault::Limit(_) => {
                "so Cordon did not inspect it and did not pass the request on. Send a smaller file, or the part that matters."
            }
            files::Fault::Unread(_) => {
                "and the policy blocks what is not inspected. Take it out, or send what it says as text."
            }
            files::Fault::Busy => "so the request was not passed on. Try again shortly.",
        };
        format!("File {nth} of this request {fault}, {so}")
    }
}

impl From<ReadError> for Cause {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<EncodingError> for Cause {
    fn from(error: EncodingError) -> Self {
        Self::Encoding(error)
    }
}

impl From<DecodeError> for Cause {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<TransformRefused> for Cause {
    fn from(error: TransformRefused) -> Self {
        Self::Transform(error)
    }
}

impl From<TranslateError> for Cause {
    fn from(error: TranslateError) -> Self {
        Self::Translate(error)
    }
}

impl From<UpstreamError> for Cause {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

/// Seconds after which an engine that is starting is worth another try.
const ENGINE_RETRY: u32 = 5;
const SHORT_RETRY: u32 = 1;

/// The status that a caller gets for an upstream's. What concerns us and the upstream alone (our key, its
/// proxy) is no login of the caller's, and agents re-send on 403 and 422.
fn passed_on(status: u16) -> u16 {
    match status {
        400 | 404 | 413 | 429 | 503 => status,
        422 => 400,
        _ => 502,
    }
}

impl Cause {
    /// What the caller is told.
    pub fn refusal(&self, exchange: ExchangeId) -> Refusal {
        let told = |status, fault, code, message: String| Refusal {
            status,
            fault,
            code,
            message: format!("{message} (Cordon exchange {exchange})"),
            action: self.action(),
            exchange,
            retry_after: self.retry_after(),
        };
        match self {
            Self::Stopped(stopped) => stopped.refusal.clone(),
            Self::Unidentified { presented, proxy } => {
                let what = if *presented { "This Cordon API key is not known or was revoked." } else { "Cordon needs to know who you are." };
                if *proxy {
                    told(407, Fault::Identity, "cordon_proxy_login", format!(
                        "{what} Put your key into the proxy setting: HTTPS_PROXY=http://cordon:YOUR_KEY@HOST:PORT. Your administrator makes a key with `cordon key create`."
                    ))
                } else {
                    told(401, Fault::Identity, "cordon_login", format!(
                        "{what} Send your key as `Authorization: Bearer YOUR_KEY` or as `x-api-key`. Your administrator makes a key with `cordon key create`."
                    ))
                }
            }
            Self::Ticket(fault) if fault.is_the_callers() => told(407, Fault::Identity, fault.code(), fault.message().into()),
            Self::Ticket(fault) => told(503, Fault::Internal, fault.code(), fault.message().into()),
            Self::Busy => told(503, Fault::Internal, "cordon_busy", "Cordon has as many requests under way as it is configured for. Try again shortly.".into()),
            Self::ActorBusy(what) => told(429, Fault::Limit, "cordon_actor_busy", format!("You have as many {what} as Cordon is configured for. Try again when some have ended.")),
            Self::Upgrade(status) => told(*status, Fault::Upgrade, "cordon_upgrade_not_inspected", "Cordon does not know how to inspect what is said over this connection, so it is not opened. Use plain HTTPS requests.".into()),
            Self::Sound => told(400, Fault::Shape, "cordon_sound_not_inspected", "Cordon does not inspect sound, and the policy blocks what is not inspected. Send text, or ask your security team.".into()),
            // The dialect's own code: its programs send the whole input again.
            Self::PreviousUnknown => told(400, Fault::Shape, "previous_response_not_found", "The previous response is not kept here. Send the whole input.".into()),
            Self::Read(ReadError::TooLarge { .. }) => told(413, Fault::Limit, "cordon_body_too_large", "The request body is larger than Cordon is configured to inspect. Send less at once.".into()),
            Self::Read(_) => told(400, Fault::Shape, "cordon_body_incomplete", "The request body ended early or stalled, so it could not be inspected. Send it again.".into()),
            Self::Encoding(EncodingError::Unsupported | EncodingError::TooManyLayers) => told(415, Fault::Encoding, "cordon_encoding_unsupported", "The body's content-encoding cannot be inspected. Use gzip, deflate, br, zstd, or none.".into()),
            Self::Encoding(EncodingError::TooLarge(_) | EncodingError::Ratio(_)) => told(413, Fault::Limit, "cordon_body_too_large", "The request body is larger, once decoded, than Cordon is configured to inspect. Send less at once.".into()),
            Self::Encoding(_) => told(400, Fault::Shape, "cordon_encoding_malformed", "The body is not what its content-encoding says, so it could not be inspected.".into()),
            Self::Decode(error) if error.status() == 413 => told(413, Fault::Limit, "cordon_body_too_large", format!("Cordon could not inspect the request: {}. Send less at once.", error.message())),
            Self::Decode(error) => told(400, Fault::Shape, "cordon_body_malformed", format!("Cordon could not inspect the request: {}.", error.message())),
            Self::Unknown { intercepted: true } => told(400, Fault::Shape, "cordon_unknown_shape", "Cordon does not know how to inspect this kind of request to this host, and the policy blocks what is not inspected. Ask your security team if you need it.".into()),
            Self::Unknown { intercepted: false } => told(404, Fault::NotFound, "cordon_unknown_path", "Cordon does not serve this path. It serves those of OpenAI, Anthropic, Gemini, Ollama, Cohere, Bedrock and Azure that `docs/dialects.md` lists, such as /v1/chat/completions, /v1/responses, /v1/messages and /v1/models.".into()),
            Self::Policy { message, .. } => told(400, Fault::Policy, match self.action() {
                Action::Coach => "cordon_policy_coach",
                _ => "cordon_policy_block",
            }, message.clone()),
            Self::File(refused) => match &refused.fault {
                files::Fault::Locked => told(400, Fault::Policy, "cordon_file_locked", refused.message()),
                files::Fault::Limit(_) => told(413, Fault::Limit, "cordon_file_too_large", refused.message()),
                files::Fault::Unread(_) => told(400, Fault::Policy, "cordon_file_unread", refused.message()),
                files::Fault::Busy => told(503, Fault::Internal, "cordon_files_busy", refused.message()),
            },
            Self::Inspection => told(503, Fault::Internal, "cordon_inspection_failed", "Cordon could not inspect this request, so it was not passed on. Try again; if it happens again, tell your security team.".into()),
            Self::NamesMissed(missed) => told(503, Fault::Internal, "cordon_names_missed", format!("In this request {missed}, so it was not passed on. Try again, with less text if it is long.")),
            Self::Unanswered(decision) => told(503, Fault::Internal, "cordon_question_unanswered", format!(
                "Cordon asks the on-prem model about such a request (`{}`), and it gave no answer, so the request was not passed on. Try again shortly, with less text if it is long.",
                decision.rule
            )),
            Self::Transform(TransformRefused::Splice(SpliceError::Irremovable(_))) => told(400, Fault::Policy, "cordon_file_irremovable", "A file in this request holds what must not leave, and nothing can take its place there. Take the file out, or what is sensitive out of the file.".into()),
            Self::Transform(_) => told(503, Fault::Internal, "cordon_transform_failed", "Cordon could not remove what must not leave from this request, so it was not passed on. Tell your security team.".into()),
            Self::Translate(error) => told(400, Fault::Shape, "cordon_not_translatable", format!("The model that the policy chose cannot take this request: {error}.")),
            Self::NotOffered(what) => told(400, Fault::Shape, "cordon_not_offered", format!("The model that the policy chose does not offer {what}.")),
            Self::NotSpoken(dialect) => told(400, Fault::Shape, "cordon_not_translatable", format!(
                "The model that the policy chose does not speak `{dialect}`, nor any dialect that requests are put into (openai-chat, anthropic-messages, gemini). Ask it in a dialect of its own, or have your administrator route `{dialect}` to an upstream that speaks one of these."
            )),
            Self::NoCredentials => told(400, Fault::Upstream, "cordon_no_credentials", "The policy sends this request to a provider for which Cordon has no key. Ask your administrator to configure `credentials` for it.".into()),
            Self::Signed => told(400, Fault::Policy, "cordon_signed", "Something in this request must not leave and was replaced, but your program has signed the request (AWS4-HMAC-SHA256), so the provider would not take it. Take it out, have your program use a bearer token (`AWS_BEARER_TOKEN_BEDROCK`), or ask your administrator to have Cordon sign (`aws` of the upstream).".into()),
            Self::EngineDown => told(503, Fault::Upstream, "cordon_engine_down", "The on-prem model is starting or restarting. Try again shortly.".into()),
            Self::EngineRefused { status, message } => told(
                passed_on(*status),
                match status { 400..=499 => Fault::Shape, _ => Fault::Upstream },
                "cordon_engine_refused",
                format!("The on-prem model cannot answer: {message}"),
            ),
            Self::Upstream(UpstreamError::TimedOut) => told(504, Fault::Upstream, "cordon_upstream_timeout", "The provider did not answer in time.".into()),
            Self::Upstream(UpstreamError::Unsendable) => told(400, Fault::Shape, "cordon_unsendable", "A header or the path of this request is no valid HTTP.".into()),
            Self::Upstream(UpstreamError::Unsignable) => told(400, Fault::Shape, "cordon_call_not_signable", "Cordon signs whole requests to this provider (`aws` of the upstream), so it sends no call whose messages follow one another (gRPC, streams of Connect). Use the provider's API of single requests, or ask your administrator to route such calls elsewhere.".into()),
            Self::Upstream(UpstreamError::Certificate(fault)) => told(502, Fault::Upstream, fault.code(), format!(
                "Cordon refused the connection to the provider: its certificate {}. Nothing was sent. Tell your administrator; trying again does not help until the certificate is mended.", fault.what()
            )),
            Self::Upstream(UpstreamError::Reserved) => told(502, Fault::Upstream, "cordon_upstream_private_address", "The provider's name leads to an address inside the building, where no provider is, so nothing was sent. Tell your administrator: the name's server may have been tampered with.".into()),
            Self::Upstream(UpstreamError::Unresolved) => told(502, Fault::Upstream, "cordon_upstream_unresolved", "The provider's name does not resolve.".into()),
            Self::Upstream(UpstreamError::Parent) => told(502, Fault::Upstream, "cordon_upstream_proxy", "The company's own proxy, which Cordon goes out through, cannot be reached or refused the connection. Tell your administrator.".into()),
            Self::Upstream(UpstreamError::Handshake) => told(502, Fault::Upstream, "cordon_upstream_handshake", "The provider's server does not speak TLS as it must.".into()),
            Self::Upstream(UpstreamError::Broken) => told(502, Fault::Upstream, "cordon_upstream_broken", "The provider closed the connection before it answered.".into()),
            Self::Upstream(UpstreamError::Unreachable) => told(502, Fault::Upstream, "cordon_upstream_unreachable", "The provider cannot be reached.".into()),
            Self::Reply(what) => told(502, Fault::Upstream, "cordon_upstream_reply", format!("The provider's reply {what}, so it was not passed on.")),
            Self::UpstreamStatus(status) => told(
                passed_on(*status),
                Fault::Upstream, "cordon_upstream_error", format!("The model that the policy chose answered with HTTP status {status}."),
            ),
            Self::Audit => told(503, Fault::Internal, "cordon_audit_unavailable", "Cordon cannot record this request at the moment, so it was not answered. Try again shortly.".into()),
            Self::ClientLeft => told(499, Fault::Internal, "cordon_client_left", "The caller left.".into()),
            Self::Internal => told(500, Fault::Internal, "cordon_internal", "Something failed inside Cordon; the request was not passed on. Tell your administrator.".into()),
        }
    }

    /// How the record calls it, for an exchange that got as far as a decision.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Stopped(stopped) => stopped.outcome,
            Self::Upstream(_)
            | Self::Reply(_)
            | Self::UpstreamStatus(_)
            | Self::EngineDown
            | Self::EngineRefused { .. }
            | Self::NoCredentials => Outcome::UpstreamFailed,
            Self::ClientLeft => Outcome::ClientLeft,
            Self::Transform(TransformRefused::Splice(SpliceError::Irremovable(_))) => Outcome::Refused,
            Self::Inspection
            | Self::NamesMissed(_)
            | Self::Unanswered(_)
            | Self::Transform(_)
            | Self::Audit
            | Self::Internal => Outcome::Internal,
            Self::Unidentified { .. }
            | Self::Ticket(_)
            | Self::Busy
            | Self::ActorBusy(_)
            | Self::Upgrade(_)
            | Self::Sound
            | Self::PreviousUnknown
            | Self::Read(_)
            | Self::Encoding(_)
            | Self::Decode(_)
            | Self::Unknown { .. }
            | Self::Policy { .. }
            | Self::File(_)
            | Self::Translate(_)
            | Self::Signed
            | Self::NotOffered(_)
            | Self::NotSpoken(_) => Outcome::Refused,
        }
    }

    fn action(&self) -> Action {
        match self {
            Self::Policy { decision, .. } => decision.action,
            Self::Stopped(stopped) => stopped.refusal.action,
            _ => Action::Block,
        }
    }

    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::EngineDown | Self::Unanswered(_) => Some(ENGINE_RETRY),
            Self::EngineRefused {
                status: 429 | 503, ..
            }
            | Self::UpstreamStatus(429 | 503) => Some(ENGINE_RETRY),
            Self::Busy
            | Self::Ticket(negotiate::Fault::Busy | negotiate::Fault::Unchecked)
            | Self::ActorBusy(_)
            | Self::File(FileRefused {
                fault: files::Fault::Busy,
                ..
            })
            | Self::NamesMissed(_)
            | Self::Audit => Some(SHORT_RETRY),
            _ => None,
        }
    }
}
