//! Records in their trees: signed, resumed, compared, and found out when they are changed.

use std::{fmt::Write as _, time::Duration};

use cordon_audit::{
    Body, Event, Evidence, Outcome, PolicyReloaded, Published, Recorder, Recording, Seal, Testimonies,
    Testimony, TreeName, Verified,
    note::{Checkpoint, Note},
    remembered,
    tree::verify_consistency,
};
use cordon_domain::ExchangeId;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    databases::{BOTH, Kind, Place, exchange, finish, intent_by, open, signing_key, verify_by},
    killing::rounds,
};

/// One exchange in a tree of its own.
async fn exchange_in(recorder: &Recorder, tenant: &str, class: &str) {
    let id = ExchangeId::new();
    let tree = TreeName::new(tenant, class).unwrap();
    let recording = Recording::of(Body::Intent(intent_by("j.kim", id))).and(Body::Seal(Seal::new(
        id,
        Outcome::Completed,
        200,
    )));
    recorder.record(recording.in_tree(tree)).await.unwrap();
}

async fn verify(place: &Place) -> Result<Verified, String> {
    verify_with(place, Vec::new()).await
}

async fn verify_with(place: &Place, checkpoints: Vec<String>) -> Result<Verified, String> {
    let key = signing_key();
    let evidence = Evidence {
        spool: None,
        key: Some(key.verifying()),
        checkpoints,
        keys: None,
    };
    verify_by(place, &evidence).await
}

/// Records of two writers in three trees, all of them signed for.
async fn place(kind: Kind) -> Place {
    let place = Place::new(kind).await;
    for spool in ["a", "b"] {
        let (recorder, shipping) = open(place.sequenced(spool)).await;
        for _ in 0..5 {
            exchange(&recorder, "j.kim").await;
            exchange_in(&recorder, "emea", "long").await;
        }
        let reloaded = PolicyReloaded {
            policy_hash: "c".repeat(64),
            accepted: true,
            sets: std::collections::BTreeMap::new(),
        };
        recorder.event(Event::PolicyReloaded(reloaded)).await.unwrap();
        finish(shipping).await;
    }
    place
}

#[tokio::test]
async fn records_become_leaves_of_their_trees_and_are_signed_for() {
    for kind in BOTH {
        let place = place(kind).await;
        let verified = verify(&place).await.unwrap();
        assert_eq!((verified.records, verified.behind), (42, 0), "{kind:?}");
        let trees: Vec<_> = verified
            .trees
            .iter()
            .map(|tree| (tree.tree.to_string(), tree.size))
            .collect();
        let expected = [
            ("default/governance", 2),
            ("default/standard", 20),
            ("emea/long", 20),
        ];
        assert_eq!(trees, expected.map(|(name, size)| (name.to_owned(), size)));
        assert!(verified.trees.iter().all(|tree| tree.checkpoints >= 2));
        let said = verified.to_string();
        assert!(said.starts_with("ok 42 records, checkpoint "), "{said}");
        assert!(said.contains("tree emea/long 20 leaves"), "{said}");
        // The sums for dashboards count each exchange once.
        let sums = place
            .bodies_of("SELECT action, CAST(SUM(exchanges) AS bigint), '' FROM audit_hour GROUP BY action")
            .await;
        assert_eq!(sums, [("redact".to_owned(), 20, String::new())]);
    }
}

