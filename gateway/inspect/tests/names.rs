//! The real token classifier on texts that word lists cannot know.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Instant,
};

use cordon_domain::{Finding, Place, Role, Segment, Text};
use cordon_inspect::{Inspector, Missed, Ner, NerFiles};

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/names");
    assert!(
        folder.join("made-by").exists(),
        "the token classifier is missing: run `scripts/setup names` first, or just `make test`"
    );
    folder
}

/// One for all tests: ONNX Runtime is loaded once a process.
fn inspector() -> &'static Inspector {
    static INSPECTOR: OnceLock<Inspector> = OnceLock::new();
    INSPECTOR.get_or_init(|| {
        let ner = Ner::load(&NerFiles::in_folder(&folder()), 2).expect("the classifier loads");
        Inspector::embedded()
            .expect("the embedded detectors compile")
            .with_ner(Some(Arc::new(ner)))
    })
}

fn segment(text: &str) -> Segment {
    Segment {
        place: Place::new("/messages/0/content"),
        role: Role::User,
        text: Text::from(text.to_owned()),
    }
}

fn found(text: &str) -> Vec<Finding> {
    let (findings, missed) = inspector().inspect_fully(&[segment(text)], None);
    assert_eq!(missed, None);
    findings
}

/// What was found of an entity type, as it stands in the text.
fn told<'t>(text: &'t str, entity: &str) -> Vec<&'t str> {
    found(text)
        .into_iter()
        .filter(|finding| finding.entity.as_str() == entity)
        .map(|finding| &text[finding.span])
        .collect()
}

#[test]
fn names_are_found_without_a_list() {
    let text =
        "Yesterday I spoke with Thandiwe Okonkwo-Reyes about the lot; she will call Bjarnheiður tomorrow.";
    let people = told(text, "PERSON").join(" | ");
    assert!(people.contains("Thandiwe Okonkwo-Reyes"), "{people}");
    assert!(people.contains("Bjarnhei"), "{people}");
}

#[test]
fn an_address_is_one_finding_and_a_city_is_a_place() {
    let text =
        "Please send the parcel to 4821 Quillfeather Bend, Apt 7, Marlowbrook, OH 44101 before Friday.";
    let addresses = told(text, "ADDRESS");
    assert_eq!(addresses.len(), 1, "{addresses:?}");
    assert!(
        addresses[0].starts_with("4821") && addresses[0].contains("Marlowbrook"),
        "{addresses:?}"
    );
    let text = "Our next customer workshop takes place in Rotterdam.";
    assert_eq!(told(text, "LOCATION"), ["Rotterdam"]);
}

#[test]
fn findings_speak_of_the_original_bytes() {
    // Full-width letters and a zero-width space: the classifier reads the normalised view.
    let text = "Ｐｌｅａｓｅ ask Marguerite\u{200b} Delacroix about it.";
    let people = told(text, "PERSON").join("");
    assert!(people.contains("Delacroix"), "{people:?}");
}

#[test]
fn a_long_text_is_read_to_its_end_and_known_again() {
    let filler = "The meeting went through the open points and agreed on the next steps without objections. ";
    let text = format!("{}Then Oluwaseun Adebayo-Smith closed it.", filler.repeat(900));
    let first = found(&text);
    assert!(
        first
            .iter()
            .any(|finding| text[finding.span.clone()].contains("Adebayo")),
        "the end was not read"
    );
    // What was read before is known at once, even when there is no time to read.
    let again = inspector().inspect_fully(&[segment(&text)], Some(Instant::now()));
    assert_eq!(again, (first, None));
}

#[test]
fn code_is_not_read_for_names() {
    let text = "fn merge(left: &[u32], right: &[u32]) -> Vec<u32> {\n    let mut out = Vec::with_capacity(left.len());\n    for value in left {\n        out.push(*value);\n    }\n    out.extend_from_slice(right);\n    out\n}\n";
    assert_eq!(told(text, "PERSON"), [""; 0]);
}

