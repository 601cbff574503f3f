//! What travels beside entries, on its way to where the store keeps it: sealed payloads, keys of subjects, and the blind index.
//!
//! On failure: an attachment that no version of Cordon wrote is left out and told in the log, as one that cannot be put anywhere must not stop all that come
//! after it. The record beside which it lay says what is missing.

use super::{Value, number};
use crate::{
    attachment::{Attachment, SealedPart, WrappedKey},
    record::Entry,
    spool::reader::Spooled,
};

/// Rows of one statement, the largest first.
const ROWS: [usize; 3] = [100, 10, 1];

/// The parameters of taking in the keys that travel beside records. What is wrong with attachments is told where they are put beside their records.
pub(super) fn keys(records: &[Spooled]) -> Vec<Vec<Value>> {
    let attachments = records.iter().flat_map(|record| &record.attachments);
    attachments
        .filter(|bytes| Attachment::is_key(bytes))
        .filter_map(|bytes| match Attachment::parse(bytes) {
            Ok(Attachment::SubjectKey(key)) => Some(row(key)),
            _ => None,
        })
        .collect()
}

fn row(key: WrappedKey) -> Vec<Value> {
    let WrappedKey {
        id,
        tenant,
        subject,
        created_at,
        wrapped,
        name,
    } = key;
    vec![
        Value::Uuid(id),
        Value::Text(tenant),
        Value::Text(subject),
        number(created_at),
        Value::Bytes(wrapped),
        Value::Bytes(name),
    ]
}

/// Rows beside a batch of records.
#[derive(Default)]
pub(super) struct Attached {
    payloads: Vec<Vec<Value>>,
    values: Vec<Vec<Value>>,
    /// The parameters of taking a key in.
    pub(super) keys: Vec<Vec<Value>>,
}

impl Attached {
    pub(super) fn beside(records: &[Spooled]) -> Self {
        let mut attached = Self::default();
        for Spooled {
            entry, attachments, ..
        } in records
        {
            for bytes in attachments {
                match Attachment::parse(bytes) {
                    Ok(attachment) => attached.add(entry, attachment),
                    Err(error) => tracing::error!(
                        writer = %entry.writer, sequence = entry.sequence, %error,
                        "what was recorded beside an entry is left out of the store"
                    ),
                }
            }
        }
        attached
    }

    fn add(&mut self, entry: &Entry, attachment: Attachment) {
        let at = || number(entry.at);
        let class = || Value::Text(entry.tree().class().to_owned());
        match attachment {
            Attachment::Payload(SealedPart { key, part, sealed }) => self.payloads.push(vec![
                entry.writer.into(),
                number(entry.sequence),
                at(),
                Value::Uuid(key),
                Value::Text(part.name().to_owned()),
                class(),
                Value::Bytes(sealed),
            ]),
            Attachment::SubjectKey(key) => self.keys.push(row(key)),
            Attachment::Values(values) => {
                let Some(exchange) = entry.body.exchange() else {
                    return;
                };
                self.values.extend(values.into_iter().map(|(entity, value)| {
                    vec![
                        Value::Uuid(value.as_uuid()),
                        at(),
                        Value::Uuid(exchange.as_uuid()),
                        Value::Text(entity.as_str().to_owned()),
                        class(),
                    ]
                }));
            }
        }
    }

    /// Statements that put payloads and values into their tables, with their parameters.
    pub(super) fn inserts(&mut self) -> Vec<(String, Vec<Value>)> {
        let mut all = Vec::new();
        for (table, columns, rows) in [
            (
                "audit_payload",
                "writer, sequence, at, key, part, class, sealed",
                std::mem::take(&mut self.payloads),
            ),
            (
                "audit_value",
                "value, at, exchange, entity, class",
                std::mem::take(&mut self.values),
            ),
        ] {
            let mut rows = rows.into_iter();
            for count in ROWS {
                while rows.len() >= count {
                    let chunk: Vec<Vec<Value>> = rows.by_ref().take(count).collect();
                    all.push(insert(table, columns, chunk));
                }
            }
        }
        all
    }
}

fn insert(table: &str, columns: &str, rows: Vec<Vec<Value>>) -> (String, Vec<Value>) {
    let mut number = 0;
    let marks: Vec<String> = rows
        .iter()
        .map(|row| {
            let marks: Vec<String> = row
                .iter()
                .map(|_| {
                    number += 1;
                    format!("${number}")
                })
                .collect();
            format!("({})", marks.join(", "))
        })
        .collect();
    let sql = format!("INSERT INTO {table} ({columns}) VALUES {}", marks.join(", "));
    (sql, rows.into_iter().flatten().collect())
}