/// The strongest administrator there is rewrites records, hashes, positions, leaves, and whatever else lies in the database, so that
/// all of it fits together. The one thing that is missing is the key.
#[tokio::test]
async fn a_store_that_was_rewritten_as_a_whole_is_found_out() {
    for kind in BOTH {
        let place = place(kind).await;
        let mut sql = String::new();
        let mut heads = std::collections::BTreeMap::new();
        for (writer, sequence, body) in place.bodies().await {
            let entry: Value = serde_json::from_str(&body).unwrap();
            let held = entry["previous_hash"].as_str().unwrap();
            let previous = heads.entry(writer.clone()).or_insert_with(|| "0".repeat(64));
            let new = body.replace(held, previous).replace("j.kim", "s.lee");
            *previous = hex::encode(Sha256::digest(&new));
            let leaf = |text: &str| hex::encode(Sha256::digest([b"\0", text.as_bytes()].concat()));
            let (old_leaf, new_leaf) = (leaf(&body), leaf(&new));
            let extents = match kind {
                Kind::Sqlite => format!(
                    "UPDATE audit_extent SET hashes = unhex(replace(hex(hashes), upper('{old_leaf}'), '{new_leaf}'));"
                ),
                Kind::Postgres => format!(
                    "UPDATE audit_extent SET hashes = decode(replace(encode(hashes, 'hex'), '{old_leaf}', '{new_leaf}'), 'hex');"
                ),
            };
            writeln!(
                sql,
                "UPDATE audit_record SET body = '{new}', actor = CASE WHEN actor IS NULL THEN NULL ELSE 's.lee' END \
                 WHERE writer = '{writer}' AND sequence = {sequence}; {extents}"
            )
            .unwrap();
        }
        for (writer, hash) in &heads {
            writeln!(
                sql,
                "UPDATE audit_writer SET hash = '{hash}' WHERE writer = '{writer}';"
            )
            .unwrap();
        }
        place.execute(&sql).await;
        let said = verify(&place).await.unwrap_err();
        assert!(
            said.contains("the audit's key has not signed that"),
            "{kind:?} {said}"
        );
        // Without their signatures, the positions say nothing, and the checkpoints tell.
        place.execute("UPDATE audit_writer SET note = NULL").await;
        let said = verify(&place).await.unwrap_err();
        assert!(said.contains("is not as it was signed: tree "), "{kind:?} {said}");
        // Without checkpoints of a tree that has leaves there is nothing left to compare with: that is only found out
        // by whoever kept one elsewhere, or remembers that there were trees.
        let key = signing_key();
        let theirs = Checkpoint::new(
            "cordon/test/emea/long",
            20,
            cordon_audit::tree::leaf_hash(b"another"),
        );
        let mut note = Note::new(theirs.text()).unwrap();
        note.push(key.sign(note.text(), 0)).unwrap();
        place.execute("DELETE FROM audit_checkpoint").await;
        let said = verify_with(&place, vec![note.to_string()]).await.unwrap_err();
        assert!(said.contains("tree emea/long forks"), "{kind:?} {said}");
    }
}

#[tokio::test]
async fn every_change_to_trees_is_found_and_named() {
    for kind in BOTH {
        let place = place(kind).await;
        for table in ["extent", "checkpoint", "record", "writer", "block"] {
            place
                .execute(&format!(
                    "CREATE TABLE kept_{table} AS SELECT * FROM audit_{table}"
                ))
                .await;
        }
        let first = "tenant = 'emea' AND first_index = 0";
        let bytes = match kind {
            Kind::Sqlite => "CAST(x'ff' || substr(hashes, 2) AS BLOB)",
            Kind::Postgres => "'\\xff'::bytea || substr(hashes, 2)",
        };
        let cases = [
            (
                format!("UPDATE audit_extent SET hashes = {bytes} WHERE {first}"),
                "is altered: its tree holds another leaf for it",
            ),
            (
                format!("DELETE FROM audit_extent WHERE {first}"),
                "no tree holds it",
            ),
            (
                format!("UPDATE audit_extent SET class = 'short' WHERE {first}"),
                "another tree holds it",
            ),
            (
                "UPDATE audit_record SET class = 'short' WHERE tenant = 'emea'".to_owned(),
                "column class",
            ),
            (
                "UPDATE audit_record SET tenant = NULL WHERE tenant = 'emea'".to_owned(),
                "column tenant",
            ),
            (
                format!("UPDATE audit_extent SET first_index = 100 WHERE {first}"),
                "has no leaf",
            ),
            (
                "UPDATE audit_checkpoint SET note = replace(note, 'cordon/test', 'cordon/tess')".to_owned(),
                "not signed by the audit's key",
            ),
            (
                "UPDATE audit_checkpoint SET size = size + 1000".to_owned(),
                "not signed by the audit's key",
            ),
            (
                "UPDATE audit_checkpoint SET note = 'x'".to_owned(),
                "does not read",
            ),
            ("DELETE FROM audit_extent".to_owned(), "leaves where"),
            (
                "DELETE FROM audit_record; DELETE FROM audit_writer".to_owned(),
                "missing: the chain went on",
            ),
            (
                "DELETE FROM audit_record; DELETE FROM audit_writer; DELETE FROM audit_extent".to_owned(),
                "has 0 leaves where",
            ),
        ];
        for (sql, what) in cases {
            if sql.contains("class = 'short'") && kind == Kind::Postgres {
                place.execute("SELECT audit_prepare('short', day, day) FROM (SELECT DISTINCT at / 86400000 AS day FROM audit_record) AS d").await;
            }
            place.execute(&sql).await;
            let said = verify(&place).await.unwrap_err();
            assert!(said.contains(what), "{kind:?} {sql}\n{said}");
            for table in ["extent", "checkpoint", "record", "writer", "block"] {
                place
                    .execute(&format!(
                        "DELETE FROM audit_{table}; INSERT INTO audit_{table} SELECT * FROM kept_{table};"
                    ))
                    .await;
            }
            verify(&place).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_superuser_takes_from_the_signed_shows() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.sequenced("a")).await;
        let under_way = (0..140).map(|_| exchange(&recorder, "j.kim"));
        futures_util::future::join_all(under_way).await;
        finish(shipping).await;
        let verified = verify(&place).await.unwrap();
        assert_eq!((verified.trees[0].size, verified.behind), (280, 0));
        // What proofs are made from, and nothing else.
        place
            .execute("CREATE TABLE kept_block AS SELECT * FROM audit_block")
            .await;
        let nothing = match kind {
            Kind::Sqlite => "zeroblob(32)",
            Kind::Postgres => "decode(repeat('00', 32), 'hex')",
        };
        let forged = format!("UPDATE audit_block SET hash = {nothing}");
        for sql in [
            &*forged,
            "DELETE FROM audit_block",
            "UPDATE audit_block SET block = 1",
        ] {
            place.execute(sql).await;
            let said = verify(&place).await.unwrap_err();
            assert!(said.contains("hash for its block 0"), "{kind:?} {said}");
            place
                .execute("DELETE FROM audit_block; INSERT INTO audit_block SELECT * FROM kept_block")
                .await;
        }
        // A position without a signature is nobody's word, though checkpoints vouch for all of the records that are left.
        place
            .execute("CREATE TABLE kept_writer AS SELECT * FROM audit_writer")
            .await;
        place.execute("UPDATE audit_writer SET note = NULL").await;
        let said = verify(&place).await.unwrap_err();
        assert!(said.contains("the audit's key has not signed that"), "{said}");
        // Without its checkpoints, a tree is as good as the signature of the position.
        place
            .execute("DELETE FROM audit_writer; INSERT INTO audit_writer SELECT * FROM kept_writer")
            .await;
        place.execute("DELETE FROM audit_checkpoint").await;
        let verified = verify(&place).await.unwrap();
        assert_eq!(verified.behind, 280);
        assert!(
            verified
                .to_string()
                .contains("tree default/standard has no checkpoint")
        );
        // The machine that signed remembers.
        let key = signing_key();
        let remembered = remembered(&place.dir.path().join("signed"), key.verifying()).unwrap();
        let said = verify_with(&place, remembered).await.unwrap_err();
        assert_eq!(
            said,
            "tree default/standard has lost its checkpoint of 280 leaves, which was kept elsewhere"
        );
    }
}

