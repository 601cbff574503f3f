//! Negotiate: who shows a Kerberos ticket at the proxy (`Proxy-Authorization: Negotiate`, RFC 4559).
//!
//! Tokens are checked by MIT's library in a child of our own ([`acceptor`], `cordon accept-tickets`), one after the
//! other: it parses in C what strangers send, it may wait for the disk that holds the replay cache, and the service's
//! keys stay out of the process that speaks to everybody. The child has bounds, an environment of its own, and no
//! network where the platform lets it give that up. Whom a principal is taken for is said by [`Principals`].
//!
//! Limits: bytes of a token, tokens that wait, time for one.
//!
//! On failure: a [`Fault`]. A child that died or hangs is replaced, and the token that it had is refused.

#[cfg(feature = "kerberos")]
pub mod acceptor;
mod principals;

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    process::{self, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

pub use self::principals::Principals;
use crate::{
    config::{self, Config, Kerberos},
    supervise::own_program,
};

/// Bytes of a token: as many as Windows ever sends.
pub const TOKEN_BYTES: usize = 48_000;
/// Tokens that wait for the child.
const WAITING: usize = 256;
/// Time for one token, the child's start included.
const LONGEST: Duration = Duration::from_secs(5);
/// Time that a caller waits for others' tokens and its own.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Bytes of one line of the child's.
const LINE_BYTES: u64 = 128 << 10;

/// What the child says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has the service's keys, and waits for tokens.
    Ready,
    /// It has none, and why.
    Unusable(String),
    /// The token is good.
    Accepted {
        /// Whose it is, with the realm.
        principal: String,
        /// The token by which we prove who we are, in base64, where the caller asked for that.
        reply: Option<String>,
    },
    /// It is not.
    Refused(Fault),
}

/// Why a caller who showed a token is not known by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It is none.
    Malformed,
    /// It is longer than tokens are.
    TooLarge,
    /// It is not Kerberos' (NTLM, most often), or would take a second one.
    Mechanism,
    /// It was shown before.
    Replayed,
    /// Its ticket has expired.
    Expired,
    /// The caller's clock and ours disagree.
    Clock,
    /// Its ticket is for another service, or under a key that the keytab does not hold.
    Service,
    /// Its user is of a realm that is not admitted.
    Realm,
    /// It is refused for another reason.
    Refused,
    /// More tokens wait than may.
    Busy,
    /// It could not be checked.
    Unchecked,
}

impl Fault {
    /// A stable name for records and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "cordon_ticket_malformed",
            Self::TooLarge => "cordon_ticket_too_large",
            Self::Mechanism => "cordon_ticket_mechanism",
            Self::Replayed => "cordon_ticket_replayed",
            Self::Expired => "cordon_ticket_expired",
            Self::Clock => "cordon_ticket_clock",
            Self::Service => "cordon_ticket_service",
            Self::Realm => "cordon_ticket_realm",
            Self::Refused => "cordon_ticket_refused",
            Self::Busy => "cordon_ticket_busy",
            Self::Unchecked => "cordon_ticket_unchecked",
        }
    }

    /// Whether it is about the token, and not about us.
    pub fn is_the_callers(self) -> bool {
        !matches!(self, Self::Busy | Self::Unchecked)
    }

    /// What the caller is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Malformed => {
                "What your program sent as `Proxy-Authorization: Negotiate` is no Kerberos token."
            }
            Self::TooLarge => {
                "Your Kerberos token is larger than Cordon takes. Tell your administrator: an account in very many groups has one."
            }
            Self::Mechanism => {
                "Cordon takes Kerberos tickets alone, and in one step: no NTLM, no longer negotiation. Get a ticket (`kinit`, or log in to the domain), and use the proxy's full host name, not its address."
            }
            Self::Replayed => {
                "This Kerberos token was shown before. Try again: your program makes a new one each time."
            }
            Self::Expired => {
                "Your Kerberos ticket has expired. Get a new one (`kinit`, or lock and unlock your screen)."
            }
            Self::Clock => {
                "Your machine's clock and Cordon's disagree by more than Kerberos permits. Set your clock."
            }
            Self::Service => {
                "Your Kerberos ticket is for another service, or under a key that Cordon does not hold. Use the proxy's full host name; if that does not help, get a new ticket (`kinit`) and tell your administrator."
            }
            Self::Realm => {
                "Your Kerberos realm is not one whose users Cordon admits. Ask your administrator."
            }
            Self::Refused => "Your Kerberos ticket was not accepted.",
            Self::Busy => {
                "More Kerberos tickets wait to be checked than Cordon takes at a time. Try again shortly."
            }
            Self::Unchecked => {
                "Cordon cannot check Kerberos tickets at the moment. Try again shortly, and tell your administrator if it happens again."
            }
        }
    }
}

/// A token that is good.
#[derive(Debug)]
pub struct Accepted {
    /// Whose it is, with the realm.
    pub principal: String,
    /// The value of `Proxy-Authenticate` that proves to the caller who we are.
    pub reply: Option<HeaderValue>,
}

