//! The kinds of change, each at a random place.

use cordon_audit::{Body, Entry, Pruned, PrunedRun};
use serde_json::Value;

use super::{
    Ground, Random,
    forgery::{Forgery, text},
    restoring,
};
use crate::databases::Kind;

/// A change of the store.
pub(super) struct Mutation {
    pub(super) kind: &'static str,
    pub(super) sql: String,
    /// The tables that it touches.
    pub(super) tables: &'static [&'static str],
    pub(super) shows: Shows,
}

/// How a change shows to one who has the key.
pub(super) enum Shows {
    /// Verifying fails.
    Somewhere,
    /// It fails and names this record.
    At(String, u64),
    /// It does not fail, as nothing that was recorded is altered, and says this.
    InWords(&'static str),
    /// It fails where a checkpoint that was kept elsewhere is at hand.
    Elsewhere,
}

const RECORD: &[&str] = &["record"];
const EXTENT: &[&str] = &["extent"];
const BLOCK: &[&str] = &["block"];
const CHECKPOINT: &[&str] = &["checkpoint"];
const WRITER: &[&str] = &["writer"];
const ALL: &[&str] = &super::TABLES;

type Make = fn(&Ground, &mut Random) -> Mutation;

const KINDS: [Make; 30] = [
    body_byte,
    body_value,
    body_and_column,
    column,
    delete_one,
    delete_range,
    delete_tail,
    delete_tail_and_position,
    swap_records,
    swap_bodies,
    duplicate,
    move_to_another_writer,
    move_to_another_tree,
    rewrite_chain,
    rewrite_everything,
    truncate_everything,
    forge_writer,
    forge_pruning,
    rewrite_into_pruning,
    add_to_the_end,
    extent_row,
    extent_bytes,
    extent_numbers,
    block,
    checkpoint,
    delete_checkpoints,
    position,
    clear_signatures,
    set_back,
    remove_writer,
];

pub(super) fn mutate(ground: &Ground, random: &mut Random) -> Mutation {
    random.pick(&KINDS)(ground, random)
}

fn new(kind: &'static str, tables: &'static [&'static str], shows: Shows, sql: String) -> Mutation {
    Mutation {
        kind,
        sql,
        tables,
        shows,
    }
}

fn any<'g>(ground: &'g Ground, random: &mut Random) -> &'g Entry {
    random.pick(&ground.records)
}

fn body_of(entry: &Entry) -> String {
    String::from_utf8(entry.canonical_bytes()).unwrap()
}

fn here(entry: &Entry) -> String {
    format!("writer = '{}' AND sequence = {}", entry.writer, entry.sequence)
}

fn at(entry: &Entry) -> Shows {
    Shows::At(entry.writer.to_string(), entry.sequence)
}

fn set_body(entry: &Entry, body: &str) -> String {
    format!(
        "UPDATE audit_record SET body = {} WHERE {};",
        text(body),
        here(entry)
    )
}

