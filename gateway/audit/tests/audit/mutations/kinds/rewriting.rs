//! Chains, and whole stores, computed anew with all that needs no key.

use cordon_audit::{Body, Entry, Pruned, PrunedRun};

use super::{
    super::{Ground, Random, forgery::Forgery, restoring},
    ALL, Mutation, Shows, any, checkpoints, copy, forge, here, last, new, note, payloads_too,
};

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

pub(super) fn rewrite_chain(ground: &Ground, random: &mut Random) -> Mutation {
    let (forgery, entry) = forged(ground, random);
    let writer = entry.writer.to_string();
    let sql = forgery.rewrite(&writer, entry.sequence) + &forgery.position(&writer) + &note(&writer, random);
    let tables = &["record", "writer"];
    new("a chain rewritten", tables, Shows::Somewhere, sql)
}

pub(super) fn rewrite_everything(ground: &Ground, random: &mut Random) -> Mutation {
    let (forgery, entry) = forged(ground, random);
    let writer = entry.writer.to_string();
    let sql = forgery.rewrite(&writer, entry.sequence)
        + &forgery.position(&writer)
        + &note(&writer, random)
        + &forgery.plant()
        + &checkpoints(ground, &forgery, &entry, random);
    new("a chain rewritten with its trees", ALL, Shows::Somewhere, sql)
}

pub(super) fn truncate_everything(ground: &Ground, random: &mut Random) -> Mutation {
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
    ) + &payloads_too(&writer, entry.sequence)
        + &forgery.position(&writer)
        + &note(&writer, random)
        + &forgery.plant()
        + &checkpoints(ground, &forgery, entry, random);
    new("a chain cut off with its trees", ALL, Shows::Somewhere, sql)
}

/// A writer that nobody started, with records of its own.
pub(super) fn forge_writer(ground: &Ground, random: &mut Random) -> Mutation {
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
pub(super) fn forge_pruning(ground: &Ground, random: &mut Random) -> Mutation {
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
pub(super) fn rewrite_into_pruning(ground: &Ground, random: &mut Random) -> Mutation {
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
pub(super) fn add_to_the_end(ground: &Ground, random: &mut Random) -> Mutation {
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

/// The whole store as it was earlier, signatures included.
pub(super) fn set_back(_: &Ground, _: &mut Random) -> Mutation {
    let sql = ALL.iter().map(|table| restoring(table, "early")).collect();
    new("the store set back", ALL, Shows::Elsewhere, sql)
}

/// One writer with all that it recorded, from the trees too, and the checkpoints that would tell.
pub(super) fn remove_writer(ground: &Ground, random: &mut Random) -> Mutation {
    let writers: Vec<_> = ground.forgery.chains.keys().collect();
    let writer = random.pick(&writers);
    let mut forgery = ground.forgery.clone();
    forgery.cut(writer, 0);
    let sql = format!(
        "DELETE FROM audit_record WHERE writer = '{writer}'; DELETE FROM audit_writer WHERE writer = '{writer}'; DELETE FROM audit_checkpoint;{}{}",
        payloads_too(writer, 0),
        forgery.plant()
    );
    new("a writer removed with everything", ALL, Shows::Elsewhere, sql)
}
