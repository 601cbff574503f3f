//! Exchanges as events of the Open Cybersecurity Schema Framework: class API Activity (6003) of version 1.8.0, the first whose profile AI Operation
//! this class has, with the profile Security Control for what was decided.
//!
//! What a record tells and the schema has no attribute for stands under `unmapped`, by its name in the record: fields that come later are there too.
//!
//! On failure: [`io::Error`].

use std::io::{self, Write};

use cordon_domain::{Action, Actor, Identity};
use serde_json::{Map, Value, json};

use super::Sheet;
use crate::{
    record::{Body, Entry, Intent, Outcome, Refused, Seal, TunnelOpened},
    search::Row,
};

const VERSION: &str = "1.8.0";
const CLASS: u64 = 6003;

pub(super) struct Events<W>(W);

impl<W: Write> Events<W> {
    pub(super) fn new(file: W) -> Self {
        Self(file)
    }
}

impl<W: Write> Sheet<W> for Events<W> {
    fn put(&mut self, row: &Row) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, &event(row))?;
        self.0.write_all(b"\n")
    }

    fn end(self) -> io::Result<W> {
        Ok(self.0)
    }
}

/// What all kinds of exchanges have in common, then what each has.
fn event(row: &Row) -> Value {
    let Entry { writer, sequence, .. } = row.opening;
    let tree = row.opening.tree();
    let mut event = Map::new();
    let mut set = |name: &str, value: Value| {
        event.insert(name.to_owned(), value);
    };
    set("category_uid", json!(6));
    set("category_name", json!("Application Activity"));
    set("class_uid", json!(CLASS));
    set("class_name", json!("API Activity"));
    set("time", json!(row.at));
    set("start_time", json!(row.at));
    set(
        "metadata",
        json!({
            "version": VERSION,
            "profiles": ["ai_operation", "security_control"],
            "product": {"name": "Cordon", "vendor_name": "Cordon", "version": env!("CARGO_PKG_VERSION")},
            "log_name": "audit",
            "event_code": row.opening.body.kind(),
            "uid": format!("{writer}:{sequence}"),
            "sequence": sequence,
            "correlation_uid": row.exchange,
            "tenant_uid": tree.tenant(),
            "logged_time": row.at,
        }),
    );
    match &row.opening.body {
        Body::Intent(it) => intent(&mut event, it),
        Body::Refused(it) => refused(&mut event, it),
        Body::TunnelOpened(it) => tunnel(&mut event, it),
        // No other kind opens an exchange.
        _ => {}
    }
    match row.closing.as_ref().map(|entry| (entry.at, &entry.body)) {
        Some((at, Body::Seal(it))) => seal(&mut event, at, it),
        Some((at, Body::TunnelClosed(it))) => {
            event.insert("end_time".to_owned(), json!(at));
            event.insert("duration".to_owned(), json!(it.duration_ms));
            status(&mut event, 1, "Success");
        }
        _ if event.contains_key("status_id") => {}
        _ => status(&mut event, 0, "Unknown"),
    }
    event.insert("unmapped".to_owned(), unmapped(row));
    Value::Object(event)
}

fn intent(event: &mut Map<String, Value>, it: &Intent) {
    let service = it.upstream.as_deref().unwrap_or(it.dialect.name());
    activity(event, &it.method);
    request(event, &it.method, it.host.as_deref(), &it.path, it.request_bytes);
    event.insert("actor".to_owned(), actor(&it.actor));
    event.insert("src_endpoint".to_owned(), endpoint(&it.peer));
    event.insert(
        "api".to_owned(),
        json!({
            "operation": format!("{} {}", it.method, it.path),
            "request": {"uid": it.exchange},
            "service": {"name": it.dialect.name()},
        }),
    );
    let mut destination = Map::from_iter([("svc_name".to_owned(), json!(service))]);
    if let Some(host) = &it.host {
        destination.insert("hostname".to_owned(), json!(host));
    }
    event.insert("dst_endpoint".to_owned(), Value::Object(destination));
    if let Some(model) = &it.model {
        event.insert(
            "ai_model".to_owned(),
            json!({"name": model, "ai_provider": service}),
        );
    }
    event.insert(
        "message_context".to_owned(),
        json!({"uid": it.exchange, "service": {"name": service}}),
    );
    event.insert(
        "policy".to_owned(),
        json!({"uid": it.policy_hash, "is_applied": true}),
    );
    event.insert(
        "firewall_rule".to_owned(),
        json!({"name": it.rule, "uid": it.rule}),
    );
    let (severity_id, action_id, disposition) = match it.action {
        Action::Allow => (1, 1, (1, "Allowed")),
        Action::Alert => (2, 1, (19, "Alert")),
        Action::Redact => (2, 1, (99, "redact")),
        Action::Reroute => (2, 1, (99, "reroute")),
        Action::Coach => (3, 2, (25, "Rejected")),
        Action::Block => (3, 2, (2, "Blocked")),
    };
    event.insert("is_alert".to_owned(), json!(it.action == Action::Alert));
    decided(event, severity_id, action_id, disposition);
}