fn body_byte(ground: &Ground, random: &mut Random) -> Mutation {
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

fn body_value(ground: &Ground, random: &mut Random) -> Mutation {
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

fn body_and_column(ground: &Ground, random: &mut Random) -> Mutation {
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

/// Makes another record of one, as a superuser would who wants to put it on somebody else, or into another hour.
fn forge(entry: &mut Entry, random: &mut Random) {
    match &mut entry.body {
        Body::Intent(it) if random.coin() => it.actor.user.push_str(".nother"),
        _ => entry.at += 1 + random.next() % 1000,
    }
}

fn column(ground: &Ground, random: &mut Random) -> Mutation {
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

fn delete_one(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let sql = format!("DELETE FROM audit_record WHERE {}", here(entry));
    new("a record deleted", RECORD, at(entry), sql)
}

fn delete_range(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{}' AND sequence BETWEEN {} AND {}",
        entry.writer,
        entry.sequence,
        entry.sequence + 1 + random.next() % 100
    );
    new("a range deleted", RECORD, at(entry), sql)
}

fn delete_tail(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{}' AND sequence >= {}",
        entry.writer, entry.sequence
    );
    new("the end deleted", RECORD, at(entry), sql)
}

/// Clears the signature of a writer's position, or leaves it where it does not belong.
fn note(writer: &str, random: &mut Random) -> String {
    match random.coin() {
        true => format!("UPDATE audit_writer SET note = NULL WHERE writer = '{writer}';"),
        false => String::new(),
    }
}

fn delete_tail_and_position(ground: &Ground, random: &mut Random) -> Mutation {
    let entry = any(ground, random);
    let writer = entry.writer.to_string();
    let mut forgery = ground.forgery.clone();
    forgery.cut(&writer, entry.sequence - 1);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{writer}' AND sequence >= {};{}{}",
        entry.sequence,
        forgery.position(&writer),
        note(&writer, random)
    );
    let tables = &["record", "writer"];
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

fn swap_records(ground: &Ground, random: &mut Random) -> Mutation {
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

fn swap_bodies(ground: &Ground, random: &mut Random) -> Mutation {
    let (a, b) = two(ground, random);
    let sql = set_body(a, &body_of(b)) + &set_body(b, &body_of(a));
    new("two bodies swapped", RECORD, at(a), sql)
}

/// A statement that adds a copy of a record with other columns.
fn copy(ground: &Ground, entry: &Entry, writer: &str, sequence: i64) -> String {
    let writer = match ground.place.kind {
        Kind::Sqlite => format!("'{writer}'"),
        Kind::Postgres => format!("CAST('{writer}' AS uuid)"),
    };
    let same = "at, exchange, kind, actor, door, dialect, host, model, action, rule, upstream, outcome, entities, tenant, class, body";
    format!(
        "INSERT INTO audit_record (writer, sequence, {same}) SELECT {writer}, {sequence}, {same} FROM kept_record WHERE {};",
        here(entry)
    )
}

fn last(ground: &Ground, writer: &str) -> i64 {
    i64::try_from(ground.forgery.chains[writer].len()).unwrap()
}

fn duplicate(ground: &Ground, random: &mut Random) -> Mutation {
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

fn move_to_another_writer(ground: &Ground, random: &mut Random) -> Mutation {
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

fn move_to_another_tree(ground: &Ground, random: &mut Random) -> Mutation {
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

/// A copy of everything with one record forged, and its chain computed anew behind it.
fn forged(ground: &Ground, random: &mut Random) -> (Forgery, Entry) {
    let entry = any(ground, random).clone();
    let mut forgery = ground.forgery.clone();
    let writer = entry.writer.to_string();
    let place = usize::try_from(entry.sequence - 1).unwrap();
    forge(&mut forgery.chains.get_mut(&writer).unwrap()[place], random);
    forgery.relink(&writer, entry.sequence + 1);
    (forgery, entry)
}

fn rewrite_chain(ground: &Ground, random: &mut Random) -> Mutation {
    let (forgery, entry) = forged(ground, random);
    let writer = entry.writer.to_string();
    let sql = forgery.rewrite(&writer, entry.sequence) + &forgery.position(&writer) + &note(&writer, random);
    let tables = &["record", "writer"];
    new("a chain rewritten", tables, Shows::Somewhere, sql)
}

/// Takes checkpoints away that would not agree any more, or some of them, or none.
fn checkpoints(ground: &Ground, forgery: &Forgery, entry: &Entry, random: &mut Random) -> String {
    let writer = entry.writer.to_string();
    match random.below(3) {
        0 => String::new(),
        1 => "DELETE FROM audit_checkpoint;".to_owned(),
        _ => {
            let mut sql = String::new();
            for tree @ (tenant, class) in forgery.trees.keys() {
                let before = &ground.forgery;
                if let Some(leaf) = before.first_leaf(tree, &writer, entry.sequence) {
                    sql += &format!(
                        "DELETE FROM audit_checkpoint WHERE tenant = '{tenant}' AND class = '{class}' AND size > {leaf};"
                    );
                }
            }
            sql
        }
    }
}

fn rewrite_everything(ground: &Ground, random: &mut Random) -> Mutation {
    let (forgery, entry) = forged(ground, random);
    let writer = entry.writer.to_string();
    let sql = forgery.rewrite(&writer, entry.sequence)
        + &forgery.position(&writer)
        + &note(&writer, random)
        + &forgery.plant()
        + &checkpoints(ground, &forgery, &entry, random);
    new("a chain rewritten with its trees", ALL, Shows::Somewhere, sql)
}

fn truncate_everything(ground: &Ground, random: &mut Random) -> Mutation {
    // That much of the chain is left that its position means something.
    let entry = loop {
        let entry = any(ground, random);
        if entry.sequence > 1 && ground.early[&entry.writer.to_string()] != entry.sequence - 1 {
            break entry;
        }
    };
    let writer = entry.writer.to_string();
    let mut forgery = ground.forgery.clone();
    forgery.cut(&writer, entry.sequence - 1);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{writer}' AND sequence >= {};",
        entry.sequence
    ) + &forgery.position(&writer)
        + &note(&writer, random)
        + &forgery.plant()
        + &checkpoints(ground, &forgery, entry, random);
    new("a chain cut off with its trees", ALL, Shows::Somewhere, sql)
}

/// A writer that nobody started, with records of its own.
fn forge_writer(ground: &Ground, random: &mut Random) -> Mutation {
    let id = random.uuid();
    let first = ground.forgery.chains.values().next().unwrap();
    let mut forgery = ground.forgery.clone();
    let count = 1 + random.below(3);
    let chain: Vec<Entry> = first[..count]
        .iter()
        .map(|entry| Entry {
            writer: id.parse().unwrap(),
            ..entry.clone()
        })
        .collect();
    let mut sql = String::new();
    for (place, entry) in first[..count].iter().enumerate() {
        sql += &copy(ground, entry, &id, i64::try_from(place).unwrap() + 1);
    }
    forgery.chains.insert(id.clone(), chain.clone());
    forgery.relink(&id, 1);
    sql += &format!("INSERT INTO audit_writer VALUES ('{id}', 'c', 0, '', 0, NULL);");
    sql += &forgery.rewrite(&id, 1);
    sql += &forgery.position(&id);
    if random.coin() {
        for entry in chain {
            let tree = entry.tree();
            let tree = (tree.tenant().to_owned(), tree.class().to_owned());
            let leaves = forgery.trees.get_mut(&tree).unwrap();
            leaves.push((id.clone(), entry.sequence));
        }
        sql += &forgery.plant();
    }
    new("a writer forged", ALL, Shows::Somewhere, sql)
}

/// An entry that says that records were pruned.
fn pruning(like: &Entry, of: &Entry, count: u64) -> Entry {
    let tree = of.tree();
    Entry {
        body: Body::Pruned(Pruned {
            tenant: tree.tenant().to_owned(),
            class: tree.class().to_owned(),
            before: of.at + 1,
            runs: vec![PrunedRun {
                writer: of.writer,
                first: of.sequence,
                last: of.sequence + count - 1,
                records: count,
            }],
        }),
        ..like.clone()
    }
}

fn governance(ground: &Ground, random: &mut Random) -> Entry {
    let is_governance = |entry: &&Entry| entry.class.as_deref() == Some("governance");
    let found: Vec<_> = ground.records.iter().filter(is_governance).collect();
    (*random.pick(&found)).clone()
}

/// Deletes records, and adds a record behind the end of a chain that says that they had their time.
fn forge_pruning(ground: &Ground, random: &mut Random) -> Mutation {
    let (of, count) = (any(ground, random), 1 + random.next() % 5);
    let like = governance(ground, random);
    let writer = like.writer.to_string();
    let mut forgery = ground.forgery.clone();
    let end = last(ground, &writer) + 1;
    let mut entry = pruning(&like, of, count);
    entry.sequence = u64::try_from(end).unwrap();
    forgery.chains.get_mut(&writer).unwrap().push(entry.clone());
    forgery.relink(&writer, entry.sequence);
    let mut sql = copy(ground, &like, &writer, end)
        + &format!("UPDATE audit_record SET kind = 'pruned' WHERE {};", here(&entry))
        + &forgery.rewrite(&writer, entry.sequence)
        + &format!(
            "DELETE FROM audit_record WHERE writer = '{}' AND sequence BETWEEN {} AND {};",
            of.writer,
            of.sequence,
            of.sequence + count - 1
        );
    if random.coin() {
        sql += &(forgery.position(&writer) + &note(&writer, random));
        if random.coin() {
            let tree = ("default".to_owned(), "governance".to_owned());
            let leaves = forgery.trees.get_mut(&tree).unwrap();
            leaves.push((writer, entry.sequence));
            sql += &forgery.plant();
        }
    }
    new(
        "a pruning forged to excuse a deletion",
        ALL,
        Shows::Somewhere,
        sql,
    )
}

/// The same, in the place of a record that there was.
fn rewrite_into_pruning(ground: &Ground, random: &mut Random) -> Mutation {
    let (of, count) = (any(ground, random), 1 + random.next() % 5);
    let like = governance(ground, random);
    let writer = like.writer.to_string();
    let mut forgery = ground.forgery.clone();
    let place = usize::try_from(like.sequence - 1).unwrap();
    forgery.chains.get_mut(&writer).unwrap()[place] = pruning(&like, of, count);
    forgery.relink(&writer, like.sequence + 1);
    let mut sql = format!(
        "UPDATE audit_record SET kind = 'pruned', exchange = NULL WHERE {};",
        here(&like)
    ) + &forgery.rewrite(&writer, like.sequence)
        + &forgery.position(&writer)
        + &note(&writer, random)
        + &format!(
            "DELETE FROM audit_record WHERE writer = '{}' AND sequence BETWEEN {} AND {};",
            of.writer,
            of.sequence,
            of.sequence + count - 1
        );
    if random.coin() {
        sql += &(forgery.plant() + &checkpoints(ground, &forgery, &like, random));
    }
    new("a record rewritten into a pruning", ALL, Shows::Somewhere, sql)
}

/// A record that nobody recorded, at the end of a chain, with everything to match but signatures.
fn add_to_the_end(ground: &Ground, random: &mut Random) -> Mutation {
    let like = any(ground, random);
    let writer = like.writer.to_string();
    let end = last(ground, &writer) + 1;
    let mut forgery = ground.forgery.clone();
    let entry = Entry {
        sequence: u64::try_from(end).unwrap(),
        ..like.clone()
    };
    forgery.chains.get_mut(&writer).unwrap().push(entry.clone());
    forgery.relink(&writer, entry.sequence);
    let mut sql = copy(ground, like, &writer, end)
        + &forgery.rewrite(&writer, entry.sequence)
        + &forgery.position(&writer)
        + &note(&writer, random);
    if random.coin() {
        let tree = entry.tree();
        let tree = (tree.tenant().to_owned(), tree.class().to_owned());
        let leaves = forgery.trees.get_mut(&tree).unwrap();
        leaves.push((writer, entry.sequence));
        sql += &forgery.plant();
    }
    new("a record added to the end", ALL, Shows::Somewhere, sql)
}

/// A statement on one row of a table, at random.
fn row(ground: &Ground, table: &str, random: &mut Random) -> String {
    let key = match ground.place.kind {
        Kind::Postgres => "ctid",
        Kind::Sqlite if table == "extent" => "rowid",
        // Tables without row ids have a key of text and number.
        Kind::Sqlite if table == "block" => "tenant || '/' || class || '/' || block",
        Kind::Sqlite => "tenant || '/' || class || '/' || size",
    };
    format!(
        "{key} = (SELECT {key} FROM audit_{table} ORDER BY tenant, class LIMIT 1 OFFSET (SELECT {} % COUNT(*) FROM audit_{table}))",
        random.below(1000)
    )
}

fn extent_row(ground: &Ground, random: &mut Random) -> Mutation {
    let row = row(ground, "extent", random);
    let columns = "writer, first_sequence, last_sequence, offsets, hashes";
    let sql = match random.below(3) {
        0 => format!("DELETE FROM audit_extent WHERE {row}"),
        1 => format!(
            "INSERT INTO audit_extent (tenant, class, first_index, {columns}) SELECT tenant, class, first_index + 5000, {columns} FROM audit_extent WHERE {row}"
        ),
        _ => format!(
            "INSERT INTO audit_extent (tenant, class, first_index, {columns}) SELECT tenant, 'another', first_index, {columns} FROM audit_extent WHERE {row}"
        ),
    };
    new(
        "a run of leaves deleted or doubled",
        EXTENT,
        Shows::Somewhere,
        sql,
    )
}

fn extent_bytes(ground: &Ground, random: &mut Random) -> Mutation {
    let row = row(ground, "extent", random);
    let bytes: Vec<u8> = std::iter::repeat_with(|| u8::try_from(random.below(256)).unwrap())
        .take(8)
        .collect();
    let bytes = ground.forgery.bytes(&bytes);
    let value = match random.below(3) {
        0 => format!("hashes = {bytes} || substr(hashes, 9)"),
        1 => "hashes = substr(hashes, 33)".to_owned(),
        _ => format!("offsets = offsets || {bytes}"),
    };
    // Joining makes text of bytes.
    let value = match ground.place.kind {
        Kind::Sqlite => value.replacen("= ", "= CAST(", 1) + " AS BLOB)",
        Kind::Postgres => value,
    };
    let sql = format!("UPDATE audit_extent SET {value} WHERE {row}");
    new("leaves altered", EXTENT, Shows::Somewhere, sql)
}

fn extent_numbers(ground: &Ground, random: &mut Random) -> Mutation {
    let row = row(ground, "extent", random);
    let writer = random.uuid();
    let values = [
        "first_index = first_index + 7000".to_owned(),
        "first_index = -1".to_owned(),
        "first_sequence = first_sequence + 1".to_owned(),
        "last_sequence = last_sequence + 1".to_owned(),
        "first_sequence = first_sequence + 1, last_sequence = last_sequence + 1".to_owned(),
        "class = 'another'".to_owned(),
        "tenant = 'another'".to_owned(),
        "tenant = 'No Name'".to_owned(),
        format!("writer = '{writer}'"),
    ];
    let sql = format!("UPDATE audit_extent SET {} WHERE {row}", random.pick(&values));
    new(
        "a run of leaves renumbered or moved",
        EXTENT,
        Shows::Somewhere,
        sql,
    )
}

fn block(ground: &Ground, random: &mut Random) -> Mutation {
    let row = row(ground, "block", random);
    let bytes = ground.forgery.bytes(&random.next().to_be_bytes().repeat(4));
    let sql = match random.below(5) {
        0 => format!("DELETE FROM audit_block WHERE {row}"),
        1 => format!("UPDATE audit_block SET hash = {bytes} WHERE {row}"),
        2 => format!("UPDATE audit_block SET block = block + 10 WHERE {row}"),
        3 => format!("UPDATE audit_block SET class = 'another' WHERE {row}"),
        _ => format!(
            "INSERT INTO audit_block (tenant, class, block, hash) SELECT tenant, class, block + 2, hash FROM audit_block WHERE {row}"
        ),
    };
    new("a block altered", BLOCK, Shows::Somewhere, sql)
}

fn checkpoint(ground: &Ground, random: &mut Random) -> Mutation {
    let row = row(ground, "checkpoint", random);
    let place = 1 + random.below(100);
    let values = [
        "size = size + 10000".to_owned(),
        "size = 0".to_owned(),
        "class = 'another'".to_owned(),
        "tenant = 'another'".to_owned(),
        "note = ''".to_owned(),
        format!("note = substr(note, 1, {place}) || 'x' || substr(note, {place} + 1)"),
        format!("note = substr(note, 1, {place})"),
        // Another one's signature.
        "note = (SELECT note FROM kept_checkpoint k WHERE k.size <> audit_checkpoint.size ORDER BY k.size LIMIT 1)"
            .to_owned(),
    ];
    let sql = format!("UPDATE audit_checkpoint SET {} WHERE {row}", random.pick(&values));
    new("a checkpoint altered", CHECKPOINT, Shows::Somewhere, sql)
}

fn delete_checkpoints(ground: &Ground, random: &mut Random) -> Mutation {
    let row = row(ground, "checkpoint", random);
    let last = "size = (SELECT MAX(size) FROM kept_checkpoint k WHERE k.tenant = audit_checkpoint.tenant AND k.class = audit_checkpoint.class)";
    let (sql, shows) = match random.below(4) {
        0 => (
            format!("DELETE FROM audit_checkpoint WHERE {row}"),
            Shows::Elsewhere,
        ),
        1 => (
            format!("DELETE FROM audit_checkpoint WHERE {last}"),
            Shows::InWords("are behind the last checkpoint"),
        ),
        2 => (
            "DELETE FROM audit_checkpoint".to_owned(),
            Shows::InWords("has no checkpoint: none was signed yet, or all were removed"),
        ),
        _ => ("DELETE FROM audit_checkpoint".to_owned(), Shows::Elsewhere),
    };
    new("checkpoints deleted", CHECKPOINT, shows, sql)
}

fn position(ground: &Ground, random: &mut Random) -> Mutation {
    let writers: Vec<_> = ground.forgery.chains.keys().collect();
    let writer = random.pick(&writers);
    let hash = hex::encode(random.next().to_be_bytes().repeat(4));
    let place = 1 + random.below(100);
    let sql = match random.below(7) {
        0 => "SET sequence = sequence - 1".to_owned(),
        1 => "SET sequence = sequence + 1".to_owned(),
        2 => format!("SET hash = '{hash}'"),
        3 => format!("SET note = substr(note, 1, {place}) || 'x' || substr(note, {place} + 1)"),
        4 => "SET sequence = 0".to_owned(),
        5 => format!("SET writer = '{}'", random.uuid()),
        _ => format!("SET note = (SELECT note FROM kept_writer k WHERE k.writer <> '{writer}' LIMIT 1)"),
    };
    let sql = match random.below(8) {
        0 => format!("DELETE FROM audit_writer WHERE writer = '{writer}'"),
        _ => format!("UPDATE audit_writer {sql} WHERE writer = '{writer}'"),
    };
    new("a position altered", WRITER, Shows::Somewhere, sql)
}

fn clear_signatures(_: &Ground, _: &mut Random) -> Mutation {
    let sql = "UPDATE audit_writer SET note = NULL".to_owned();
    new("signatures cleared", WRITER, Shows::Somewhere, sql)
}

/// The whole store as it was earlier, signatures included.
fn set_back(_: &Ground, _: &mut Random) -> Mutation {
    let sql = ALL.iter().map(|table| restoring(table, "early")).collect();
    new("the store set back", ALL, Shows::Elsewhere, sql)
}

/// One writer with all that it recorded, from the trees too, and the checkpoints that would tell.
fn remove_writer(ground: &Ground, random: &mut Random) -> Mutation {
    let writers: Vec<_> = ground.forgery.chains.keys().collect();
    let writer = random.pick(&writers);
    let mut forgery = ground.forgery.clone();
    forgery.cut(writer, 0);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{writer}'; DELETE FROM audit_writer WHERE writer = '{writer}'; DELETE FROM audit_checkpoint;{}",
        forgery.plant()
    );
    new("a writer removed with everything", ALL, Shows::Elsewhere, sql)
}
