//! A file that describes a dialect: `policies/dialects/*.yaml`, and the company's own.
//!
//! Each route says where text lies and whose words it is, how a refusal looks, and shows itself by
//! examples, which [`DialectFile::try_examples`] runs. What no pattern names is inspected all the same, as
//! nobody's words.
//!
//! On failure: one [`DialectFault`] a problem, with file, line and column.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use cordon_domain::{Action, Dialect, DialectName, Edit, ExchangeId, Fault, Refusal, Role, Splice};
use serde_saphyr::{Location, Spanned};

use super::{
    Claim, Conversation, Patterns, RefusalForm, Shape,
    written::{
        Example, Written, WrittenContainer, WrittenOperation, WrittenRefusal, WrittenRole, WrittenRoute,
    },
};
use crate::{Endpoint, Limits, Operation, catalogue::is_path, decode_as};

/// A dialect that a file describes.
#[derive(Clone, Debug)]
pub struct DialectFile {
    /// The file's name, as it was given.
    file: String,
    pub(crate) dialect: Dialect,
    pub(crate) hosts: Vec<String>,
    /// The status of a refusal of WebSockets that no route describes.
    pub(crate) sockets: Option<u16>,
    pub(crate) routes: Vec<Route>,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) methods: Vec<String>,
    pub(crate) paths: Vec<String>,
    pub(crate) endpoint: Endpoint,
    /// Whether it is the messages of a WebSocket that is opened here.
    pub(crate) socket: bool,
    examples: Vec<(Location, Example)>,
}

/// Something wrong in a file that describes a dialect, with the place an editor can jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectFault {
    /// The file's name, as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for DialectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl std::error::Error for DialectFault {}

impl DialectFile {
    /// The files that Cordon brings along: each with its name.
    pub const EMBEDDED: &'static [(&'static str, &'static str)] =
        include!(concat!(env!("OUT_DIR"), "/dialect_files.rs"));

    /// The JSON schema of such a file.
    pub const SCHEMA: &'static str = include_str!("../../../../policies/dialect.schema.json");

    /// Reads a file. The same text under the same name gives the same shapes again.
    ///
    /// # Errors
    /// One fault a problem.
    pub fn parse(name: &str, yaml: &str) -> Result<Self, Vec<DialectFault>> {
        let key = (name.to_owned(), yaml.to_owned());
        if let Some(known) = read_before()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return Ok(known.clone());
        }
        let written: Written = serde_saphyr::from_str(yaml).map_err(|error| {
            let at = error.location().unwrap_or(Location::UNKNOWN);
            let told = error.without_snippet().to_string();
            let told = told
                .rfind(" at line ")
                .map_or(told.as_str(), |cut| &told[..cut])
                .to_owned();
            vec![fault(name, at, told)]
        })?;
        let mut reader = Reader {
            file: name,
            faults: Vec::new(),
        };
        let read = reader.read(written);
        match read.filter(|_| reader.faults.is_empty()) {
            Some(file) => {
                let mut known = read_before().lock().unwrap_or_else(PoisonError::into_inner);
                Ok(known.entry(key).or_insert(file).clone())
            }
            None => Err(reader.faults),
        }
    }

    /// Runs the examples of every route; what is not as the file says comes back as faults.
    #[must_use]
    pub fn try_examples(&self) -> Vec<DialectFault> {
        let mut faults = Vec::new();
        for route in &self.routes {
            for (at, example) in &route.examples {
                let mut differs = |what: String| {
                    let shape = route.endpoint.shape.map_or("", Shape::name);
                    let message = format!("example of route `{shape}`: {what}");
                    faults.push(fault(&self.file, *at, message));
                };
                example.run(route, &mut differs);
            }
        }
        faults
    }
}

/// The files that the process has read, so that a reload of what has not changed costs nothing.
fn read_before() -> &'static Mutex<BTreeMap<(String, String), DialectFile>> {
    static READ: OnceLock<Mutex<BTreeMap<(String, String), DialectFile>>> = OnceLock::new();
    READ.get_or_init(Mutex::default)
}

fn fault(file: &str, at: Location, message: String) -> DialectFault {
    DialectFault {
        file: file.to_owned(),
        line: at.line().max(1),
        column: at.column().max(1),
        message,
    }
}

struct Reader<'f> {
    file: &'f str,
    faults: Vec<DialectFault>,
}