#[test]
fn past_the_deadline_all_the_rest_is_found_and_it_is_said() {
    let text = "Ask Thandiwe Okonkwo at thandiwe@corp.example.";
    let (findings, missed) = inspector().inspect_fully(&[segment(text)], Some(Instant::now()));
    assert_eq!(missed, Some(Missed::Late));
    assert!(findings.iter().any(|finding| finding.entity.as_str() == "EMAIL"));
}

#[test]
fn what_does_not_fit_is_told_by_file() {
    let scratch = tempfile::tempdir().unwrap();
    let mut files = NerFiles::in_folder(&folder());
    files.labels = scratch.path().join("config.json");
    std::fs::write(&files.labels, r#"{"id2label": {"0": "O", "1": "B-SURNAME"}}"#).unwrap();
    let error = Ner::load(&files, 1).unwrap_err().to_string();
    assert!(error.contains("model.onnx"), "{error}");
    std::fs::write(&files.labels, r#"{"id2label": {"0": "O"}}"#).unwrap();
    let error = Ner::load(&files, 1).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    std::fs::write(&files.labels, "no JSON").unwrap();
    let error = Ner::load(&files, 1).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}

/// An inspector with a classifier of its own.
fn inspector_of(files: &NerFiles) -> Inspector {
    let ner = Ner::load(files, 1).expect("the classifier loads");
    Inspector::embedded()
        .expect("the embedded detectors compile")
        .with_ner(Some(Arc::new(ner)))
}

#[test]
fn labels_of_other_classifiers_are_told_by_the_configuration() {
    let scratch = tempfile::tempdir().unwrap();
    let mut files = NerFiles::in_folder(&folder());
    let labels = std::fs::read_to_string(&files.labels).unwrap();
    files.labels = scratch.path().join("config.json");
    std::fs::write(&files.labels, labels.replace("SURNAME", "NACHNAME")).unwrap();
    files.meanings = BTreeMap::from([
        ("nachname".to_owned(), "PERSON".to_owned()),
        ("CITY".to_owned(), "NONE".to_owned()),
    ]);
    let text = "Bjarnheiður Okonkwo-Reyes met us in Rotterdam.";
    let (findings, _) = inspector_of(&files).inspect_fully(&[segment(text)], None);
    let surname = findings.iter().any(|finding| {
        &*finding.detector == "person-recognised" && text[finding.span.clone()].contains("Okonkwo")
    });
    assert!(surname, "{findings:?}");
    let recognised = findings
        .iter()
        .any(|finding| &*finding.detector == "location-recognised");
    assert!(!recognised, "a city is not asked for");
    files.meanings = BTreeMap::from([("CITY".to_owned(), "TOWN".to_owned())]);
    let error = Ner::load(&files, 1).unwrap_err().to_string();
    assert!(error.contains("CITY") && error.contains("TOWN"), "{error}");
}

#[test]
fn a_gliner_is_asked_for_what_the_configuration_says() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gliner");
    let mut files = NerFiles::in_folder(&own);
    files.runtime = NerFiles::in_folder(&folder()).runtime;
    files.meanings = BTreeMap::from([
        ("person".to_owned(), "PERSON".to_owned()),
        ("city".to_owned(), "LOCATION".to_owned()),
    ]);
    let filler = "We went through the open points. ".repeat(60);
    let text = format!("{filler}\nThen thandiwe okonkwo left for leith, (okonkwo) too.\n{filler}");
    let (findings, missed) = inspector_of(&files).inspect_fully(&[segment(&text)], None);
    assert_eq!(missed, None);
    let found: Vec<(&str, &str)> = findings
        .iter()
        .filter(|finding| finding.detector.ends_with("-recognised"))
        .map(|finding| (finding.entity.as_str(), &text[finding.span.clone()]))
        .collect();
    assert_eq!(
        found,
        [
            ("PERSON", "thandiwe okonkwo"),
            ("LOCATION", "leith"),
            ("PERSON", "okonkwo")
        ]
    );
    // The graph has two classes, so it does not answer the five usual questions.
    files.meanings.clear();
    let error = Ner::load(&files, 1).unwrap_err().to_string();
    assert!(error.contains("model.onnx"), "{error}");
}
