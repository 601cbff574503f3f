//! What is kept sealed, and the keys of subjects, altered, taken away and put back.

use cordon_audit::{Body, Entry};

use super::{
    super::{Ground, Random, forgery::text},
    KEY, Mutation, PAYLOAD, any, at, here, new,
};
use crate::databases::Kind;

/// A record that names a sealed part.
fn keeps<'g>(ground: &'g Ground, random: &mut Random) -> &'g Entry {
    loop {
        let entry = any(ground, random);
        let payload = match &entry.body {
            Body::Intent(it) => &it.payload,
            Body::Seal(it) => &it.payload,
            _ => &None,
        };
        if payload.is_some() {
            return entry;
        }
    }
}

/// A key that is not erased, by its id, with the first record that names it.
fn key<'g>(ground: &'g Ground, random: &mut Random) -> (String, &'g Entry) {
    loop {
        let entry = any(ground, random);
        if let Some(key) = &entry.key
            && key.subject != ground.gone
        {
            return (key.id.to_string(), first(ground, &key.id.to_string()));
        }
    }
}

fn first<'g>(ground: &'g Ground, id: &str) -> &'g Entry {
    let names = |entry: &&Entry| entry.key.as_ref().is_some_and(|key| key.id.to_string() == id);
    ground.records.iter().find(names).unwrap()
}

/// An expression of bytes; joining makes text of them in SQLite.
fn bytes(ground: &Ground, expression: &str) -> String {
    match ground.place.kind {
        Kind::Sqlite => format!("CAST({expression} AS BLOB)"),
        Kind::Postgres => expression.to_owned(),
    }
}

/// One byte of a column overwritten, which by chance is the byte that was there.
fn overwritten(ground: &Ground, column: &str, random: &mut Random) -> String {
    let place = random.below(60);
    let byte = ground.forgery.bytes(&[u8::try_from(random.below(256)).unwrap()]);
    bytes(
        ground,
        &format!(
            "substr({column}, 1, {place}) || {byte} || substr({column}, {})",
            place + 2
        ),
    )
}

pub(super) fn payload_overwritten(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = keeps(ground, random);
    let set = match random.below(6) {
        0 => format!("sealed = {}", overwritten(ground, "sealed", random)),
        1 => format!("sealed = substr(sealed, 1, {})", random.below(60)),
        2 => {
            let other = loop {
                let other = keeps(ground, random);
                if (other.writer, other.sequence) != (entry.writer, entry.sequence) {
                    break other;
                }
            };
            format!("sealed = (SELECT sealed FROM kept_payload WHERE {})", here(other))
        }
        3 => {
            let own = entry.key.as_ref().unwrap().id.to_string();
            let (other, _) = loop {
                let other = key(ground, random);
                if other.0 != own {
                    break other;
                }
            };
            format!("key = '{other}'")
        }
        4 => "part = CASE part WHEN 'request' THEN 'reply' ELSE 'request' END".to_owned(),
        _ => "class = 'governance'".to_owned(),
    };
    let sql = format!("UPDATE audit_payload SET {set} WHERE {}", here(entry));
    new("a sealed text overwritten or moved", PAYLOAD, at(entry), sql)
}

pub(super) fn payload_taken_or_doubled(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = keeps(ground, random);
    let sql = match random.coin() {
        true => format!("DELETE FROM audit_payload WHERE {}", here(entry)),
        false => format!(
            "INSERT INTO audit_payload SELECT * FROM kept_payload WHERE {}",
            here(entry)
        ),
    };
    new("a sealed text deleted or doubled", PAYLOAD, at(entry), sql)
}

pub(super) fn key_overwritten(ground: &Ground, random: &mut Random) -> Mutation {
    let (id, first) = key(ground, random);
    let set = match random.below(7) {
        0 => format!("wrapped = {}", overwritten(ground, "wrapped", random)),
        1 => format!("name = {}", overwritten(ground, "name", random)),
        2 => "created_at = created_at + 1".to_owned(),
        3 => format!("subject = {}", text(&ground.gone)),
        4 => "tenant = 'another'".to_owned(),
        5 => "name = NULL".to_owned(),
        _ => "wrapped = NULL".to_owned(),
    };
    let sql = match random.below(8) {
        0 => format!("DELETE FROM audit_key WHERE id = '{id}'"),
        _ => format!("UPDATE audit_key SET {set} WHERE id = '{id}'"),
    };
    new("a subject's key overwritten or deleted", KEY, at(first), sql)
}

pub(super) fn keys_swapped(ground: &Ground, random: &mut Random) -> Mutation {
    let (one, first) = key(ground, random);
    let (other, second) = loop {
        let other = key(ground, random);
        if other.0 != one {
            break other;
        }
    };
    let columns = match random.coin() {
        true => &["wrapped", "name"][..],
        false => &["wrapped"],
    };
    let set = |from: &str| {
        let set: Vec<String> = columns
            .iter()
            .map(|column| format!("{column} = (SELECT {column} FROM kept_key k WHERE k.id = '{from}')"))
            .collect();
        set.join(", ")
    };
    let sql = format!(
        "UPDATE audit_key SET {} WHERE id = '{one}'; UPDATE audit_key SET {} WHERE id = '{other}';",
        set(&other),
        set(&one)
    );
    let place = |entry: &Entry| (entry.writer, entry.sequence);
    let named = if place(first) < place(second) {
        first
    } else {
        second
    };
    new("two subjects' keys swapped", KEY, at(named), sql)
}

/// As an erasure would do it, and with what it would leave beside the record of it.
pub(super) fn key_shredded(ground: &Ground, random: &mut Random) -> Mutation {
    let (id, first) = key(ground, random);
    let mut sql = format!(
        "UPDATE audit_key SET wrapped = NULL, name = NULL, erased_at = created_at + 1 WHERE id = '{id}';"
    );
    match random.below(3) {
        0 => {}
        1 => {
            sql += &format!(
                "INSERT INTO audit_erasure SELECT tenant, subject, created_at + 1 FROM audit_key WHERE id = '{id}';"
            );
        }
        // Passed off as a key of somebody who was erased.
        _ => {
            sql += &format!(
                "UPDATE audit_key SET subject = {} WHERE id = '{id}';",
                text(&ground.gone)
            );
        }
    }
    new(
        "a subject's key shredded without record",
        &["key", "erasure"],
        at(first),
        sql,
    )
}

/// By one who kept a copy from before the erasure.
pub(super) fn key_brought_back(ground: &Ground, _: &mut Random) -> Mutation {
    let is_erasure = |entry: &&Entry| matches!(entry.body, Body::Erased(_));
    let erasure = ground.records.iter().find(is_erasure).unwrap();
    let sql = format!(
        "DELETE FROM audit_key WHERE subject = {gone}; INSERT INTO audit_key SELECT * FROM early_key WHERE subject = {gone};",
        gone = text(&ground.gone)
    );
    new("an erased key brought back", KEY, at(erasure), sql)
}
