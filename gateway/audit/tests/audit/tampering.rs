//! A database administrator at work: each kind of change is found and named.

use std::fmt::Write as _;

use serde_json::Value;

use crate::databases::{BOTH, Kind, Place, exchange, finish, verify};

/// Two chains, the first of eight records by the spool `a`; a copy of the tables to go back to.
async fn place(kind: Kind) -> (Place, String) {
    let place = Place::new(kind).await;
    for spool in ["a", "b"] {
        let (recorder, shipping) = place.open(spool).await;
        for _ in 0..4 {
            exchange(&recorder, "j.kim").await;
        }
        finish(shipping).await;
    }
    let writer = std::fs::read_to_string(place.spool("a").join("writer"))
        .unwrap()
        .trim()
        .to_owned();
    place
        .execute(
            "CREATE TABLE kept_record AS SELECT * FROM audit_record; \
             CREATE TABLE kept_writer AS SELECT * FROM audit_writer;",
        )
        .await;
    (place, writer)
}

async fn restore(place: &Place) {
    place
        .execute(
            "DELETE FROM audit_record; INSERT INTO audit_record SELECT * FROM kept_record; \
             DELETE FROM audit_writer; INSERT INTO audit_writer SELECT * FROM kept_writer;",
        )
        .await;
}

#[tokio::test]
async fn every_kind_of_tampering_is_found_and_named() {
    for kind in BOTH {
        let (place, writer) = place(kind).await;
        let spool = place.spool("a");
        assert_eq!(verify(&place, Some(&spool)).await.unwrap().records, 16);
        let here = |sequence: u32| format!("writer = '{writer}' AND sequence = {sequence}");
        let cases = [
            // In the body only: at the start, in the middle, at the end.
            (format!("UPDATE audit_record SET body = replace(body, '\"stream\":true', '\"stream\":false') WHERE {}", here(1)), 1, "is altered: the chain"),
            (format!("UPDATE audit_record SET body = replace(body, '\"stream\":true', '\"stream\":false') WHERE {}", here(5)), 5, "is altered: the chain"),
            (format!("UPDATE audit_record SET body = replace(body, '\"status\":200', '\"status\":400') WHERE {}", here(8)), 8, "is altered: the chain"),
            // In the column only, and in both.
            (format!("UPDATE audit_record SET actor = 'a.nother' WHERE {}", here(3)), 3, "is altered: column actor"),
            (format!("UPDATE audit_record SET actor = NULL WHERE {}", here(3)), 3, "is altered: column actor"),
            (format!("UPDATE audit_record SET kind = 'seal' WHERE {}", here(3)), 3, "is altered: column kind"),
            (format!("UPDATE audit_record SET at = at + 1 WHERE {}", here(4)), 4, "is altered: column at"),
            (format!("UPDATE audit_record SET actor = 'a.nother', body = replace(body, 'j.kim', 'a.nother') WHERE {}", here(3)), 3, "is altered: the chain"),
            // The link itself.
            (format!("UPDATE audit_record SET body = replace(body, '\"previous_hash\":\"', '\"previous_hash\":\"0') WHERE {}", here(6)), 6, "is altered: its body"),
            (format!("UPDATE audit_record SET body = 'x' WHERE {}", here(2)), 2, "is altered: its body"),
            (format!("DELETE FROM audit_record WHERE {}", here(1)), 1, "is missing"),
            (format!("DELETE FROM audit_record WHERE {}", here(4)), 4, "is missing"),
            (format!("DELETE FROM audit_record WHERE writer = '{writer}' AND sequence > 6"), 7, "and those behind it are missing"),
            (format!("DELETE FROM audit_record WHERE writer = '{writer}'"), 1, "and those behind it are missing"),
            // Two records change places.
            (format!(
                "UPDATE audit_record SET sequence = 99 WHERE {}; UPDATE audit_record SET sequence = 3 WHERE {}; UPDATE audit_record SET sequence = 5 WHERE {};",
                here(3), here(5), here(99)
            ), 3, "is reordered: record 5"),
            (format!(
                "INSERT INTO audit_record (writer, sequence, at, kind, class, body) SELECT writer, 9, at, kind, class, body FROM kept_record WHERE {}",
                here(2)
            ), 9, "was added"),
            (format!(
                "INSERT INTO audit_record (writer, sequence, at, kind, class, body) SELECT writer, -1, at, kind, class, body FROM kept_record WHERE {}",
                here(2)
            ), 0, "was added"),
            // The position too.
            (format!("DELETE FROM audit_writer WHERE writer = '{writer}'"), 8, "has no writer"),
            (format!("DELETE FROM audit_writer WHERE writer = '{writer}'; DELETE FROM audit_record WHERE writer = '{writer}'"), 1, "and those behind it are missing"),
            (format!(
                "DELETE FROM audit_record WHERE writer = '{writer}' AND sequence > 6; \
                 UPDATE audit_writer SET sequence = 6, hash = (SELECT substr(body, strpos_or_instr, 64) FROM (SELECT body, POSITION_OF AS strpos_or_instr FROM kept_record WHERE {}) AS k) WHERE writer = '{writer}'",
                here(7)
            ).replace(
                "POSITION_OF",
                match kind {
                    Kind::Sqlite => "instr(body, 'previous_hash') + 16",
                    Kind::Postgres => "strpos(body, 'previous_hash') + 16",
                },
            ), 7, "and those behind it are missing"),
        ];
        for (sql, sequence, what) in cases {
            place.execute(&sql).await;
            let said = verify(&place, Some(&spool)).await.unwrap_err();
            assert!(
                said.starts_with(&format!("record {writer}:{sequence} {what}")),
                "{kind:?} {sql}\n{said}"
            );
            restore(&place).await;
        }
        verify(&place, Some(&spool)).await.unwrap();
    }
}