#[tokio::test]
async fn trees_go_on_where_they_were_left() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let mut sizes = Vec::new();
        for _ in 0..3 {
            let (recorder, shipping) = open(place.sequenced("a")).await;
            // Enough for blocks to be complete, and for runs of more than one transaction.
            let mut under_way = Vec::new();
            for _ in 0..300 {
                under_way.push(exchange(&recorder, "j.kim"));
            }
            futures_util::future::join_all(under_way).await;
            exchange_in(&recorder, "emea", "long").await;
            finish(shipping).await;
            let verified = verify(&place).await.unwrap();
            assert_eq!(verified.behind, 0);
            sizes.push(verified.trees[0].size);
        }
        assert_eq!(sizes, [600, 1200, 1800]);
    }
}

/// What was signed cannot be taken back, so a store that was set back gets no second signature for the same size.
#[tokio::test]
async fn a_store_that_was_set_back_is_not_signed_again() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.sequenced("a")).await;
        exchange(&recorder, "j.kim").await;
        finish(shipping).await;
        for table in ["extent", "checkpoint", "record", "writer", "block"] {
            place
                .execute(&format!(
                    "CREATE TABLE kept_{table} AS SELECT * FROM audit_{table}"
                ))
                .await;
        }
        let (recorder, shipping) = open(place.sequenced("a")).await;
        exchange(&recorder, "j.kim").await;
        finish(shipping).await;
        for table in ["extent", "checkpoint", "record", "writer", "block"] {
            place
                .execute(&format!(
                    "DELETE FROM audit_{table}; INSERT INTO audit_{table} SELECT * FROM kept_{table};"
                ))
                .await;
        }
        // By a spool that the store knows nothing of, so that shipping goes on.
        let (recorder, shipping) = open(place.sequenced("b")).await;
        exchange(&recorder, "s.lee").await;
        tokio::time::timeout(Duration::from_secs(20), async {
            while recorder.metrics().sequence_failures == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!(recorder.metrics().checkpoints, 0);
        finish(shipping).await;
        let verified = verify(&place).await.unwrap();
        assert_eq!((verified.records, verified.behind), (4, 2), "{kind:?}");
    }
}