impl Reader<'_> {
    fn wrong(&mut self, at: Location, message: impl Into<String>) {
        self.faults.push(fault(self.file, at, message.into()));
    }

    fn read(&mut self, written: Written) -> Option<DialectFile> {
        let dialect = match DialectName::new(&written.name.value) {
            Ok(name) if Dialect::from_name(name.as_str()) == Ok(Dialect::Described(name)) => {
                Dialect::Described(name)
            }
            Ok(_) => {
                self.wrong(
                    written.name.referenced,
                    "this is the name of a dialect that is built in",
                );
                return None;
            }
            Err(bad) => {
                self.wrong(written.name.referenced, bad.to_string());
                return None;
            }
        };
        if written.hosts.value.is_empty() {
            self.wrong(
                written.hosts.referenced,
                "a dialect needs the hosts that it is spoken on",
            );
        }
        let mut hosts = Vec::new();
        for host in written.hosts.value {
            let of_host =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.*".contains(&byte);
            let plain = host.value.trim_start_matches('.');
            if plain.is_empty() || !plain.bytes().all(of_host) || plain.matches('*').count() > 1 {
                self.wrong(
                    host.referenced,
                    "a host is a name in lower case; `.name` stands for all below it, one `*` for anything",
                );
            }
            hosts.push(host.value);
        }
        let refusal = written.refusal.and_then(|refusal| self.refusal(refusal));
        let sockets = written.sockets.map(|sockets| {
            if !(400..600).contains(&sockets.value) {
                self.wrong(
                    sockets.referenced,
                    "WebSockets are refused with a status from 400 to 599",
                );
            }
            sockets.value
        });
        let routes = written
            .routes
            .into_iter()
            .filter_map(|route| self.route(dialect, route, refusal.as_ref(), &written.claims))
            .collect();
        Some(DialectFile {
            file: self.file.to_owned(),
            dialect,
            hosts,
            sockets,
            routes,
        })
    }

    fn refusal(&mut self, written: Spanned<WrittenRefusal>) -> Option<RefusalForm> {
        let WrittenRefusal {
            status,
            content_type,
            body,
        } = written.value;
        let printable = content_type.bytes().all(|byte| (0x20..0x7F).contains(&byte));
        if !printable || status.is_some_and(|status| !(200..600).contains(&status)) {
            self.wrong(
                written.referenced,
                "a refusal has a status from 200 to 599 and a content type",
            );
            return None;
        }
        if !body.contains("{message}") {
            self.wrong(
                written.referenced,
                "a refusal's body holds `{message}`, so that people are told what to do",
            );
            return None;
        }
        Some(RefusalForm {
            status,
            content_type,
            body,
        })
    }

    fn route(
        &mut self,
        dialect: Dialect,
        written: Spanned<WrittenRoute>,
        refusal: Option<&RefusalForm>,
        claims: &[Claim],
    ) -> Option<Route> {
        let (at, route) = (written.referenced, written.value);
        let methods = route.methods.value;
        let is_method =
            |method: &String| !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        if methods.is_empty() || !methods.iter().all(is_method) {
            self.wrong(
                route.methods.referenced,
                "methods are written as in HTTP: [GET, POST]",
            );
        }
        let mut paths = Vec::new();
        for path in route.paths.value {
            if !is_path(&path.value) {
                self.wrong(
                    path.referenced,
                    "a path starts with `/`; `{x}` stands for one segment, `/**` at its end for any number",
                );
            }
            paths.push(path.value);
        }
        if paths.is_empty() {
            self.wrong(route.paths.referenced, "a route needs a path");
        }
        let request = self.patterns(route.text.as_ref());
        let reply = self.patterns(route.reply.text.as_ref());
        let pieces = match route.reply.pieces {
            Some(pieces) => {
                if pieces.value.iter().any(|pointer| !pointer.starts_with('/')) {
                    self.wrong(pieces.referenced, "a piece is named by a JSON pointer");
                }
                pieces.value
            }
            None => Vec::new(),
        };
        let ends = match route.reply.ends {
            Some(ends) => {
                if ends.value.keys().any(|pointer| !pointer.starts_with('/')) {
                    self.wrong(ends.referenced, "what ends an answer is named by a JSON pointer");
                }
                ends.value
            }
            None => BTreeMap::new(),
        };
        if route.socket {
            self.socket(at, &methods, route.body);
        }
        let conversation = route.conversation.and_then(|conversation| {
            let found = Conversation::new(&conversation.value, &paths);
            if found.is_none() {
                self.wrong(
                    conversation.referenced,
                    "a conversation is named by a JSON pointer, or by `{x}` of one of the paths",
                );
            }
            found
        });
        let own = route.refusal.map(|refusal| self.refusal(refusal));
        if !self.faults.is_empty() {
            return None;
        }
        // Kept for the process's life, and found again by the file's text (`read_before`).
        let shape: &'static Shape = Box::leak(Box::new(Shape {
            name: route.name,
            container: route.body.into(),
            request,
            reply,
            pieces,
            ends,
            patches: route.reply.patches,
            claims: claims.to_vec(),
            conversation,
            model: route.model,
            refusal: own.unwrap_or_else(|| refusal.cloned()),
        }));
        let operation = match route.operation {
            WrittenOperation::Generate => Operation::Generate,
            WrittenOperation::Upload => Operation::Upload,
            WrittenOperation::Manage => Operation::Manage,
        };
        Some(Route {
            methods,
            paths,
            endpoint: Endpoint {
                dialect,
                operation,
                shape: Some(shape),
                streamed: route.streamed.then_some(true),
            },
            socket: route.socket,
            examples: route
                .examples
                .into_iter()
                .map(|example| (example.referenced, example.value))
                .collect(),
        })
    }

    /// A WebSocket is opened by GET, and its messages are what a text can be.
    fn socket(&mut self, at: Location, methods: &[String], body: WrittenContainer) {
        if methods != ["GET"] {
            self.wrong(at, "a route of a WebSocket has the methods [GET]");
        }
        let texts = [
            WrittenContainer::Json,
            WrittenContainer::Lines,
            WrittenContainer::Frames,
            WrittenContainer::Text,
        ];
        if !texts.contains(&body) {
            self.wrong(
                at,
                "the messages of a WebSocket are `json`, `lines`, `frames` or `text`; `body` says which",
            );
        }
    }

    fn patterns(&mut self, written: Option<&Spanned<BTreeMap<String, WrittenRole>>>) -> Patterns {
        let mut patterns = Patterns::default();
        let Some(written) = written else {
            return patterns;
        };
        // Backwards, since a star sorts before a name, which is to count where both match.
        for (pattern, role) in written.value.iter().rev() {
            if let Err(bad) = patterns.add(pattern, (*role).into()) {
                self.wrong(written.referenced, format!("`{pattern}`: {bad}"));
            }
        }
        patterns
    }
}

