//! The embedded policy, against the detectors that are part of the program.

use cordon_inspect::Inspector;
use cordon_policy::{Policy, policytest};

fn inspector() -> Inspector {
    Inspector::embedded().unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn policy() -> Policy {
    let (name, yaml) = Policy::embedded_default();
    Policy::parse(name, yaml).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

// One test, because compiling the detectors is most of what it takes.
#[test]
fn it_names_what_is_found_and_its_tests_hold() {
    let inspector = inspector();
    let (name, yaml) = Policy::embedded_default_tests();
    let outcomes = policytest::run(&policy(), name, yaml, &|segments| inspector.inspect_all(segments))
        .unwrap_or_else(|faults| panic!("{faults:#?}"));
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.passed())
        .flat_map(|outcome| {
            let name = outcome.name.clone();
            outcome
                .differences
                .iter()
                .map(move |difference| format!("{difference} ({name})"))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(outcomes.len() >= 14);

    let unknown = policy().check_entities(&inspector.entity_types());
    assert!(unknown.is_empty(), "{unknown:#?}");
}
