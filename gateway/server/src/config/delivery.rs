//! Where records are delivered to outside as they come.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use http::uri::Authority;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Setting;

/// What is read of a record in a message, less its body, is below this.
const LEAST_MESSAGE: usize = 4096;
/// More than a record can have, with what stands around it.
const MOST_MESSAGE: usize = 256 * 1024;

/// A destination that gets every record, at least once: `syslog` or `nats`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The destination's name, under which the store keeps how far it is: 1 to 32 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first. Under another
    /// name it gets all records again.
    pub name: String,
    /// A receiver of syslog (RFC 5424) over TLS (RFC 5425).
    #[serde(default)]
    pub syslog: Option<SyslogReceiver>,
    /// A server of NATS with JetStream.
    #[serde(default)]
    pub nats: Option<NatsServer>,
}

/// What TLS toward a destination rests on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// CA (PEM) that alone vouches for the destination; the platform's roots and `intercept.extra_roots` when absent.
    pub ca: Option<PathBuf>,
    /// Certificate chain (PEM) that is shown to the destination where it asks for one.
    pub certificate: Option<PathBuf>,
    /// Private key (PEM) to `certificate`.
    pub key: Option<PathBuf>,
}

/// A receiver of syslog.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogReceiver {
    /// `HOST:PORT` of a receiver over TLS; `tcp://127.0.0.1:PORT` of one on this very machine, without.
    pub address: String,
    /// What TLS rests on. The files are read again for each connection.
    #[serde(default)]
    pub tls: TlsFiles,
    /// The facility, 13 (log audit) by default.
    #[serde(default = "log_audit")]
    #[schemars(range(max = 23))]
    pub facility: u8,
    /// The enterprise number in the name of the structured data, `cordon@NUMBER`: best your own. 32473 is the one for documentation (RFC 5612).
    #[serde(default = "documentation")]
    pub enterprise: u32,
    /// The longest message in bytes. A record that does not fit is sent without its body, and the structured data says so.
    #[serde(default = "message")]
    #[schemars(range(min = 4096, max = 262_144))]
    pub max_bytes: usize,
    /// Syslog has no acknowledgements: so many seconds after records were sent, the connection is ended in good order, and that the receiver ends it too shows that it
    /// has read them. What is not known to be read by then is sent again.
    #[serde(default = "half_a_minute")]
    #[schemars(range(min = 1, max = 3600))]
    pub confirm_seconds: u64,
}

/// A server of NATS with JetStream.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NatsServer {
    /// `tls://HOST:PORT`, several with commas between; `nats://127.0.0.1:PORT` on this very machine.
    pub url: String,
    /// What subjects begin with: a record's is `SUBJECT.TENANT.CLASS.KIND`.
    #[serde(default = "subject")]
    pub subject: String,
    /// The stream that must take them; whichever does when absent.
    #[serde(default)]
    pub stream: Option<String>,
    /// Whether the stream is made where it is not there: it then takes `SUBJECT.>`, keeps files, has no limits, and knows duplicates for an hour.
    #[serde(default)]
    pub create: bool,
    /// How to log in: the text of a `.creds` file, `USER:PASSWORD`, or a token; as `${file:PATH}` or `${env:NAME}`. A file is read again for each connection.
    #[serde(default)]
    pub credentials: Option<Setting>,
    /// What TLS rests on. The files are read again for each connection.
    #[serde(default)]
    pub tls: TlsFiles,
}

fn log_audit() -> u8 {
    13
}

fn documentation() -> u32 {
    32473
}

fn message() -> usize {
    64 * 1024
}

fn half_a_minute() -> u64 {
    30
}

fn subject() -> String {
    "cordon.audit".to_owned()
}

impl Delivery {
    /// Makes relative paths count from `base` and reads what stands elsewhere; says what is wrong.
    pub(super) fn resolve(&mut self, base: &Path) -> Option<String> {
        let tls = [
            self.syslog.as_mut().map(|syslog| &mut syslog.tls),
            self.nats.as_mut().map(|nats| &mut nats.tls),
        ];
        for files in tls.into_iter().flatten() {
            for path in [&mut files.ca, &mut files.certificate, &mut files.key] {
                path.iter_mut().for_each(|path| *path = base.join(&*path));
            }
        }
        let credentials = self.nats.as_mut().and_then(|nats| nats.credentials.as_mut())?;
        let resolved = credentials.resolve(base).err()?;
        Some(format!("`credentials` of `{}`: {resolved}", self.name))
    }

    pub(super) fn fault(&self) -> Option<String> {
        let name = &self.name;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (1..=32).contains(&name.len())
            && name.bytes().next().is_some_and(plain)
            && name.bytes().all(|byte| plain(byte) || b"._-".contains(&byte));
        if !is_name {
            return Some(
                "`name` under `deliver` is 1 to 32 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first"
                    .to_owned(),
            );
        }
        let fault = match (&self.syslog, &self.nats) {
            (Some(syslog), None) => syslog.fault(),
            (None, Some(nats)) => nats.fault(),
            _ => Some("it has one of `syslog` and `nats`".to_owned()),
        };
        fault.map(|fault| format!("`deliver`, `{name}`: {fault}"))
    }
}

impl TlsFiles {
    fn fault(&self) -> Option<String> {
        let both = self.certificate.is_some() == self.key.is_some();
        (!both).then(|| "`certificate` and `key` go together".to_owned())
    }
}

