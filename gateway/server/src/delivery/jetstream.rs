//! Records to NATS JetStream: each is published with `Nats-Msg-Id`, and has arrived when the stream has acknowledged it.
//!
//! A record that is sent again within the stream's duplicate window is acknowledged and not kept twice.
//!
//! Limits: a page of the feed unacknowledged at once, [`TIME`] for an acknowledgement.
//!
//! On failure: [`Fault`], which quotes nothing of a record and no credentials.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, ServerAddr,
    jetstream::{
        Context, ContextBuilder,
        context::{GetStreamErrorKind, PublishErrorKind},
        message::PublishMessage,
        stream,
    },
};
use cordon_audit::{FedRecord, MAX_ENTRY_BYTES, Page};
use tokio::time::timeout;

use super::{Carries, Standing, Trust, TrustFault};
use crate::config::NatsServer;

/// How long a server may take for an answer.
const TIME: Duration = Duration::from_secs(15);
/// Records that may wait for their acknowledgement; more than a page has.
const WAITING: usize = 2048;
/// How often a broken connection is tried again before all of it begins anew.
const TRIES: usize = 3;
/// How long a stream that we make knows an id.
const DUPLICATES: Duration = Duration::from_secs(3600);
/// Bytes of a message beside the body.
const BESIDE: usize = 1024;

/// Why records do not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("`url` is none of NATS")]
    Url,
    #[error("`credentials` are no .creds file that reads")]
    Credentials,
    #[error("`credentials`: {0}")]
    CredentialsFile(String),
    #[error(transparent)]
    Trust(#[from] TrustFault),
    #[error("no connection to the server: {0}")]
    Connect(#[from] async_nats::ConnectError),
    #[error(
        "the server's `max_payload` of {0} bytes is less than a record can have ({MAX_ENTRY_BYTES}, and {BESIDE} beside it)"
    )]
    Payload(usize),
    #[error(
        "no stream takes `{0}.>`: make one (`nats stream add --subjects '{0}.>' --dupe-window 1h --storage file`), or write `stream: NAME, create: true`"
    )]
    NoStream(String),
    #[error("stream `{0}` cannot be looked at: {1}")]
    Stream(String, String),
    #[error("records went into stream `{found}`, and not into `{wanted}`")]
    OtherStream { found: String, wanted: String },
    #[error("a record was not acknowledged: {0}")]
    NotAcknowledged(String),
    #[error("no answer within {} s", TIME.as_secs())]
    Slow,
}

/// A server, or several of one cluster.
pub(super) struct Server {
    settings: NatsServer,
    trust: Trust,
    stream: Option<Context>,
}

impl Server {
    pub(super) fn new(settings: NatsServer, trust: Trust) -> Self {
        Self {
            settings,
            trust,
            stream: None,
        }
    }

    async fn connect(&self) -> Result<Context, Fault> {
        let addresses = self.settings.urls().map(str::parse::<ServerAddr>);
        let addresses: Vec<ServerAddr> = addresses.collect::<Result<_, _>>().map_err(|_| Fault::Url)?;
        let mut options = self
            .log_in()?
            .name("cordon audit")
            .connection_timeout(self.trust.way.limit)
            .request_timeout(Some(TIME))
            .max_reconnects(TRIES)
            // Only those that the configuration names get records.
            .ignore_discovered_servers();
        if self.settings.is_secure() {
            options = options.require_tls(true).tls_client_config(self.trust.tls()?);
        }
        let client = timeout(TIME * 2, options.connect(addresses)).await;
        let client = client.map_err(|_| Fault::Slow)??;
        let most = client.server_info().max_payload;
        if most < MAX_ENTRY_BYTES + BESIDE {
            return Err(Fault::Payload(most));
        }
        let context = context(client);
        self.look_at_stream(&context).await?;
        Ok(context)
    }

    fn log_in(&self) -> Result<ConnectOptions, Fault> {
        let options = ConnectOptions::new();
        let Some(setting) = &self.settings.credentials else {
            return Ok(options);
        };
        let setting = setting.read_again().map_err(Fault::CredentialsFile)?;
        let text = setting.value();
        if text.contains("BEGIN NATS USER JWT") {
            return options.credentials(text).map_err(|_| Fault::Credentials);
        }
        Ok(match text.split_once(':') {
            Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
            None => options.token(text.to_owned()),
        })
    }

