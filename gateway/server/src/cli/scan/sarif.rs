//! SARIF 2.1.0, which code hosts and build servers show beside the source.
//!
//! Written as findings come, since there may be many. It holds places and types, never the text. The
//! fingerprint by which a host knows a result again is made of path, detector and count within the file:
//! a hash of the value would be a hash of a secret.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Component, Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::report::{Reported, rounded};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// A SARIF document that is being written.
#[derive(Default)]
pub(super) struct Sarif {
    /// Detector and the type that it finds.
    rules: BTreeMap<String, String>,
    /// How many results there were of a detector in a file.
    counts: HashMap<(PathBuf, String), usize>,
    begun: bool,
}

impl Sarif {
    /// What to print before the first result.
    pub(super) fn head() -> String {
        format!(
            r#"{{"$schema":"{SCHEMA}","version":"2.1.0","runs":[{{"columnKind":"unicodeCodePoints","results":["#
        )
    }

    /// A result, with the comma before it.
    pub(super) fn result(&mut self, reported: &Reported) -> String {
        let finding = &reported.finding;
        let rule = finding.detector.to_string();
        self.rules
            .entry(rule.clone())
            .or_insert_with(|| finding.entity.as_str().to_owned());
        let count = self
            .counts
            .entry((reported.path.clone(), rule.clone()))
            .or_default();
        *count += 1;
        let fingerprint = Sha256::digest(format!("{}\0{rule}\0{count}", reported.path.display()));
        let mut properties = json!({"type": finding.entity.as_str(), "score": rounded(finding.score)});
        if let Some(commit) = &reported.commit {
            properties["commit"] = commit.as_str().into();
        }
        let mut place = json!({"artifactLocation": {"uri": uri(&reported.path)}});
        if reported.inside.is_empty() {
            place["region"] = json!({
                "startLine": reported.start.0, "startColumn": reported.start.1,
                "endLine": reported.end.0, "endColumn": reported.end.1,
            });
        } else {
            // Lines of a part are none of the file.
            properties["inside"] = reported.inside.as_str().into();
        }
        let result = json!({
            "ruleId": rule,
            "level": if finding.score >= 0.8 { "error" } else { "warning" },
            "message": {"text": format!("{} found by {rule}", finding.entity)},
            "locations": [{"physicalLocation": place}],
            "partialFingerprints": {"cordonPlace/v1": hex::encode(&fingerprint[..16])},
            "properties": properties,
        });
        let comma = if std::mem::replace(&mut self.begun, true) {
            ","
        } else {
            ""
        };
        format!("{comma}{result}")
    }

    /// What to print after the last result.
    pub(super) fn foot(&self, complete: bool) -> String {
        let rules: Vec<Value> = self
            .rules
            .iter()
            .map(|(id, entity)| json!({"id": id, "name": entity, "shortDescription": {"text": format!("Finds {entity}")}}))
            .collect();
        let driver = json!({"name": "cordon", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
        let invocations = json!([{"executionSuccessful": complete}]);
        format!(r#"],"tool":{{"driver":{driver}}},"invocations":{invocations}}}]}}"#)
    }
}

/// A path as a relative reference, or as a `file:` URI where it is absolute.
fn uri(path: &Path) -> String {
    let mut uri = String::new();
    for part in path.components() {
        match part {
            Component::RootDir => uri.push_str("file://"),
            Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir | Component::Normal(_) => {}
        }
        if matches!(part, Component::RootDir) {
            continue;
        }
        if !uri.is_empty() {
            uri.push('/');
        }
        for byte in part.as_os_str().as_encoded_bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
                uri.push(char::from(*byte));
            } else {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use cordon_domain::Finding;

    use super::*;

    #[test]
    fn the_document_has_what_the_standard_requires() {
        let reported = |line| Reported {
            inside: String::new(),
            path: PathBuf::from("./a b/ü.txt"),
            commit: None,
            start: (line, 2),
            end: (line, 5),
            finding: Finding {
                segment: 0,
                span: 0..3,
                entity: "EMAIL".parse().unwrap(),
                detector: "email".into(),
                score: 0.9,
                evidence: vec![],
                source: None,
            },
            mark: None,
            shown: None,
        };
        let mut sarif = Sarif::default();
        let mut document = Sarif::head();
        document += &sarif.result(&reported(1));
        document += &sarif.result(&reported(9));
        document += &sarif.foot(true);
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["version"], "2.1.0");
        let run = &document["runs"][0];
        assert_eq!(run["tool"]["driver"]["name"], "cordon");
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "email");
        assert_eq!(run["invocations"][0]["executionSuccessful"], true);
        let (one, two) = (&run["results"][0], &run["results"][1]);
        assert_eq!(one["ruleId"], "email");
        assert_eq!(one["message"]["text"], "EMAIL found by email");
        let place = &one["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20b/%C3%BC.txt");
        assert_eq!(place["region"]["startLine"], 1);
        assert_ne!(one["partialFingerprints"], two["partialFingerprints"]);
    }

    #[test]
    fn an_empty_document_is_one() {
        let document = Sarif::head() + &Sarif::default().foot(false);
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["runs"][0]["results"], json!([]));
        assert_eq!(uri(Path::new("/a/b")), "file:///a/b");
    }
}