impl SyslogReceiver {
    /// Host and port, and whether TLS is spoken.
    pub fn place(&self) -> Option<(String, u16, bool)> {
        match self.address.strip_prefix("tcp://") {
            Some(rest) => host_and_port(rest).map(|(host, port)| (host, port, false)),
            None => host_and_port(&self.address).map(|(host, port)| (host, port, true)),
        }
    }

    fn fault(&self) -> Option<String> {
        match self.place() {
            None => return Some("`address` is HOST:PORT".to_owned()),
            Some((host, _, false)) if !is_loopback(&host) => {
                return Some(
                    "`address` without TLS is for this very machine: records go outside over TLS only"
                        .to_owned(),
                );
            }
            Some(_) => {}
        }
        if self.facility > 23 {
            return Some("`facility` is 0 to 23".to_owned());
        }
        if !(LEAST_MESSAGE..=MOST_MESSAGE).contains(&self.max_bytes) {
            return Some(format!("`max_bytes` is {LEAST_MESSAGE} to {MOST_MESSAGE}"));
        }
        if !(1..=3600).contains(&self.confirm_seconds) {
            return Some("`confirm_seconds` is 1 to 3600".to_owned());
        }
        self.tls.fault()
    }
}

impl NatsServer {
    /// Its servers' URLs.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.url.split(',').map(str::trim)
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.url.starts_with("tls://")
    }

    fn fault(&self) -> Option<String> {
        let kinds: BTreeSet<bool> = self.urls().map(|url| url.starts_with("tls://")).collect();
        let good = |url: &str| {
            let secure = url.strip_prefix("tls://").and_then(host_and_port);
            let plain = url.strip_prefix("nats://").and_then(host_and_port);
            secure.is_some() || plain.is_some_and(|(host, _)| is_loopback(&host))
        };
        if kinds.len() != 1 || !self.urls().all(good) {
            return Some(
                "`url` is tls://HOST:PORT, several with commas between, or nats://127.0.0.1:PORT on this very machine; how to log in stands under `credentials`"
                    .to_owned(),
            );
        }
        let word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !self.subject.split('.').all(word) || self.subject.len() > 128 {
            return Some(
                "`subject` is words of letters, digits, underscores and hyphens, with dots between"
                    .to_owned(),
            );
        }
        if self
            .stream
            .as_deref()
            .is_some_and(|stream| !word(stream) || stream.len() > 128)
        {
            return Some("`stream` is of letters, digits, underscores and hyphens".to_owned());
        }
        if self.create && self.stream.is_none() {
            return Some("`create` needs the name of the `stream` to make".to_owned());
        }
        self.tls.fault()
    }
}

/// A host, without brackets, and a port.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    if text.contains('@') {
        return None;
    }
    let authority: Authority = text.parse().ok()?;
    let host = authority.host().trim_matches(['[', ']']);
    (!host.is_empty()).then_some((host.to_owned(), authority.port_u16()?))
}

fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(yaml: &str) -> Option<String> {
        serde_saphyr::from_str::<Delivery>(yaml).unwrap().fault()
    }

    #[test]
    fn records_go_outside_over_tls_only() {
        for good in [
            "{ name: siem, syslog: { address: 'siem.example:6514' } }",
            "{ name: siem, syslog: { address: '[2001:db8::7]:6514', tls: { ca: ca.pem, certificate: a.pem, key: a.key } } }",
            "{ name: local, syslog: { address: 'tcp://127.0.0.1:601', max_bytes: 8192, facility: 16, enterprise: 4711 } }",
            "{ name: bus, nats: { url: 'tls://a.example:4222, tls://b.example:4222', subject: audit, stream: AUDIT, create: true } }",
            "{ name: bus, nats: { url: 'nats://[::1]:4222' } }",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
        for (bad, why) in [
            (
                "{ name: siem, syslog: { address: 'tcp://siem.example:601' } }",
                "over TLS only",
            ),
            (
                "{ name: siem, syslog: { address: 'tcp://localhost:601' } }",
                "over TLS only",
            ),
            ("{ name: siem, syslog: { address: 'siem.example' } }", "HOST:PORT"),
            (
                "{ name: SIEM, syslog: { address: 'siem.example:6514' } }",
                "`name`",
            ),
            ("{ name: siem }", "one of"),
            (
                "{ name: siem, syslog: { address: 'a:1', facility: 24 } }",
                "`facility`",
            ),
            (
                "{ name: siem, syslog: { address: 'a:1', max_bytes: 480 } }",
                "`max_bytes`",
            ),
            (
                "{ name: siem, syslog: { address: 'a:1', confirm_seconds: 0 } }",
                "`confirm_seconds`",
            ),
            (
                "{ name: siem, syslog: { address: 'a:1', tls: { key: a.key } } }",
                "go together",
            ),
            ("{ name: bus, nats: { url: 'nats://bus.example:4222' } }", "`url`"),
            (
                "{ name: bus, nats: { url: 'tls://a:1,nats://127.0.0.1:1' } }",
                "`url`",
            ),
            (
                "{ name: bus, nats: { url: 'tls://user:hush@bus.example:4222' } }",
                "`url`",
            ),
            (
                "{ name: bus, nats: { url: 'tls://a:1', subject: 'audit.>' } }",
                "`subject`",
            ),
            (
                "{ name: bus, nats: { url: 'tls://a:1', create: true } }",
                "`create`",
            ),
            (
                "{ name: bus, nats: { url: 'tls://a:1', stream: 'a.b' } }",
                "`stream`",
            ),
        ] {
            assert!(fault(bad).is_some_and(|fault| fault.contains(why)), "{bad}");
        }
    }
}