    /// Sees that the stream is there which the configuration names, and makes it where that says so.
    async fn look_at_stream(&self, context: &Context) -> Result<(), Fault> {
        let Some(name) = &self.settings.stream else {
            return Ok(());
        };
        let fault = |why: String| Fault::Stream(name.clone(), why);
        let subject = &self.settings.subject;
        let Err(error) = context.get_stream(name).await else {
            return Ok(());
        };
        let absent =
            matches!(error.kind(), GetStreamErrorKind::JetStream(ref answer) if answer.code() == 404);
        if !absent {
            return Err(fault(error.to_string()));
        }
        if !self.settings.create {
            return Err(Fault::NoStream(subject.clone()));
        }
        let config = stream::Config {
            name: name.clone(),
            subjects: vec![format!("{subject}.>")],
            storage: stream::StorageType::File,
            duplicate_window: DUPLICATES,
            description: Some("Cordon's audit records".to_owned()),
            ..stream::Config::default()
        };
        let made = context.create_stream(config).await;
        made.map(drop).map_err(|error| fault(error.to_string()))
    }
}

fn context(client: Client) -> Context {
    ContextBuilder::new()
        .timeout(TIME)
        .ack_timeout(TIME)
        .max_ack_inflight(WAITING)
        .build(client)
}

impl Carries for Server {
    type Fault = Fault;

    async fn send(&mut self, page: &Page) -> Result<u64, Fault> {
        let context = match &self.stream {
            Some(context) => context.clone(),
            None => self.stream.insert(self.connect().await?).clone(),
        };
        let subject = &self.settings.subject;
        let fault = |error: async_nats::jetstream::context::PublishError| match error.kind() {
            PublishErrorKind::StreamNotFound => Fault::NoStream(subject.clone()),
            PublishErrorKind::TimedOut => Fault::Slow,
            _ => Fault::NotAcknowledged(error.to_string()),
        };
        let mut waiting = Vec::with_capacity(page.records.len());
        for record in &page.records {
            let message = PublishMessage::build()
                .payload(record.body.clone().into())
                .message_id(record.id());
            let published = context.send_publish(subject_of(subject, record), message).await;
            waiting.push(published.map_err(fault)?);
        }
        for acknowledgement in waiting {
            let acknowledged = acknowledgement.await.map_err(fault)?;
            if let Some(wanted) = &self.settings.stream
                && acknowledged.stream != *wanted
            {
                return Err(Fault::OtherStream {
                    found: acknowledged.stream,
                    wanted: wanted.clone(),
                });
            }
        }
        Ok(0)
    }

    fn standing(&self) -> Standing {
        // Sending returns when all is acknowledged.
        Standing::Arrived
    }

    async fn confirm(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn leave(&mut self) {
        self.stream = None;
    }
}

/// A record's subject, `SUBJECT.TENANT.CLASS.KIND`. What parts subjects, or has a meaning in them, becomes an underscore.
fn subject_of(prefix: &str, record: &FedRecord) -> String {
    let tree = record.entry.tree();
    let mut subject = prefix.to_owned();
    for word in [tree.tenant(), tree.class(), record.entry.body.kind()] {
        subject.push('.');
        let plain = |char: char| char.is_ascii_alphanumeric() || char == '-';
        subject.extend(word.chars().map(|char| if plain(char) { char } else { '_' }));
    }
    subject
}

#[cfg(test)]
mod tests {
    use cordon_audit::Entry;

    use super::*;

    #[test]
    fn a_subject_has_three_safe_words_behind_the_prefix() {
        let body = format!(
            r#"{{"at":1,"body":{{"kind":"stopped","reason":"signal"}},"class":"ten.years_x","previous_hash":"{}","sequence":1,"tenant":"a.b-c","v":1,"writer":"00000000-0000-0000-0000-000000000007"}}"#,
            "0".repeat(64)
        );
        let entry = Entry::parse(body.as_bytes()).unwrap();
        let record = FedRecord { entry, body };
        assert_eq!(
            subject_of("corp.audit", &record),
            "corp.audit.a_b-c.ten_years_x.stopped"
        );
    }
}