/// Checks tokens.
pub struct Negotiator(mpsc::Sender<Ask>);

struct Ask {
    token: String,
    told: oneshot::Sender<Result<Accepted, Fault>>,
}

impl Negotiator {
    /// Sees that tickets can be checked as configured, and starts what does so until `stop`.
    pub async fn start(
        config: &Config,
        services: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Option<Self>> {
        let Some(kerberos) = &config.identity.kerberos else {
            return Ok(None);
        };
        let service = Service::of(config, kerberos);
        let tried = service.clone();
        tokio::task::spawn_blocking(move || {
            tried.prepare()?;
            tried.probe()
        })
        .await
        .context("the check of the keytab failed inside")??;
        let (asks, asked) = mpsc::channel(WAITING);
        services.spawn(keep(service, asked, stop));
        Ok(Some(Self(asks)))
    }

    /// Checks a token, in base64 as it came.
    pub async fn accept(&self, token: &str) -> Result<Accepted, Fault> {
        if token.len() > TOKEN_BYTES.div_ceil(3) * 4 {
            return Err(Fault::TooLarge);
        }
        // A line of the child's input holds one token.
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if token.is_empty() || !token.bytes().all(is_base64) {
            return Err(Fault::Malformed);
        }
        let (told, verdict) = oneshot::channel();
        let ask = Ask {
            token: token.to_owned(),
            told,
        };
        match self.0.try_send(ask) {
            Ok(()) => match tokio::time::timeout(LONGEST_WAIT, verdict).await {
                Ok(verdict) => verdict.unwrap_or(Err(Fault::Unchecked)),
                Err(_) => Err(Fault::Busy),
            },
            Err(mpsc::error::TrySendError::Full(_)) => Err(Fault::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Fault::Unchecked),
        }
    }
}

/// Whether the keytab of a configuration can be used, without changing anything.
pub fn check(config: &Config) -> Result<()> {
    match &config.identity.kerberos {
        Some(kerberos) => Service::of(config, kerberos).probe(),
        None => Ok(()),
    }
}

/// The service that tickets are for.
#[derive(Clone)]
struct Service {
    principal: String,
    keytab: PathBuf,
    replays: PathBuf,
}

impl Service {
    fn of(config: &Config, kerberos: &Kerberos) -> Self {
        Self {
            principal: kerberos.principal.clone(),
            keytab: kerberos.keytab.clone(),
            replays: config.dir.join("kerberos.replays"),
        }
    }

    /// Sees that tokens can be remembered: without that none is accepted.
    fn prepare(&self) -> Result<()> {
        let opened = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.replays);
        opened.map(drop).map_err(|error| {
            anyhow!(
                "identity.kerberos: the replay cache {} cannot be written: {}",
                self.replays.display(),
                error.kind()
            )
        })
    }

    /// Sees that the keytab is private and holds the service's keys.
    fn probe(&self) -> Result<()> {
        let keytab = self.keytab.display();
        let opened = fs::File::open(&self.keytab).and_then(|file| file.metadata());
        let found = match opened {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "identity.kerberos.keytab: there is no file {keytab}; `kadmin` or `ktpass` makes one (docs/deployment.md)"
            ),
            Err(error) => {
                bail!(
                    "identity.kerberos.keytab: {keytab} cannot be read by this user: {}",
                    error.kind()
                )
            }
        };
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            bail!(
                "identity.kerberos.keytab: everybody on this machine can get at {keytab} (mode {mode:04o}), and so be this service: `chmod 600 {keytab}`"
            );
        }
        let run = self
            .command()?
            .stdin(Stdio::null())
            .output()
            .context("identity.kerberos: the program that checks tickets cannot be started")?;
        let line = run.stdout.split(|&byte| byte == b'\n').next().unwrap_or_default();
        match serde_json::from_slice(line) {
            Ok(Verdict::Ready) => Ok(()),
            Ok(Verdict::Unusable(why)) => bail!(
                "identity.kerberos: the keytab {keytab} has no key for {} that can be used ({why}); `klist -k {keytab}` lists what it holds",
                self.principal
            ),
            _ => bail!(
                "identity.kerberos: the program that checks tickets ended with {}",
                run.status
            ),
        }
    }

    /// Our own program, as the child.
    fn command(&self) -> Result<process::Command> {
        let own = own_program().context("identity.kerberos: this program's own file is not to be found")?;
        let mut command = process::Command::new(own);
        let named = |kind: &str, path: &PathBuf| {
            let mut name = OsString::from(kind);
            name.push(path);
            name
        };
        command
            .args(["accept-tickets", "--principal", &self.principal])
            .env_clear()
            .env("LC_ALL", "C")
            .env("KRB5_KTNAME", named("FILE:", &self.keytab))
            .env("KRB5RCACHENAME", named("file2:", &self.replays))
            .envs(config::kerberos_environment())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Ok(command)
    }
}

