//! Disks that fail: whatever fails, what was acknowledged is there, once.

use super::{faults::Call, *};

#[test]
fn a_failed_sync_moves_on_to_a_new_file() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let ids: Vec<_> = (0..5).map(|_| ExchangeId::new()).collect();
    for id in &ids {
        rig.faults.fail(Call::SyncData, 1);
        rig.intent(*id).unwrap();
    }
    assert!(rig.shared.healthy());
    assert_eq!(rig.shared.counters.write_failures.load(Relaxed), 5);
    for id in &ids {
        rig.seal(*id).unwrap();
    }
    rig.end();
    // The files given up hold the same entries; they count once.
    assert_eq!(entries(&config).len(), 10);
}

#[test]
fn a_disk_that_fails_refuses_and_recovers() {
    let broken: [&[Call]; 8] = [
        &[Call::SyncData, Call::SyncAll],
        &[Call::Write],
        &[Call::Create, Call::SyncData],
        &[Call::Remove, Call::SyncData, Call::SyncAll],
        &[Call::SyncDir, Call::SyncData],
        &[Call::Stat, Call::SyncData],
        &[Call::Handle, Call::Write],
        &[Call::Lookup],
    ];
    for broken in broken {
        let dir = fast_dir();
        let config = config(dir.path());
        let rig = Rig::open(config.clone()).unwrap();
        let (before, during, after) = (ExchangeId::new(), ExchangeId::new(), ExchangeId::new());
        rig.intent(before).unwrap();
        broken.iter().for_each(|call| rig.faults.break_for_good(*call));
        assert_eq!(
            rig.intent(during),
            Err(AuditUnavailable::WriteFailed),
            "{broken:?}"
        );
        assert_eq!(rig.seal(before), Err(AuditUnavailable::WriteFailed));
        rig.look();
        assert!(!rig.shared.healthy(), "{broken:?}");
        rig.faults.mend();
        rig.look();
        assert!(rig.shared.healthy(), "{broken:?}");
        rig.intent(after).unwrap();
        rig.seal(after).unwrap();
        rig.end();
        let all = entries(&config);
        // What was refused is not there; what could not be sealed was sealed when it could.
        assert!(!all.iter().any(|entry| entry.body.exchange() == Some(during)));
        assert_eq!(outcome_of(&all, before), [Outcome::Unknown]);
        assert_eq!(outcome_of(&all, after), [Outcome::Completed]);
        assert_eq!(all.len(), 4, "{broken:?}");
    }
}

#[test]
fn a_crash_while_the_disk_fails_keeps_what_was_acknowledged() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let before = ExchangeId::new();
    rig.intent(before).unwrap();
    rig.faults.break_for_good(Call::Write);
    rig.faults.break_for_good(Call::Remove);
    for _ in 0..3 {
        assert_eq!(rig.intent(ExchangeId::new()), Err(AuditUnavailable::WriteFailed));
        rig.look();
    }
    rig.end();
    let all = entries(&config);
    assert_eq!(outcome_of(&all, before), [Outcome::Unknown]);
    assert_eq!(all.len(), 2);
}

#[test]
fn a_spare_that_cannot_be_used_is_replaced_by_a_new_file() {
    for call in [Call::Rename, Call::Open, Call::SyncAll, Call::SyncDir, Call::Stat] {
        let dir = fast_dir();
        let config = config(dir.path());
        let rig = Rig::open(config.clone()).unwrap();
        for _ in 0..30 {
            rig.intent(ExchangeId::new()).unwrap();
        }
        rig.ship(&mut Vec::new());
        assert!(rig.shared.spares().len() > 1);
        let made = rig.shared.segments().keys().next_back().copied();
        rig.faults.fail(call, 1);
        let mut written = 0;
        while rig.shared.segments().keys().next_back().copied() == made {
            rig.intent(ExchangeId::new()).unwrap();
            written += 1;
            assert!(written < 30);
        }
        rig.end();
        recover(&config.dir).unwrap();
    }
}
