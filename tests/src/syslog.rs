//! Messages of RFC 5424 in frames of RFC 5425, read as strictly as the RFCs write them, and a receiver that keeps them.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::Places;

/// A message as it stands in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Facility and severity.
    pub priority: u16,
    /// When.
    pub timestamp: String,
    /// HOSTNAME.
    pub host: String,
    /// APP-NAME.
    pub program: String,
    /// MSGID.
    pub kind: String,
    /// The id of the one element of structured data.
    pub element: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// MSG, less the BOM that it has to begin with.
    pub body: Option<String>,
}

/// The frames of a connection, in order.
///
/// # Panics
/// When there is something that is no frame.
#[must_use]
pub fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').expect("MSG-LEN SP");
        let digits = std::str::from_utf8(&bytes[..blank]).expect("MSG-LEN is ASCII");
        assert!(
            !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()),
            "MSG-LEN {digits:?}"
        );
        let length: usize = digits.parse().expect("MSG-LEN is a number");
        let rest = &bytes[blank + 1..];
        assert!(rest.len() >= length, "a frame of {length} bytes is cut");
        frames.push(&rest[..length]);
        bytes = &rest[length..];
    }
    frames
}

impl Message {
    /// Reads a message.
    ///
    /// # Panics
    /// When it is none of RFC 5424.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Self {
        let text = std::str::from_utf8(frame).expect("a message is UTF-8");
        let (priority, rest) = text
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .expect("PRI");
        assert!((1..=3).contains(&priority.len()) && (priority == "0" || !priority.starts_with('0')));
        let priority: u16 = priority.parse().expect("PRIVAL is a number");
        assert!(priority <= 191, "{priority}");
        let rest = rest.strip_prefix("1 ").expect("VERSION 1");
        let mut fields = rest.splitn(6, ' ');
        let mut next = |what: &str, most: usize| {
            let field = fields.next().unwrap_or_else(|| panic!("{what} is missing"));
            assert!(
                (1..=most).contains(&field.len()) && field.bytes().all(|byte| (33..=126).contains(&byte)),
                "{what}: {field:?}"
            );
            field.to_owned()
        };
        let timestamp = next("TIMESTAMP", 32);
        is_timestamp(&timestamp);
        let (host, program) = (next("HOSTNAME", 255), next("APP-NAME", 48));
        next("PROCID", 128);
        let kind = next("MSGID", 32);
        let rest = fields.next().expect("STRUCTURED-DATA");
        let (element, parameters, rest) = structured(rest);
        let body = rest.map(|message| {
            let message = message.strip_prefix('\u{feff}').expect("MSG begins with a BOM");
            message.to_owned()
        });
        Self {
            priority,
            timestamp,
            host,
            program,
            kind,
            element,
            parameters,
            body,
        }
    }
}

fn is_timestamp(text: &str) {
    let form = "dddd-dd-ddTdd:dd:dd.dddZ";
    assert_eq!(text.len(), form.len(), "{text}");
    for (found, due) in text.chars().zip(form.chars()) {
        let good = if due == 'd' {
            found.is_ascii_digit()
        } else {
            found == due
        };
        assert!(good, "TIMESTAMP {text}");
    }
}

/// One element of structured data, and MSG where there is one.
fn structured(text: &str) -> (String, BTreeMap<String, String>, Option<&str>) {
    let name = |name: &str| {
        let good = (1..=32).contains(&name.len())
            && name
                .bytes()
                .all(|byte| (33..=126).contains(&byte) && !b"= ]\"".contains(&byte));
        assert!(good, "SD-NAME {name:?}");
        name.to_owned()
    };
    let inside = text.strip_prefix('[').expect("SD-ELEMENT");
    let end = inside.find([' ', ']']).expect("SD-ID ends");
    let id = name(&inside[..end]);
    let (label, number) = id.split_once('@').expect("name@number");
    assert!(!label.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    let mut rest = &inside[end..];
    let mut parameters = BTreeMap::new();
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (key, value) = parameter.split_once("=\"").expect("SD-PARAM");
        let mut read = String::new();
        let mut chars = value.char_indices();
        let end = loop {
            let (at, char) = chars.next().expect("PARAM-VALUE ends");
            match char {
                '"' => break at + 1,
                '\\' => {
                    let (_, escaped) = chars.next().expect("something is escaped");
                    assert!(matches!(escaped, '"' | '\\' | ']'), "{escaped:?} is escaped");
                    read.push(escaped);
                }
                ']' => panic!("`]` is not escaped"),
                char => read.push(char),
            }
        };
        assert_eq!(parameters.insert(name(key), read), None, "{key} is there twice");
        rest = &value[end..];
    }
    let rest = rest.strip_prefix(']').expect("SD-ELEMENT ends");
    let message = (!rest.is_empty()).then(|| rest.strip_prefix(' ').expect("SP in front of MSG"));
    (id, parameters, message)
}

/// A receiver in a process of its own, which appends what it reads to a file.
pub struct Receiver {
    child: Child,
    port: u16,
    arguments: [String; 3],
    client_ca: Option<String>,
}

impl Receiver {
    /// One with certificate and key in PEM files, which takes connections only of those that `client_ca` vouches for. Without either it
    /// listens without TLS.
    #[must_use]
    pub fn start(certificate: Option<(&Path, &Path)>, client_ca: Option<&Path>, file: &Path) -> Self {
        let text = |path: &Path| path.display().to_string();
        let (certificate, key) =
            certificate.map_or(("-".into(), "-".into()), |(chain, key)| (text(chain), text(key)));
        let arguments = [certificate, key, text(file)];
        let client_ca = client_ca.map(text);
        let (child, port) = listen(&arguments, 0, client_ca.as_deref());
        Self {
            child,
            port,
            arguments,
            client_ca,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Starts it anew on the same port and file.
    pub fn start_again(&mut self) {
        (self.child, _) = listen(&self.arguments, self.port, self.client_ca.as_deref());
    }

    /// What it has read so far.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        fs::read(PathBuf::from(&self.arguments[2])).unwrap_or_default()
    }
}

fn listen(arguments: &[String; 3], port: u16, client_ca: Option<&str>) -> (Child, u16) {
    let mut child = Command::new(Places::python())
        .arg("-B")
        .arg(Places::client_script("syslog_receiver.py"))
        .args(arguments)
        .arg(port.to_string())
        .args(client_ca)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Python can be run");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped"))
        .read_line(&mut line)
        .expect("it says its port");
    let port = line.trim().parse().expect("it listens");
    (child, port)
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_own_form_is_read_and_what_breaks_it_is_not() {
        let good = "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [example@32473 iut=\"3\" event=\"a\\]b\\\"\"] \u{feff}text";
        let bytes = format!("{} {good}", good.len());
        let frames = frames(bytes.as_bytes());
        let message = Message::parse(frames[0]);
        assert_eq!(
            (message.priority, message.parameters["event"].as_str()),
            (165, "a]b\"")
        );
        assert_eq!(message.body.as_deref(), Some("text"));
        for (from, to) in [
            ("<165>", "<192>"),
            (">1 ", ">2 "),
            ("003Z", "003"),
            ("evntslog", "evnt\u{e9}"),
            ("@32473", ""),
            ("a\\]b", "a]b"),
            ("\u{feff}", ""),
        ] {
            let bad = good.replace(from, to);
            assert!(
                std::panic::catch_unwind(|| Message::parse(bad.as_bytes())).is_err(),
                "{bad}"
            );
        }
    }
}
