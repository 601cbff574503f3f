//! What a destination gets: every record in its writer's order, again until it is confirmed, and never more than a page at once.

use std::collections::BTreeMap;

use cordon_audit::{Feed, Page, Recorder, Store, StoreError, WriterId};
use uuid::Uuid;

use crate::databases::{BOTH, Kind, Place, exchange, finish};

const SIEM: &str = "siem";

async fn feed(place: &Place) -> Feed {
    Feed::open(&place.url(), SIEM).await.unwrap().unwrap()
}

/// All that there is.
async fn drain(feed: &mut Feed) -> Vec<Page> {
    let mut pages = Vec::new();
    while let Some(page) = feed.page().await.unwrap() {
        pages.push(page);
    }
    pages
}

/// Ids in the order that they came in.
fn ids(pages: &[Page]) -> Vec<String> {
    let records = pages.iter().flat_map(|page| &page.records);
    records.map(cordon_audit::FedRecord::id).collect()
}

fn sequences(pages: &[Page]) -> Vec<u64> {
    let records = pages.iter().flat_map(|page| &page.records);
    records.map(|record| record.entry.sequence).collect()
}

fn missing(pages: &[Page]) -> Vec<(u64, u64)> {
    let missing = pages.iter().flat_map(|page| &page.missing);
    missing.map(|range| (*range.start(), *range.end())).collect()
}