#[tokio::test]
async fn a_doubled_record_is_found_where_keys_were_dropped() {
    for kind in BOTH {
        let (place, writer) = place(kind).await;
        place
            .execute(match kind {
                Kind::Sqlite => "DROP TABLE audit_record; ALTER TABLE kept_record RENAME TO audit_record;",
                // Its partitions have no key to drop: a key of theirs would have to hold the time, too.
                Kind::Postgres => "SELECT 1",
            })
            .await;
        verify(&place, None).await.unwrap();
        for sequence in [1, 5, 8] {
            let copy = format!(
                "CREATE TABLE copy_record AS SELECT * FROM audit_record WHERE writer = '{writer}' AND sequence = {sequence}; \
                 INSERT INTO audit_record SELECT * FROM copy_record;"
            );
            place.execute(&copy).await;
            let said = verify(&place, None).await.unwrap_err();
            assert_eq!(
                said,
                format!("record {writer}:{sequence} is there more than once")
            );
            let undo = match kind {
                Kind::Sqlite => {
                    "DELETE FROM audit_record WHERE rowid = (SELECT MAX(rowid) FROM audit_record); DROP TABLE copy_record;"
                }
                Kind::Postgres => {
                    "DELETE FROM audit_record WHERE ctid = (SELECT MAX(ctid) FROM audit_record WHERE (writer, sequence) IN (SELECT writer, sequence FROM copy_record)); DROP TABLE copy_record;"
                }
            };
            place.execute(undo).await;
            verify(&place, None).await.unwrap();
        }
    }
}

/// The strongest administrator rewrites a whole chain with new hashes. Only what lies outside of the database tells.
#[tokio::test]
async fn a_chain_rewritten_with_new_hashes_is_found_with_the_spool_at_hand() {
    use sha2::{Digest, Sha256};

    for kind in BOTH {
        let (place, writer) = place(kind).await;
        let mut sql = String::new();
        let mut previous = "0".repeat(64);
        let mut last = 0;
        for (_, sequence, body) in place.bodies().await.into_iter().filter(|(w, _, _)| *w == writer) {
            let entry: Value = serde_json::from_str(&body).unwrap();
            let held = entry["previous_hash"].as_str().unwrap();
            let body = body.replace(held, &previous).replace("j.kim", "s.lee");
            previous = hex::encode(Sha256::digest(&body));
            last = sequence;
            writeln!(
                sql,
                "UPDATE audit_record SET body = '{body}', actor = CASE WHEN actor IS NULL THEN NULL ELSE 's.lee' END WHERE writer = '{writer}' AND sequence = {sequence};"
            )
            .unwrap();
        }
        writeln!(
            sql,
            "UPDATE audit_writer SET hash = '{previous}' WHERE writer = '{writer}';"
        )
        .unwrap();
        place.execute(&sql).await;
        let said = verify(&place, Some(&place.spool("a"))).await.unwrap_err();
        assert!(
            said.starts_with(&format!(
                "record {writer}:{last} is not the one that the spool shipped"
            )),
            "{said}"
        );
        // The documented limit of a chain without signed checkpoints: the store alone is consistent.
        verify(&place, None).await.unwrap();
    }
}
