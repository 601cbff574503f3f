//! Records altered, taken away, doubled and moved, one by one.

use cordon_audit::Entry;
use serde_json::Value;

use super::{
    super::{Ground, Random, forgery::text},
    ALL, Mutation, RECORD, Shows, any, at, body_of, copy, forge, here, last, new, note, payloads_too,
    set_body,
};
use crate::databases::Kind;

pub(super) fn body_byte(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let mut body = entry.canonical_bytes();
    let place = random.below(body.len());
    let old = body[place];
    while body[place] == old {
        body[place] = u8::try_from(b' ' as usize + random.below(95)).unwrap();
    }
    let sql = set_body(entry, &String::from_utf8(body).unwrap());
    new("a byte of a body", RECORD, at(entry), sql)
}

/// Changes one value somewhere in a JSON text.
fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let place = random.below(fields.len());
            change(fields.values_mut().nth(place).unwrap(), random);
        }
        Value::Array(items) if !items.is_empty() => {
            let place = random.below(items.len());
            change(&mut items[place], random);
        }
        Value::String(text) if random.coin() => text.push('x'),
        Value::String(text) => *text = format!("{text}0").split_off(usize::from(!text.is_empty())),
        Value::Number(number) => *value = (number.as_u64().unwrap_or(0) + 1 + random.next() % 9).into(),
        Value::Bool(is) => *value = (!*is).into(),
        _ => *value = "x".into(),
    }
}

pub(super) fn body_value(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let body = body_of(entry);
    let was: Value = serde_json::from_str(&body).unwrap();
    let mut value = was.clone();
    while value == was {
        change(&mut value, random);
    }
    new(
        "a value of a body",
        RECORD,
        at(entry),
        set_body(entry, &value.to_string()),
    )
}

pub(super) fn body_and_column(ground: &Ground, random: &mut Random) -> Mutation {
    let mut entry = any(ground, random).clone();
    forge(&mut entry, random);
    let mut forgery = ground.forgery.clone();
    let chain = forgery.chains.get_mut(&entry.writer.to_string()).unwrap();
    let sequence = usize::try_from(entry.sequence).unwrap();
    chain.truncate(sequence);
    chain[sequence - 1] = entry.clone();
    let sql = forgery.rewrite(&entry.writer.to_string(), entry.sequence);
    new("a body and its columns", RECORD, at(&entry), sql)
}

pub(super) fn column(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let columns = [
        "at", "exchange", "kind", "actor", "door", "dialect", "host", "model", "action", "rule", "upstream",
        "outcome", "entities", "tenant", "writer", "sequence",
    ];
    let name = *random.pick(&columns);
    let (value, shows) = match name {
        "at" => (format!("at + {}", 1 + random.below(1000)), at(entry)),
        "exchange" if entry.body.exchange().is_some() && random.coin() => ("NULL".to_owned(), at(entry)),
        "exchange" => (format!("'{}'", random.uuid()), at(entry)),
        "writer" => (format!("'{}'", random.uuid()), Shows::Somewhere),
        "sequence" => {
            let outside = [0, -1, 100_000, i64::MAX, -i64::MAX];
            (random.pick(&outside).to_string(), Shows::Somewhere)
        }
        _ if random.coin() || name == "kind" => (format!("coalesce({name}, '') || 'x'"), at(entry)),
        _ => (
            format!("CASE WHEN {name} IS NULL THEN '' ELSE upper({name}) || ' ' END"),
            at(entry),
        ),
    };
    let sql = format!("UPDATE audit_record SET {name} = {value} WHERE {}", here(entry));
    new("a column", RECORD, shows, sql)
}

pub(super) fn delete_one(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let sql = format!("DELETE FROM audit_record WHERE {}", here(entry));
    new("a record deleted", RECORD, at(entry), sql)
}

pub(super) fn delete_range(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{}' AND sequence BETWEEN {} AND {}",
        entry.writer,
        entry.sequence,
        entry.sequence + 1 + random.next() % 100
    );
    new("a range deleted", RECORD, at(entry), sql)
}

pub(super) fn delete_tail(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{}' AND sequence >= {}",
        entry.writer, entry.sequence
    );
    new("the end deleted", RECORD, at(entry), sql)
}

