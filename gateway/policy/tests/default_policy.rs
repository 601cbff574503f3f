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

#[test]
fn every_entity_type_it_names_is_found_by_someone() {
    let unknown = policy().check_entities(&inspector().entity_types());
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn the_tests_beside_it_hold() {
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
}