async fn exchanges(recorder: &Recorder, count: usize) {
    let tasks = (0..count).map(|_| {
        let recorder = recorder.clone();
        tokio::spawn(async move { exchange(&recorder, "j.kim").await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_comes_in_its_writers_order_and_again_until_it_is_confirmed() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        for (spool, count) in [("a", 1200), ("b", 700)] {
            let (recorder, shipping) = place.open(spool).await;
            exchanges(&recorder, count).await;
            finish(shipping).await;
        }
        let mut first = feed(&place).await;
        assert_eq!(first.lag(), 3800);
        let pages = drain(&mut first).await;
        assert!(missing(&pages).is_empty());
        assert!(pages.iter().all(|page| (1..=1000).contains(&page.records.len())));
        assert!(
            pages[0].writer != pages[1].writer,
            "no writer waits for another one's backlog"
        );
        let mut by_writer: BTreeMap<WriterId, Vec<(u64, &str)>> = BTreeMap::new();
        for page in &pages {
            assert!(["a", "b"].contains(&&*page.name));
            let of = by_writer.entry(page.writer).or_default();
            of.extend(
                page.records
                    .iter()
                    .map(|record| (record.entry.sequence, record.body.as_str())),
            );
        }
        let fed: Vec<(String, i64, String)> = by_writer
            .iter()
            .flat_map(|(writer, records)| {
                records.iter().map(|(sequence, body)| {
                    (
                        writer.to_string(),
                        i64::try_from(*sequence).unwrap(),
                        (*body).to_owned(),
                    )
                })
            })
            .collect();
        assert_eq!(fed, place.bodies().await);

        // Nobody has said that they arrived.
        first.close().await;
        let mut second = feed(&place).await;
        let again = drain(&mut second).await;
        assert_eq!(ids(&again).len(), 3800);
        assert_eq!(second.confirm(7).await.unwrap(), 3800);
        assert_eq!((second.confirm(8).await.unwrap(), second.lag()), (0, 0));

        // What comes in later is seen by the same feed and by the next one.
        let (recorder, shipping) = place.open("a").await;
        exchange(&recorder, "s.lee").await;
        finish(shipping).await;
        let new = loop {
            // Positions are looked at again within a second.
            let pages = drain(&mut second).await;
            if !pages.is_empty() {
                break pages;
            }
        };
        assert_eq!(sequences(&new), [2401, 2402]);
        assert_eq!(second.lag(), 2);
        second.close().await;
        let mut third = feed(&place).await;
        assert_eq!(sequences(&drain(&mut third).await), [2401, 2402]);
        assert_eq!(third.confirm(9).await.unwrap(), 2);
        third.close().await;
        let mut other = Feed::open(&place.url(), "another").await.unwrap().unwrap();
        assert_eq!(other.lag(), 3802, "each destination has cursors of its own");
        other.page().await.unwrap();
        other.close().await;
    }
}

#[tokio::test]
async fn one_gateway_at_a_time_has_a_destinations_feed() {
    let place = Place::new(Kind::Postgres).await;
    let (recorder, shipping) = place.open("a").await;
    exchange(&recorder, "j.kim").await;
    finish(shipping).await;
    let mut held = feed(&place).await;
    assert!(Feed::open(&place.url(), SIEM).await.unwrap().is_none());
    let other = Feed::open(&place.url(), "another").await.unwrap();
    other.unwrap().close().await;
    drain(&mut held).await;

    // The server ends its connection: another gateway takes over, and this one moves no cursor any more.
    place
        .execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = hashtext('cordon audit delivery to siem')::oid AND objid = hashtext(current_schema())::oid")
        .await;
    let mut next = loop {
        if let Some(feed) = Feed::open(&place.url(), SIEM).await.unwrap() {
            break feed;
        }
    };
    assert!(held.confirm(1).await.is_err());
    assert_eq!(sequences(&drain(&mut next).await), [1, 2]);
    held.close().await;
    next.close().await;
}

#[tokio::test]
async fn what_was_pruned_before_is_told_once_and_the_rest_goes_on() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        for _ in 0..6 {
            exchange(&recorder, "j.kim").await;
        }
        finish(shipping).await;
        // The first that is there is the first that a new destination gets.
        place
            .execute("DELETE FROM audit_record WHERE sequence <= 2 OR sequence BETWEEN 5 AND 7")
            .await;
        place
            .execute("UPDATE audit_record SET body = 'altered' WHERE sequence = 9")
            .await;
        let mut now = feed(&place).await;
        let pages = drain(&mut now).await;
        assert_eq!(sequences(&pages), [3, 4, 8, 10, 11, 12]);
        assert_eq!(missing(&pages), [(5, 7), (9, 9)]);
        assert_eq!(now.confirm(1).await.unwrap(), 6);
        now.close().await;

        let (recorder, shipping) = place.open("a").await;
        exchange(&recorder, "j.kim").await;
        finish(shipping).await;
        place.execute("DELETE FROM audit_record WHERE sequence > 4").await;
        let mut now = feed(&place).await;
        let pages = drain(&mut now).await;
        assert_eq!((sequences(&pages), missing(&pages)), (vec![], vec![(13, 14)]));
        assert_eq!(now.confirm(2).await.unwrap(), 0);
        assert_eq!(now.lag(), 0);
        now.close().await;
        let mut now = feed(&place).await;
        assert!(now.page().await.unwrap().is_none());
        now.close().await;
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_hides_no_record() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        exchange(&recorder, "j.kim").await;
        finish(shipping).await;
        let mut now = feed(&place).await;
        assert_eq!(sequences(&drain(&mut now).await), [1, 2]);
        now.confirm(1).await.unwrap();
        let (recorder, shipping) = place.open("a").await;
        exchange(&recorder, "j.kim").await;
        exchange(&recorder, "j.kim").await;
        finish(shipping).await;
        if kind == Kind::Postgres {
            place.execute("SELECT audit_prepare('standard', 10, 10)").await;
        }
        // Two days of January 1970.
        place
            .execute("UPDATE audit_record SET at = 864000000 WHERE sequence IN (3, 5)")
            .await;
        let pages = loop {
            let pages = drain(&mut now).await;
            if !pages.is_empty() {
                break pages;
            }
        };
        assert_eq!((sequences(&pages), missing(&pages)), (vec![3, 4, 5, 6], vec![]));
        now.close().await;
    }
}

#[tokio::test]
async fn the_role_that_reads_may_deliver_and_a_reader_may_not() {
    let place = Place::new(Kind::Postgres).await;
    let store = Store::create(&place.url()).await.unwrap();
    store.close().await;
    let (recorder, shipping) = place.open("a").await;
    exchange(&recorder, "j.kim").await;
    finish(shipping).await;
    let id = Uuid::now_v7().simple();
    for purpose in ["reader", "sequencer"] {
        let role = format!("cordon_{purpose}_{id}");
        place
            .execute(&format!(
                "CREATE ROLE {role} LOGIN; SELECT audit_grant('{role}', '{purpose}')"
            ))
            .await;
        let feed = Feed::open(&place.url_as(&role), SIEM).await;
        if purpose == "reader" {
            // What could not be confirmed would be sent for ever.
            assert!(matches!(feed, Err(StoreError::NotDeliverable)));
        } else {
            let mut feed = feed.unwrap().unwrap();
            assert_eq!(sequences(&drain(&mut feed).await), [1, 2]);
            feed.confirm(1).await.unwrap();
            feed.close().await;
        }
        place
            .execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
            .await;
    }
}

#[tokio::test]
async fn a_cursor_that_somebody_moved_past_the_records_hides_none() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = place.open("a").await;
        exchange(&recorder, "j.kim").await;
        finish(shipping).await;
        let mut feed = Feed::open(&place.url(), SIEM).await.unwrap().unwrap();
        assert_eq!(sequences(&drain(&mut feed).await), [1, 2]);
        feed.confirm(1).await.unwrap();
        feed.close().await;
        place.execute("UPDATE audit_delivery SET sequence = 9000").await;
        let mut feed = Feed::open(&place.url(), SIEM).await.unwrap().unwrap();
        assert_eq!(sequences(&drain(&mut feed).await), [1, 2], "{kind:?}");
        feed.confirm(2).await.unwrap();
        assert_eq!(feed.lag(), 0, "{kind:?}");
        feed.close().await;
        let mut feed = Feed::open(&place.url(), SIEM).await.unwrap().unwrap();
        assert!(drain(&mut feed).await.is_empty(), "{kind:?}: it is right again");
        feed.close().await;
    }
}
