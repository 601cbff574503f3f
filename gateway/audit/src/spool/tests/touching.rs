//! Somebody who touches the spool's files while it is open.

use super::*;
use crate::record::{SpoolTampered, Tampering};

fn findings(entries: &[Entry]) -> Vec<SpoolTampered> {
    let found = entries.iter().filter_map(|entry| match &entry.body {
        Body::SpoolTampered(finding) => Some(finding.clone()),
        _ => None,
    });
    found.collect()
}

fn active(rig: &Rig) -> PathBuf {
    let number = rig.shared.durable.borrow().segment;
    segment_path(&rig.shared.dir, number)
}

#[test]
fn a_segment_that_is_removed_or_replaced_comes_back() {
    type Touch = fn(&Path);
    let touches: [(Touch, Tampering); 3] = [
        (|file| fs::remove_file(file).unwrap(), Tampering::SegmentRemoved),
        (
            |file| {
                // A copy reads the same, and is not what the writer writes to.
                let copy = file.with_extension("copy");
                fs::copy(file, &copy).unwrap();
                fs::rename(copy, file).unwrap();
            },
            Tampering::SegmentReplaced,
        ),
        (
            |file| {
                fs::remove_file(file).unwrap();
                fs::write(file, "something else").unwrap();
            },
            Tampering::SegmentReplaced,
        ),
    ];
    // Seen before an acknowledgement, or by the look of each second.
    for (index, (touch, what)) in touches.into_iter().enumerate() {
        for by_look in [false, true] {
            let dir = fast_dir();
            let config = config(dir.path());
            let rig = Rig::open(config.clone()).unwrap();
            let ids: Vec<_> = (0..4).map(|_| ExchangeId::new()).collect();
            for id in &ids[..3] {
                rig.intent(*id).unwrap();
            }
            let file = active(&rig);
            touch(&file);
            if by_look {
                rig.look();
            }
            rig.intent(ids[3]).unwrap();
            assert!(rig.shared.healthy());
            assert_eq!(rig.shared.counters.tampered.load(Relaxed), 1);
            // A crash now loses nothing: all of it can be found by name.
            let copied = dir.path().join("copy");
            copy(&config.dir, &copied);
            assert!(recover(&copied).unwrap().head.sequence >= 4, "{index} {by_look}");
            for id in &ids {
                rig.seal(*id).unwrap();
            }
            rig.end();
            let all = entries(&config);
            for id in &ids {
                assert_eq!(outcome_of(&all, *id), [Outcome::Completed]);
            }
            let expected = SpoolTampered {
                what,
                segment: Some(1),
                first_sequence: Some(1),
                last_sequence: Some(3),
                restored: true,
            };
            assert_eq!(findings(&all), [expected]);
            assert_eq!(
                file.with_extension("found").exists(),
                what == Tampering::SegmentReplaced
            );
        }
    }
}

#[test]
fn a_segment_that_waits_to_be_shipped_comes_back() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    for _ in 0..30 {
        rig.intent(ExchangeId::new()).unwrap();
    }
    let files = segments(&config.dir);
    assert!(files.len() > 3);
    fs::remove_file(&files[1]).unwrap();
    fs::remove_file(&files[0]).unwrap();
    // Shipping does not even notice.
    let mut reader = Reader::new(Arc::clone(&rig.shared), Link::START);
    let most = Most {
        entries: 100,
        bytes: 1 << 20,
    };
    assert_eq!(reader.read(most).unwrap().len(), 30);
    drop(reader);
    rig.look();
    rig.look();
    rig.end();
    let all = entries(&config);
    let found = findings(&all);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|finding| finding.restored));
    assert_eq!(found[0].segment, Some(1));
    assert_eq!(
        found[1].first_sequence,
        found[0].last_sequence.map(|last| last + 1)
    );
}

#[test]
fn a_segment_that_cannot_be_put_back_is_recorded_once_and_again_when_it_can() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    for _ in 0..10 {
        rig.intent(ExchangeId::new()).unwrap();
    }
    fs::remove_file(&segments(&config.dir)[0]).unwrap();
    rig.faults.break_for_good(faults::Call::Create);
    for _ in 0..3 {
        rig.look();
    }
    assert_eq!(rig.shared.counters.tampered.load(Relaxed), 1);
    rig.faults.mend();
    for _ in 0..3 {
        rig.look();
    }
    rig.end();
    let restored: Vec<_> = findings(&entries(&config))
        .iter()
        .map(|finding| finding.restored)
        .collect();
    assert_eq!(restored, [false, true]);
}

#[test]
fn a_directory_that_is_moved_away_refuses_until_it_is_back() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let (before, after) = (ExchangeId::new(), ExchangeId::new());
    rig.intent(before).unwrap();
    let away = dir.path().join("away");
    for replaced in [false, true] {
        fs::rename(&config.dir, &away).unwrap();
        if replaced {
            copy(&away, &config.dir);
        }
        assert_eq!(rig.intent(ExchangeId::new()), Err(AuditUnavailable::WriteFailed));
        rig.look();
        assert!(!rig.shared.healthy());
        // What was acknowledged can still be shipped.
        let mut reader = Reader::new(Arc::clone(&rig.shared), Link::START);
        let most = Most {
            entries: 1,
            bytes: 1 << 20,
        };
        assert_eq!(reader.read(most).unwrap().len(), 1);
        if replaced {
            fs::remove_dir_all(&config.dir).unwrap();
        }
        fs::rename(&away, &config.dir).unwrap();
        rig.look();
        assert!(rig.shared.healthy());
    }
    rig.intent(after).unwrap();
    rig.seal(before).unwrap();
    rig.seal(after).unwrap();
    rig.end();
    let all = entries(&config);
    assert_eq!(outcome_of(&all, before), [Outcome::Completed]);
    assert_eq!(outcome_of(&all, after), [Outcome::Completed]);
    let whats: Vec<_> = findings(&all).iter().map(|finding| finding.what).collect();
    assert_eq!(whats, [Tampering::DirectoryMoved; 2]);
}