#[tokio::test]
async fn four_replicas_write_and_no_alarm_is_raised() {
    let place = Place::new(Kind::Postgres).await;
    // Makes the tables, so that they can be looked at from the beginning.
    cordon_audit::Store::create(&place.url())
        .await
        .unwrap()
        .close()
        .await;
    let mut open_ones = Vec::new();
    for spool in ["a", "b", "c", "d"] {
        open_ones.push(open(place.sequenced(spool)).await);
    }
    // Forty, or the hundredth part of a campaign where that is more.
    let turns = rounds(40, 100);
    let load = async {
        for _ in 0..turns {
            let each = open_ones.iter().map(|(recorder, _)| async move {
                for _ in 0..5 {
                    exchange(recorder, "j.kim").await;
                    exchange_in(recorder, "emea", "long").await;
                }
            });
            futures_util::future::join_all(each).await;
        }
    };
    let watching = async {
        for _ in 0..turns / 4 {
            verify(&place).await.unwrap();
        }
    };
    tokio::join!(load, watching);
    for (_, shipping) in open_ones {
        finish(shipping).await;
    }
    let verified = verify(&place).await.unwrap();
    assert_eq!((verified.records, verified.behind), (80 * turns as u64, 0));
}

/// A witness is shown that each checkpoint continues the one before, and what it says is kept.
#[tokio::test]
async fn checkpoints_are_shown_to_continue_each_other() {
    for kind in BOTH {
        let place = place(kind).await;
        let mut testimonies = Testimonies::new(place.url());
        let notes = place
            .bodies_of("SELECT tenant, size, note FROM audit_checkpoint ORDER BY tenant, class, size")
            .await;
        let mut compared = 0;
        let mut before: Option<Checkpoint> = None;
        for (_, _, note) in notes {
            let note = Note::parse(note.as_bytes()).unwrap();
            let new = Checkpoint::parse(note.text()).unwrap();
            if let Some(old) = before.filter(|old| old.origin == new.origin) {
                let tree = new.origin.rsplit_once('/').unwrap();
                let tenant = tree.0.rsplit_once('/').unwrap().1;
                let name = TreeName::new(tenant, tree.1).unwrap();
                let path = testimonies.consistency(&name, old.size, new.size).await.unwrap();
                verify_consistency(old.size, old.root, new.size, new.root, &path).unwrap();
                let about = Published {
                    tree: name,
                    checkpoint: new.clone(),
                    note,
                };
                for _ in 0..2 {
                    testimonies
                        .keep(&about, Testimony::Stamp("tsa.example", "MAA="), 1)
                        .await
                        .unwrap();
                }
                compared += 1;
            }
            before = Some(new);
        }
        assert!(compared >= 3, "{compared}");
        let kept = place
            .bodies_of("SELECT kind, size, line FROM audit_cosignature")
            .await;
        assert_eq!(kept.len(), compared, "{kind:?}");
    }
}

/// Nobody who has the store alone makes a record genuine: neither by a writer of their own, nor behind one that is gone.
#[tokio::test]
async fn what_no_gateway_signed_becomes_no_leaf() {
    for kind in BOTH {
        let place = place(kind).await;
        let forged = |body: &str| {
            let writer = "01a20000-0000-7000-8000-000000000000";
            let body = format!(
                r#"{{"at":1,"body":{body},"class":"governance","previous_hash":"{}","sequence":1,"v":1,"writer":"{writer}"}}"#,
                "0".repeat(64)
            );
            let hash = hex::encode(Sha256::digest(&body));
            format!(
                "INSERT INTO audit_writer (writer, name, sequence, hash, moved_at) VALUES ('{writer}', 'x', 1, '{hash}', 1); \
                 INSERT INTO audit_record (writer, sequence, at, kind, class, body) VALUES ('{writer}', 1, 1, 'pruned', 'governance', '{body}');"
            )
        };
        let bodies = place.bodies().await;
        let (victim, _, _) = &bodies[0];
        let body = format!(
            r#"{{"before":2,"class":"standard","kind":"pruned","runs":[{{"first":1,"last":99,"records":99,"writer":"{victim}"}}],"tenant":"default"}}"#
        );
        if kind == Kind::Postgres {
            place.execute("SELECT audit_prepare('governance', 0, 0)").await;
        }
        place.execute(&forged(&body)).await;
        let (recorder, shipping) = open(place.sequenced("c")).await;
        exchange(&recorder, "j.kim").await;
        tokio::time::timeout(Duration::from_secs(20), async {
            while recorder.metrics().sequence_failures == 0 || recorder.metrics().sequenced < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        finish(shipping).await;
        place
            .execute(&format!(
                "DELETE FROM audit_record WHERE writer = '{victim}' AND sequence = 1"
            ))
            .await;
        let said = verify(&place).await.unwrap_err();
        assert!(
            said.contains("the audit's key has not signed that"),
            "{kind:?} {said}"
        );
    }
}