fn refused(event: &mut Map<String, Value>, it: &Refused) {
    activity(event, &it.method);
    request(event, &it.method, it.host.as_deref(), &it.path, 0);
    event.insert("actor".to_owned(), actor(&it.actor));
    event.insert("src_endpoint".to_owned(), endpoint(&it.peer));
    event.insert(
        "api".to_owned(),
        json!({
            "operation": format!("{} {}", it.method, it.path).trim_end(),
            "request": {"uid": it.exchange},
            "response": {"code": it.status, "error": it.code},
            "service": {"name": it.dialect.name()},
        }),
    );
    if let Some(host) = &it.host {
        event.insert("dst_endpoint".to_owned(), json!({"hostname": host}));
    }
    event.insert("http_response".to_owned(), json!({"code": it.status}));
    event.insert("status_code".to_owned(), json!(it.status.to_string()));
    event.insert("status_detail".to_owned(), json!(it.code));
    status(event, 2, "Failure");
    let disposition = match it.status {
        401 | 407 => (26, "Unauthorized"),
        _ => (25, "Rejected"),
    };
    decided(event, 2, 2, disposition);
}

fn tunnel(event: &mut Map<String, Value>, it: &TunnelOpened) {
    activity(event, "CONNECT");
    event.insert("actor".to_owned(), actor(&it.actor));
    event.insert("src_endpoint".to_owned(), endpoint(&it.peer));
    event.insert(
        "api".to_owned(),
        json!({"operation": format!("CONNECT {}:{}", it.host, it.port), "request": {"uid": it.exchange}}),
    );
    event.insert(
        "dst_endpoint".to_owned(),
        json!({"hostname": it.host, "port": it.port}),
    );
    decided(event, 1, 1, (1, "Allowed"));
}

fn seal(event: &mut Map<String, Value>, at: u64, it: &Seal) {
    let (id, name) = match it.outcome {
        Outcome::Completed => (1, "Success"),
        Outcome::Refused | Outcome::UpstreamFailed | Outcome::Internal => (2, "Failure"),
        Outcome::ClientLeft => (99, it.outcome.name()),
        Outcome::Unknown => (0, "Unknown"),
    };
    status(event, id, name);
    event.insert("end_time".to_owned(), json!(at));
    event.insert("duration".to_owned(), json!(it.latency_ms));
    if it.status != 0 {
        event.insert(
            "http_response".to_owned(),
            json!({"code": it.status, "body_length": it.reply_bytes, "latency": it.latency_ms}),
        );
        event.insert("status_code".to_owned(), json!(it.status.to_string()));
    }
    if let Some(code) = &it.code {
        event.insert("status_detail".to_owned(), json!(code));
    }
    let mut response = Map::from_iter([("code".to_owned(), json!(it.status))]);
    if let Some(code) = &it.code {
        response.insert("error".to_owned(), json!(code));
    }
    if let Some(Value::Object(api)) = event.get_mut("api") {
        api.insert("response".to_owned(), Value::Object(response));
    }
    if let (Some(model), Some(Value::Object(asked))) = (&it.model, event.get_mut("ai_model")) {
        asked.insert("name".to_owned(), json!(model));
    }
    if let Some(Value::Object(context)) = event.get_mut("message_context") {
        let total = it
            .input_tokens
            .zip(it.output_tokens)
            .map(|(read, written)| read + written);
        for (name, tokens) in [
            ("prompt_tokens", it.input_tokens),
            ("completion_tokens", it.output_tokens),
            ("total_tokens", total),
        ] {
            if let Some(tokens) = tokens {
                context.insert(name.to_owned(), json!(tokens));
            }
        }
    }
}

