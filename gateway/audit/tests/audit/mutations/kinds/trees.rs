//! Trees, checkpoints and positions altered.

use super::{
    super::{Ground, Random},
    BLOCK, CHECKPOINT, EXTENT, Mutation, Shows, WRITER, new, row,
};
use crate::databases::Kind;

pub(super) fn extent_row(ground: &Ground, random: &mut Random) -> Mutation {
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

pub(super) fn extent_bytes(ground: &Ground, random: &mut Random) -> Mutation {
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

pub(super) fn extent_numbers(ground: &Ground, random: &mut Random) -> Mutation {
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

pub(super) fn block(ground: &Ground, random: &mut Random) -> Mutation {
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

pub(super) fn checkpoint(ground: &Ground, random: &mut Random) -> Mutation {
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

pub(super) fn delete_checkpoints(ground: &Ground, random: &mut Random) -> Mutation {
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

pub(super) fn position(ground: &Ground, random: &mut Random) -> Mutation {
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

pub(super) fn clear_signatures(_: &Ground, _: &mut Random) -> Mutation {
    let sql = "UPDATE audit_writer SET note = NULL".to_owned();
    new("signatures cleared", WRITER, Shows::Somewhere, sql)
}
