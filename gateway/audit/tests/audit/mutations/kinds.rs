//! The kinds of change, each at a random place.

use cordon_audit::{Body, Entry};

use super::{
    Ground, Random,
    forgery::{Forgery, text},
};
use crate::databases::Kind;

mod records;
mod rewriting;
mod sealed;
mod trees;

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
const PAYLOAD: &[&str] = &["payload"];
const KEY: &[&str] = &["key"];
const ALL: &[&str] = &super::TABLES;

type Make = fn(&Ground, &mut Random) -> Mutation;

const KINDS: [Make; 36] = [
    records::body_byte,
    records::body_value,
    records::body_and_column,
    records::column,
    records::delete_one,
    records::delete_range,
    records::delete_tail,
    records::delete_tail_and_position,
    records::swap_records,
    records::swap_bodies,
    records::duplicate,
    records::move_to_another_writer,
    records::move_to_another_tree,
    rewriting::rewrite_chain,
    rewriting::rewrite_everything,
    rewriting::truncate_everything,
    rewriting::forge_writer,
    rewriting::forge_pruning,
    rewriting::rewrite_into_pruning,
    rewriting::add_to_the_end,
    trees::extent_row,
    trees::extent_bytes,
    trees::extent_numbers,
    trees::block,
    trees::checkpoint,
    trees::delete_checkpoints,
    trees::position,
    trees::clear_signatures,
    rewriting::set_back,
    rewriting::remove_writer,
    sealed::payload_overwritten,
    sealed::payload_taken_or_doubled,
    sealed::key_overwritten,
    sealed::keys_swapped,
    sealed::key_shredded,
    sealed::key_brought_back,
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

/// Clears the signature of a writer's position, or leaves it where it does not belong.
fn note(writer: &str, random: &mut Random) -> String {
    match random.coin() {
        true => format!("UPDATE audit_writer SET note = NULL WHERE writer = '{writer}';"),
        false => String::new(),
    }
}

fn last(ground: &Ground, writer: &str) -> i64 {
    i64::try_from(ground.forgery.chains[writer].len()).unwrap()
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

/// Makes another record of one, as a superuser would who wants to put it on somebody else, or into another hour.
fn forge(entry: &mut Entry, random: &mut Random) {
    match &mut entry.body {
        Body::Intent(it) if random.coin() => it.actor.user.push_str(".nother"),
        _ => entry.at += 1 + random.next() % 1000,
    }
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

/// Takes what lies beside a writer's records with them.
fn payloads_too(writer: &str, from: u64) -> String {
    format!("DELETE FROM audit_payload WHERE writer = '{writer}' AND sequence >= {from};")
}