impl Example {
    fn run(&self, route: &Route, differs: &mut dyn FnMut(String)) {
        let body = Bytes::from(self.body.clone());
        let limits = Limits::default();
        let decoded = match decode_as(
            route.endpoint,
            self.content_type.as_deref(),
            body.clone(),
            &limits,
        ) {
            Ok(decoded) => decoded,
            Err(error) => return differs(error.message()),
        };
        if decoded.splice(&[]).as_ref() != Ok(&body) {
            differs("the body does not come back unchanged".to_owned());
        }
        let mut edits = Vec::new();
        for expected in &self.segments {
            let found = decoded
                .segments()
                .iter()
                .position(|segment| segment.place.as_str() == expected.place);
            let Some(index) = found else {
                let places: Vec<&str> = decoded.segments().iter().map(|s| s.place.as_str()).collect();
                differs(format!(
                    "there is no text at `{}`, but at {places:?}",
                    expected.place
                ));
                continue;
            };
            let segment = &decoded.segments()[index];
            if segment.text.as_str() != expected.text {
                differs(format!(
                    "at `{}` stands `{}`",
                    expected.place,
                    segment.text.as_str()
                ));
            }
            if segment.role != Role::from(expected.role) {
                differs(format!(
                    "the words at `{}` are of role {:?}",
                    expected.place, segment.role
                ));
            }
            if let Some(put) = &expected.put {
                edits.push(Edit {
                    segment: index,
                    span: 0..segment.text.len(),
                    replacement: put.clone(),
                });
            }
        }
        let files: Vec<&str> = decoded.attachments().map(|file| file.place().as_str()).collect();
        if files != self.files {
            differs(format!("the files are {files:?}"));
        }
        if self.model.as_deref() != decoded.model() {
            differs(format!("the model is {:?}", decoded.model()));
        }
        match (&self.edited, decoded.splice(&edits)) {
            (Some(expected), Ok(edited)) if *expected != String::from_utf8_lossy(&edited) => {
                differs(format!("edited, it reads `{}`", String::from_utf8_lossy(&edited)));
            }
            (_, Err(error)) => differs(error.to_string()),
            _ => {}
        }
        if let Some(expected) = &self.refusal {
            let refusal = Refusal {
                status: 400,
                fault: Fault::Policy,
                code: "cordon_policy_block",
                message: "Take the \"key\" out.".to_owned(),
                action: Action::Block,
                exchange: ExchangeId::new(),
                retry_after: None,
            };
            let rendered = crate::refuse_at(route.endpoint, &refusal);
            let told = String::from_utf8_lossy(&rendered.body).into_owned();
            if !told.contains(expected.as_str()) {
                differs(format!("the refusal reads `{told}`"));
            }
        }
    }
}