pub(super) fn delete_tail_and_position(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let writer = entry.writer.to_string();
    let mut forgery = ground.forgery.clone();
    forgery.cut(&writer, entry.sequence - 1);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{writer}' AND sequence >= {};{}{}{}",
        entry.sequence,
        payloads_too(&writer, entry.sequence),
        forgery.position(&writer),
        note(&writer, random)
    );
    let tables = &["record", "writer", "payload"];
    new(
        "the end deleted, and its position moved",
        tables,
        Shows::Somewhere,
        sql,
    )
}

/// Two records of one chain.
fn two<'g>(ground: &'g Ground, random: &mut Random) -> (&'g Entry, &'g Entry) {
    loop {
        let (a, b) = (any(ground, random), any(ground, random));
        if a.writer == b.writer && a.sequence < b.sequence {
            return (a, b);
        }
    }
}

pub(super) fn swap_records(ground: &Ground, random: &mut Random) -> Mutation {
    let (a, b) = two(ground, random);
    let sql = format!(
        "UPDATE audit_record SET sequence = -7 WHERE {a}; UPDATE audit_record SET sequence = {} WHERE {b}; \
         UPDATE audit_record SET sequence = {} WHERE writer = '{}' AND sequence = -7",
        a.sequence,
        b.sequence,
        a.writer,
        a = here(a),
        b = here(b),
    );
    new("two records swapped", RECORD, at(a), sql)
}

pub(super) fn swap_bodies(ground: &Ground, random: &mut Random) -> Mutation {
    let (a, b) = two(ground, random);
    let sql = set_body(a, &body_of(b)) + &set_body(b, &body_of(a));
    new("two bodies swapped", RECORD, at(a), sql)
}

pub(super) fn duplicate(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let writer = entry.writer.to_string();
    let sequence = i64::try_from(entry.sequence).unwrap();
    // SQLite's key is the sequence, so there it cannot be there twice.
    let same = match ground.place.kind {
        Kind::Sqlite => 0,
        Kind::Postgres => sequence,
    };
    let choices = [
        last(ground, &writer) + 1,
        last(ground, &writer) + 100,
        -sequence,
        0,
        same,
    ];
    let as_sequence = *random.pick(&choices);
    let shows = match as_sequence == sequence {
        true => at(entry),
        false => Shows::Somewhere,
    };
    let sql = copy(ground, entry, &writer, as_sequence);
    new("a record doubled", RECORD, shows, sql)
}

pub(super) fn move_to_another_writer(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let writers: Vec<_> = ground.forgery.chains.keys().collect();
    let other = match writers
        .iter()
        .find(|writer| ***writer != entry.writer.to_string())
    {
        Some(writer) if random.coin() => (*writer).clone(),
        _ => random.uuid(),
    };
    let sequence = ground
        .forgery
        .chains
        .get(&other)
        .map_or(1, |chain| chain.len() as u64 + 1);
    let sql = format!(
        "UPDATE audit_record SET writer = '{other}', sequence = {sequence} WHERE {}",
        here(entry)
    );
    new("a record moved to another writer", RECORD, Shows::Somewhere, sql)
}

pub(super) fn move_to_another_tree(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let (tenant, class) = (
        entry.tenant.as_deref().unwrap_or("default"),
        entry.class.as_deref().unwrap_or("standard"),
    );
    let to = loop {
        let to = *random.pick(&[
            ("default", "standard"),
            ("emea", "long"),
            ("default", "governance"),
        ]);
        if to != (tenant, class) {
            break to;
        }
    };
    let column = match to.0 {
        "default" => "NULL".to_owned(),
        tenant => text(tenant),
    };
    let mut sql = format!(
        "UPDATE audit_record SET tenant = {column}, class = '{}' WHERE {};",
        to.1,
        here(entry)
    );
    let tables: &[&str] = match random.coin() {
        true => {
            // Its leaf goes with it.
            let mut forgery = ground.forgery.clone();
            let leaf = (entry.writer.to_string(), entry.sequence);
            for leaves in forgery.trees.values_mut() {
                leaves.retain(|other| *other != leaf);
            }
            let tree = (to.0.to_owned(), to.1.to_owned());
            forgery.trees.get_mut(&tree).unwrap().push(leaf);
            sql += &forgery.plant();
            ALL
        }
        false => RECORD,
    };
    new("a record moved to another tree", tables, at(entry), sql)
}