/// What is done to resources, as far as a method says.
fn activity(event: &mut Map<String, Value>, method: &str) {
    let (id, name) = match method {
        "POST" => (1, "Create"),
        "GET" | "HEAD" => (2, "Read"),
        "PUT" | "PATCH" => (3, "Update"),
        "DELETE" => (4, "Delete"),
        other => (99, other),
    };
    let caption = if id == 99 { "Other" } else { name };
    event.insert("activity_id".to_owned(), json!(id));
    event.insert("activity_name".to_owned(), json!(name));
    event.insert("type_uid".to_owned(), json!(CLASS * 100 + id));
    event.insert("type_name".to_owned(), json!(format!("API Activity: {caption}")));
}

fn request(event: &mut Map<String, Value>, method: &str, host: Option<&str>, path: &str, bytes: u64) {
    let mut url = Map::from_iter([("path".to_owned(), json!(path))]);
    if let Some(host) = host {
        url.insert("hostname".to_owned(), json!(host));
    }
    let mut request = Map::from_iter([
        ("http_method".to_owned(), json!(method)),
        ("url".to_owned(), Value::Object(url)),
    ]);
    if bytes > 0 {
        request.insert("body_length".to_owned(), json!(bytes));
    }
    event.insert("http_request".to_owned(), Value::Object(request));
}

fn actor(actor: &Actor) -> Value {
    let groups: Vec<Value> = actor.groups.iter().map(|name| json!({"name": name})).collect();
    let mut user = Map::from_iter([
        ("name".to_owned(), json!(actor.user)),
        ("uid".to_owned(), json!(actor.user)),
        ("type_id".to_owned(), json!(0)),
    ]);
    if !groups.is_empty() {
        user.insert("groups".to_owned(), Value::Array(groups));
    }
    if let Identity::ApiKey { key } = &actor.identity {
        user.insert("credential_uid".to_owned(), json!(key));
    }
    json!({"user": user})
}

fn endpoint(peer: &std::net::SocketAddr) -> Value {
    match peer.port() {
        // The record has no port, and of the address its network at most.
        0 => json!({"ip": peer.ip().to_string()}),
        port => json!({"ip": peer.ip().to_string(), "port": port}),
    }
}

fn status(event: &mut Map<String, Value>, id: u64, name: &str) {
    event.insert("status_id".to_owned(), json!(id));
    event.insert("status".to_owned(), json!(name));
}

fn decided(event: &mut Map<String, Value>, severity_id: u64, action_id: u64, (id, name): (u64, &str)) {
    let severity = ["Unknown", "Informational", "Low", "Medium"][usize::try_from(severity_id).unwrap_or(0)];
    event.insert("severity_id".to_owned(), json!(severity_id));
    event.insert("severity".to_owned(), json!(severity));
    event.insert("action_id".to_owned(), json!(action_id));
    event.insert(
        "action".to_owned(),
        json!(if action_id == 1 { "Allowed" } else { "Denied" }),
    );
    event.insert("disposition_id".to_owned(), json!(id));
    event.insert("disposition".to_owned(), json!(name));
}

/// Fields of records that stand elsewhere in the event.
const MAPPED: [&str; 20] = [
    "kind",
    "exchange",
    "actor",
    "peer",
    "dialect",
    "method",
    "host",
    "port",
    "path",
    "rule",
    "policy_hash",
    "upstream",
    "request_bytes",
    "status",
    "code",
    "input_tokens",
    "output_tokens",
    "latency_ms",
    "reply_bytes",
    "duration_ms",
];

fn unmapped(row: &Row) -> Value {
    let rest = |entry: &Entry| {
        let mut body = match serde_json::to_value(&entry.body) {
            Ok(Value::Object(body)) => body,
            _ => Map::new(),
        };
        MAPPED.iter().for_each(|name| {
            body.remove(*name);
        });
        body
    };
    let mut opening = rest(&row.opening);
    // Of how an actor was recognised only the id of a key has a place in the schema.
    if let Body::Intent(Intent { actor, .. })
    | Body::Refused(Refused { actor, .. })
    | Body::TunnelOpened(TunnelOpened { actor, .. }) = &row.opening.body
    {
        opening.insert("identity".to_owned(), json!(actor.identity));
    }
    opening.insert("retention_class".to_owned(), json!(row.opening.tree().class()));
    let mut unmapped = Map::from_iter([("opening".to_owned(), Value::Object(opening))]);
    if let Some(entry) = &row.closing {
        let mut closing = rest(entry);
        closing.insert(
            "uid".to_owned(),
            json!(format!("{}:{}", entry.writer, entry.sequence)),
        );
        unmapped.insert("closing".to_owned(), Value::Object(closing));
    }
    Value::Object(unmapped)
}
