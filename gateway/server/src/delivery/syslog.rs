//! Records to a receiver of syslog: messages of RFC 5424, framed by their length over TLS as RFC 5425 says.
//!
//! Syslog has no acknowledgements, but its connections have an end: who gets `close_notify` must answer it, which a receiver does when it has
//! read all that came before. So when records were sent, and after a second in which the receiver was still there, the connection is ended in good order. If the
//! receiver ends it too, it has read everything; if it breaks off instead, or had ended it before, everything is sent again. What a
//! receiver does with what it has read is its own affair, and a relay answers for itself.
//!
//! Limits: `max_bytes` a message, [`UNCONFIRMED`] records on a connection, [`TIME`] for each step. [`ENTITIES`] bytes of entity types.
//!
//! On failure: [`Fault`], which quotes nothing of a record.

use std::{fmt::Write as _, io, sync::Arc, time::Duration};

use cordon_audit::{Body, FedRecord, Page};
use cordon_domain::Action;
use cordon_intercept::{CertificateFault, DialError};
use rustls::pki_types::ServerName;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{Carries, Standing, Trust, TrustFault};
use crate::config::SyslogReceiver;

/// How long a piece may take to be written, and the receiver to end the connection.
const TIME: Duration = Duration::from_secs(30);
/// How long the receiver has to be there before it is asked to end the connection: an end that it had begun before shows within it.
const QUIET: Duration = Duration::from_secs(1);
/// Records that are sent on one connection.
const UNCONFIRMED: usize = 50_000;
/// Bytes of one write.
const PIECE: usize = 64 * 1024;
/// Bytes of the entity types in the structured data; the body has all of them.
const ENTITIES: usize = 1024;
/// Bytes that a receiver may say, which are not read.
const MOST_SAID: usize = 64 * 1024;

const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Why records do not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("`address` names no host that a certificate could be for")]
    Name,
    #[error(transparent)]
    Trust(#[from] TrustFault),
    #[error("no TLS with the receiver: {0}")]
    Certificate(CertificateFault),
    #[error("no TLS with the receiver: {0}")]
    Handshake(io::Error),
    #[error("the receiver did not take what was sent: {0}")]
    Write(io::ErrorKind),
    #[error("the receiver ended the connection before it was asked to")]
    EndedBefore,
    #[error("the connection broke before the receiver had read everything: {0}")]
    Broken(io::ErrorKind),
    #[error("the receiver did not {0} within {seconds} s", seconds = TIME.as_secs())]
    Slow(&'static str),
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A receiver, and what was sent to it.
pub(super) struct Receiver {
    settings: SyslogReceiver,
    trust: Trust,
    line: Option<Box<dyn Wire>>,
    /// Records that were sent over the line, and when the first of them was.
    sent: usize,
    since: Option<Instant>,
    text: Vec<u8>,
}

impl Receiver {
    pub(super) fn new(settings: SyslogReceiver, trust: Trust) -> Self {
        Self {
            settings,
            trust,
            line: None,
            sent: 0,
            since: None,
            text: Vec::new(),
        }
    }

    async fn connect(&mut self) -> Result<Box<dyn Wire>, Fault> {
        let (host, port, secure) = self.settings.place().ok_or(Fault::Name)?;
        let way = &self.trust.way;
        let stream = way.outbound.dial(&host, port, way.limit, |_| true).await?;
        if !secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host).map_err(|_| Fault::Name)?;
        let connector = TlsConnector::from(Arc::new(self.trust.tls()?));
        let handshake = timeout(way.limit, connector.connect(name, stream)).await;
        let tls = handshake
            .map_err(|_| Fault::Slow("shake hands"))?
            .map_err(|error| match CertificateFault::of(&error) {
                Some(fault) => Fault::Certificate(fault),
                None => Fault::Handshake(error),
            })?;
        Ok(Box::new(tls))
    }
}

impl Carries for Receiver {
    type Fault = Fault;

    async fn send(&mut self, page: &Page) -> Result<u64, Fault> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => self.connect().await?,
        };
        let mut without = 0;
        self.text.clear();
        let mut records = page.records.iter().peekable();
        while let Some(record) = records.next() {
            let whole = message(&self.settings, &page.name, record, &mut self.text);
            without += u64::from(!whole);
            if self.text.len() >= PIECE || records.peek().is_none() {
                let written = timeout(TIME, line.write_all(&self.text)).await;
                written
                    .map_err(|_| Fault::Slow("take what was sent"))?
                    .map_err(|error| Fault::Write(error.kind()))?;
                self.text.clear();
            }
        }
        let flushed = timeout(TIME, line.flush()).await;
        flushed
            .map_err(|_| Fault::Slow("take what was sent"))?
            .map_err(|error| Fault::Write(error.kind()))?;
        self.line = Some(line);
        self.sent += page.records.len();
        self.since.get_or_insert_with(Instant::now);
        Ok(without)
    }

    fn standing(&self) -> Standing {
        let Some(since) = self.since else {
            return Standing::Arrived;
        };
        let due = Duration::from_secs(self.settings.confirm_seconds);
        if self.sent >= UNCONFIRMED || since.elapsed() >= due {
            Standing::Due
        } else {
            Standing::Sent
        }
    }

    async fn confirm(&mut self) -> Result<(), Fault> {
        if self.sent == 0 {
            return Ok(());
        }
        let mut line = self.line.take().ok_or(Fault::EndedBefore)?;
        // An end that was under way before all had arrived says nothing of what came late. It would be seen within this time.
        match timeout(QUIET, until_end(&mut line)).await {
            Err(_) => {}
            Ok(Ok(())) => return Err(Fault::EndedBefore),
            Ok(Err(error)) => return Err(Fault::Broken(error.kind())),
        }
        let ending = async {
            line.shutdown().await?;
            until_end(&mut line).await
        };
        timeout(TIME, ending)
            .await
            .map_err(|_| Fault::Slow("end the connection when it was asked to"))?
            .map_err(|error| Fault::Broken(error.kind()))?;
        (self.sent, self.since) = (0, None);
        Ok(())
    }

    fn leave(&mut self) {
        (self.line, self.sent, self.since) = (None, 0, None);
    }
}

