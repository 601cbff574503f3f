//! Anything may happen in any order: calls that fail, crashes, shipping, files that somebody removes. At the end the store and the spool
//! together hold what was acknowledged, once, in one chain, and each exchange has one final state.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{faults::Call, *};

#[derive(Clone, Debug)]
enum Step {
    Intent { attached: usize },
    Seal { which: prop::sample::Index },
    Fail { call: Call, times: u64 },
    Mend,
    Look,
    Ship,
    Crash,
    Remove { which: prop::sample::Index },
    Replace { which: prop::sample::Index },
    MoveAwayAndBack,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0usize..3000).prop_map(|attached| Step::Intent { attached }),
        6 => index().prop_map(|which| Step::Seal { which }),
        4 => (prop::sample::select(Call::ALL.to_vec()), 1u64..4).prop_map(|(call, times)| Step::Fail { call, times }),
        1 => Just(Step::Mend),
        2 => Just(Step::Look),
        3 => Just(Step::Ship),
        1 => Just(Step::Crash),
        1 => index().prop_map(|which| Step::Remove { which }),
        1 => index().prop_map(|which| Step::Replace { which }),
        1 => Just(Step::MoveAwayAndBack),
    ]
}

/// What callers were told.
#[derive(Default)]
struct Told {
    intents: BTreeMap<ExchangeId, Result<(), AuditUnavailable>>,
    seals: BTreeMap<ExchangeId, Result<(), AuditUnavailable>>,
}

fn run(steps: Vec<Step>) {
    let dir = fast_dir();
    let config = config(dir.path());
    let mut rig = Rig::open(config.clone()).unwrap();
    let mut told = Told::default();
    let mut store = Vec::new();
    for step in steps {
        match step {
            Step::Intent { attached } => {
                let id = ExchangeId::new();
                let mut intent = Recording::of(Body::Intent(samples::intent(id)));
                if attached > 1000 {
                    intent = intent.attach(vec![7; attached]);
                }
                told.intents.insert(id, rig.recording(intent));
            }
            Step::Seal { which } => {
                let open: Vec<_> = told
                    .intents
                    .iter()
                    .filter(|(id, told_of)| told_of.is_ok() && !told.seals.contains_key(id))
                    .map(|(id, _)| *id)
                    .collect();
                if !open.is_empty() {
                    let id = open[which.index(open.len())];
                    told.seals.insert(id, rig.seal(id));
                }
            }
            Step::Fail { call, times } => rig.faults.fail(call, times),
            Step::Mend => rig.faults.mend(),
            Step::Look => rig.look(),
            Step::Ship => rig.ship(&mut store),
            Step::Crash => {
                // What somebody removed and nobody saw yet is lost by a crash, and reported: not what is looked at here.
                rig.faults.mend();
                rig.look();
                rig.look();
                rig.end();
                rig = Rig::open(config.clone()).unwrap();
            }
            Step::Remove { which } | Step::Replace { which } => {
                let files = segments(&config.dir);
                if !files.is_empty() {
                    let file = &files[which.index(files.len())];
                    fs::remove_file(file).unwrap();
                    if matches!(step, Step::Replace { .. }) {
                        fs::write(file, "CORDSPL1 by somebody else").unwrap();
                    }
                }
            }
            Step::MoveAwayAndBack => {
                let away = dir.path().join("away");
                fs::rename(&config.dir, &away).unwrap();
                let id = ExchangeId::new();
                told.intents.insert(id, rig.intent(id));
                fs::rename(&away, &config.dir).unwrap();
            }
        }
    }
    rig.faults.mend();
    rig.look();
    rig.look();
    assert!(rig.shared.healthy());
    rig.end();
    let rig = Rig::open(config).unwrap();
    rig.ship(&mut store);
    rig.end();

    let mut previous = EntryHash::GENESIS;
    for (index, entry) in store.iter().enumerate() {
        assert_eq!(
            (entry.sequence, entry.previous_hash),
            (index as u64 + 1, previous)
        );
        previous = EntryHash::of(&entry.canonical_bytes());
    }
    for (id, told_of) in &told.intents {
        let opened = store
            .iter()
            .filter(|entry| entry.body.opens() == Some(*id))
            .count();
        assert_eq!(opened, usize::from(told_of.is_ok()), "{id} {told_of:?}");
        let expected = match (told_of, told.seals.get(id)) {
            (Err(_), _) => Vec::new(),
            (_, Some(Ok(()))) => vec![Outcome::Completed],
            _ => vec![Outcome::Unknown],
        };
        assert_eq!(outcome_of(&store, *id), expected, "{id}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(2000), ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_what_was_acknowledged_is_there_once(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