/// A child that is ready for tokens.
struct Acceptor {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Acceptor {
    async fn start(service: &Service) -> Result<Self> {
        let mut command = Command::from(service.command()?);
        let mut child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn()?;
        let to = child.stdin.take().context("no input")?;
        let from = BufReader::new(child.stdout.take().context("no output")?);
        let mut acceptor = Self { child, to, from };
        match acceptor.hear().await? {
            Verdict::Ready => Ok(acceptor),
            Verdict::Unusable(why) => Err(anyhow!(why)),
            Verdict::Accepted { .. } | Verdict::Refused(_) => bail!("it spoke out of turn"),
        }
    }

    /// Whether it can be asked.
    fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    async fn ask(&mut self, token: &str) -> Result<Result<Accepted, Fault>> {
        self.to.write_all(token.as_bytes()).await?;
        self.to.write_all(b"\n").await?;
        match self.hear().await? {
            Verdict::Accepted { principal, reply } => {
                let reply = reply.map(|reply| HeaderValue::try_from(format!("Negotiate {reply}")));
                let reply = reply.transpose().context("a reply that is no header")?;
                Ok(Ok(Accepted { principal, reply }))
            }
            Verdict::Refused(fault) => Ok(Err(fault)),
            Verdict::Ready | Verdict::Unusable(_) => bail!("it spoke out of turn"),
        }
    }

    async fn hear(&mut self) -> Result<Verdict> {
        let mut line = Vec::new();
        (&mut self.from)
            .take(LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await?;
        // Its own words may be a principal's, which the log is not to quote.
        serde_json::from_slice(&line).map_err(|_| anyhow!("it ended"))
    }
}

/// Hands tokens to the child, one after the other, and replaces it when it fails.
async fn keep(service: Service, mut asked: mpsc::Receiver<Ask>, stop: CancellationToken) {
    let mut acceptor = None;
    loop {
        let ask = tokio::select! {
            () = stop.cancelled() => return,
            ask = asked.recv() => ask,
        };
        let Some(Ask { token, told }) = ask else { return };
        // Whoever asked has left or waited too long.
        if told.is_closed() {
            continue;
        }
        let turn = tokio::time::timeout(LONGEST, turn(&service, &mut acceptor, &token)).await;
        let verdict = match turn {
            Ok(Ok(verdict)) => verdict,
            failed => {
                acceptor = None;
                let reason = match failed {
                    Ok(Err(reason)) => reason.to_string(),
                    _ => "it took too long".to_owned(),
                };
                error!(%reason, "a Kerberos ticket could not be checked; the child that does so is started again");
                Err(Fault::Unchecked)
            }
        };
        // Whoever asked may have left.
        let _ = told.send(verdict);
    }
}

async fn turn(
    service: &Service,
    acceptor: &mut Option<Acceptor>,
    token: &str,
) -> Result<Result<Accepted, Fault>> {
    if acceptor.as_mut().is_some_and(|acceptor| !acceptor.lives()) {
        warn!("the child that checks Kerberos tickets had ended");
        *acceptor = None;
    }
    match acceptor {
        Some(acceptor) => acceptor.ask(token).await,
        None => acceptor.insert(Acceptor::start(service).await?).ask(token).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_token_never_reaches_the_child() {
        let (asks, mut asked) = mpsc::channel(1);
        let negotiator = Negotiator(asks);
        for token in ["", "two words", "YII\nYII", "Y\u{e9}", "YII-_"] {
            assert_eq!(
                negotiator.accept(token).await.unwrap_err(),
                Fault::Malformed,
                "{token:?}"
            );
        }
        let long = "A".repeat(TOKEN_BYTES.div_ceil(3) * 4 + 1);
        assert_eq!(negotiator.accept(&long).await.unwrap_err(), Fault::TooLarge);
        assert!(asked.try_recv().is_err());
    }

    #[tokio::test]
    async fn more_tokens_than_may_wait_are_refused() {
        let (asks, asked) = mpsc::channel(1);
        let negotiator = Negotiator(asks);
        let (told, _) = oneshot::channel();
        let waiting = Ask {
            token: "YII".to_owned(),
            told,
        };
        assert!(negotiator.0.try_send(waiting).is_ok());
        assert_eq!(negotiator.accept("YII").await.unwrap_err(), Fault::Busy);
        drop(asked);
        assert_eq!(negotiator.accept("YII").await.unwrap_err(), Fault::Unchecked);
    }

    #[test]
    fn a_keytab_must_be_there_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service {
            principal: "HTTP/a@B".to_owned(),
            keytab: dir.path().join("http.keytab"),
            replays: dir.path().join("none").join("replays"),
        };
        let told = |service: &Service| service.probe().unwrap_err().to_string();
        assert!(told(&service).contains("there is no file"), "{}", told(&service));
        fs::write(&service.keytab, "").unwrap();
        for mode in [0o644, 0o602, 0o601] {
            fs::set_permissions(&service.keytab, fs::Permissions::from_mode(mode)).unwrap();
            assert!(told(&service).contains("chmod 600"), "{}", told(&service));
        }
        let told = service.prepare().unwrap_err().to_string();
        assert!(told.contains("the replay cache"), "{told}");
    }
}