/// Reads until the other side has ended the connection.
async fn until_end(line: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut said = [0; 512];
    let mut bytes = 0;
    while bytes < MOST_SAID {
        match line.read(&mut said).await {
            Ok(0) => return Ok(()),
            Ok(read) => bytes += read,
            // Many close the connection without closing TLS first. All that came before was read all the same: an end of TCP is otherwise a reset.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Appends a record's message in its frame, and says whether its body is in it.
fn message(settings: &SyslogReceiver, host: &str, record: &FedRecord, out: &mut Vec<u8>) -> bool {
    let mut head = head(settings, host, record);
    let whole = head.len() + 2 + BOM.len() + record.body.len() <= settings.max_bytes;
    if whole {
        head.push_str("] ");
        head.push_str(BOM);
        head.push_str(&record.body);
    } else {
        // JSON that is cut is none: the structured data says how long the body is that is not there.
        let _ = write!(head, " omitted=\"{}\"]", record.body.len());
    }
    out.extend_from_slice(head.len().to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.as_bytes());
    whole
}

/// What says that a message is UTF-8.
const BOM: &str = "\u{feff}";

/// A message as far as its structured data, which is left open.
fn head(settings: &SyslogReceiver, host: &str, record: &FedRecord) -> String {
    let entry = &record.entry;
    let kind = entry.body.kind();
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(entry.at) * 1_000_000);
    let at = at.ok().and_then(|at| at.format(&TIMESTAMP).ok());
    let mut text = format!(
        "<{}>1 {} {} cordon - {kind} [cordon@{} id=\"{}\" kind=\"{kind}\"",
        u16::from(settings.facility) * 8 + u16::from(severity(record)),
        at.as_deref().unwrap_or("-"),
        host_name(host),
        settings.enterprise,
        record.id(),
    );
    if let Some(exchange) = entry.body.exchange() {
        let _ = write!(text, " exchange=\"{exchange}\"");
    }
    if let Some(action) = record.action() {
        let _ = write!(text, " action=\"{}\"", action.name());
    }
    let mut entities = String::new();
    for entity in record.entities() {
        if entities.len() + entity.as_str().len() >= ENTITIES {
            break;
        }
        if !entities.is_empty() {
            entities.push(' ');
        }
        entities.push_str(entity.as_str());
    }
    let tree = entry.tree();
    for (name, value) in [
        ("entities", entities.as_str()),
        ("tenant", tree.tenant()),
        ("class", tree.class()),
    ] {
        if !value.is_empty() {
            let _ = write!(text, " {name}=\"{}\"", escaped(value));
        }
    }
    text
}

/// Of RFC 5424: 2 critical, 4 warning, 5 notice, 6 informational.
fn severity(record: &FedRecord) -> u8 {
    match (&record.entry.body, record.action()) {
        (Body::SpoolTampered(_), _) => 2,
        (_, Some(Action::Block | Action::Coach)) => 4,
        (_, Some(Action::Alert | Action::Redact)) => 5,
        _ => 6,
    }
}

/// A name as a header has it: printable ASCII, 255 bytes at most.
fn host_name(name: &str) -> String {
    let plain: String = name.chars().filter(char::is_ascii_graphic).take(255).collect();
    if plain.is_empty() { "-".to_owned() } else { plain }
}

/// A value of structured data: quotes, backslashes and closing brackets are escaped.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for char in value.chars() {
        if matches!(char, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

#[cfg(test)]
mod tests {
    use cordon_audit::{Entry, SpoolTampered, Tampering};

    use super::*;

    fn settings(max_bytes: usize) -> SyslogReceiver {
        SyslogReceiver {
            address: "127.0.0.1:6514".to_owned(),
            tls: crate::config::TlsFiles::default(),
            facility: 13,
            enterprise: 4711,
            max_bytes,
            confirm_seconds: 1,
        }
    }

    fn record(action: &str) -> FedRecord {
        let body = format!(
            r#"{{"at":1700000000007,"body":{{"action":"{action}","actor":{{"groups":["staff"],"identity":{{"api_key":{{"key":"k1"}}}},"user":"p-1"}},"dialect":"openai-chat","door":"gateway","entities":{{"CREDIT_CARD":1,"EMAIL":2}},"exchange":"018bcfe5-6800-7000-8000-000000000001","kind":"intent","method":"POST","path":"/v1/chat/completions","peer":"127.0.0.1:5","policy_hash":"aa","request_bytes":9,"rule":"pii","stream":false}},"class":"long","previous_hash":"{}","sequence":3,"tenant":"fab","v":1,"writer":"00000000-0000-0000-0000-000000000007"}}"#,
            "0".repeat(64)
        );
        let entry = Entry::parse(body.as_bytes()).unwrap();
        FedRecord { entry, body }
    }

    fn text(max_bytes: usize, record: &FedRecord) -> (bool, String) {
        let mut out = Vec::new();
        let whole = message(&settings(max_bytes), "gateway 1\u{e9}", record, &mut out);
        (whole, String::from_utf8(out).unwrap())
    }

    const HEAD: &str = "<108>1 2023-11-14T22:13:20.007Z gateway1 cordon - intent [cordon@4711 id=\"00000000-0000-0000-0000-000000000007/3\" kind=\"intent\" exchange=\"018bcfe5-6800-7000-8000-000000000001\" action=\"block\" entities=\"CREDIT_CARD EMAIL\" tenant=\"fab\" class=\"long\"";

    #[test]
    fn a_message_has_the_form_of_the_rfcs() {
        let record = record("block");
        let (whole, text) = text(65536, &record);
        let message = format!("{HEAD}] \u{feff}{}", record.body);
        assert!(whole);
        assert_eq!(text, format!("{} {message}", message.len()));
    }

    #[test]
    fn what_is_too_long_goes_without_its_body_and_is_never_cut() {
        let record = record("block");
        let least = HEAD.len() + 2 + BOM.len() + record.body.len();
        assert!(text(least, &record).0);
        let (whole, text) = text(least - 1, &record);
        let message = format!("{HEAD} omitted=\"{}\"]", record.body.len());
        assert!(!whole);
        assert_eq!(text, format!("{} {message}", message.len()));
    }

    #[test]
    fn severity_follows_what_was_decided() {
        for (action, severity_of) in [
            ("block", 4),
            ("coach", 4),
            ("redact", 5),
            ("alert", 5),
            ("reroute", 6),
            ("allow", 6),
        ] {
            assert_eq!(severity(&record(action)), severity_of, "{action}");
        }
        let mut tampered = record("allow");
        tampered.entry.body = Body::SpoolTampered(SpoolTampered {
            what: Tampering::SegmentRemoved,
            segment: None,
            first_sequence: None,
            last_sequence: None,
            restored: true,
        });
        assert_eq!(severity(&tampered), 2);
        assert_eq!(escaped("a\"b\\c]d"), "a\\\"b\\\\c\\]d");
        assert_eq!(host_name("\u{e9} "), "-");
    }
}
