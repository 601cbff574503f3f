//! The tests that lie beside a policy: `default.test.yaml` for `default.yaml`.
//!
//! A case says who sends what to whom, and what should come of it. The runner takes the whole way:
//! findings from whoever finds them, the decision, the transform, and back again; that what was
//! redacted comes back exactly is checked in every case, asked for or not.
//!
//! Who finds is a function, so that the runner works with any set of detectors.
//!
//! On failure: a test file that cannot be read gives diagnostics with their places; a case that does
//! not hold gives an [`Outcome`] with all that differs. Outcomes quote the test file, never more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use cordon_domain::{
    Action, Actor, Dialect, Door, Edit, Finding, Identity, Place, Role, Segment, Splice, SpliceError, Text,
    UpstreamKind,
};
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::{
    Diagnostic, Facts, Files, Head, PlaceholderKey, Policy, Question, Reidentifier, SpliceHead, Upstream,
    diagnostic::{self, Position},
    file::RoleName,
    transform,
};

/// The largest test file, in bytes.
const MAX_FILE: usize = 8 << 20;

/// The upstreams of a test file that names none.
const DEFAULT_UPSTREAMS: [(&str, UpstreamKind); 3] = [
    ("engine", UpstreamKind::Engine),
    ("cluster", UpstreamKind::Cluster),
    ("cloud", UpstreamKind::Cloud),
];

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// Where the case starts in its file, counted from 1.
    pub line: u64,
    /// What differs from what was expected; nothing when the case holds.
    pub differences: Vec<Diagnostic>,
}

impl Outcome {
    /// Whether the case holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Runs every case of a test file against a policy. `find` is what inspects the segments.
///
/// # Errors
/// When the test file cannot be read or a case makes no sense.
pub fn run(
    policy: &Policy,
    file_name: &str,
    yaml: &str,
    find: &dyn Fn(&[Segment]) -> Vec<Finding>,
) -> Result<Vec<Outcome>, Vec<Diagnostic>> {
    let file: Arc<str> = file_name.into();
    if yaml.len() > MAX_FILE {
        return Err(vec![Diagnostic::new(
            &file,
            Position::START,
            format!(
                "the file has {} bytes, more than the {MAX_FILE} allowed",
                yaml.len()
            ),
        )]);
    }
    let read: TestFile =
        serde_saphyr::from_str(yaml).map_err(|error| vec![diagnostic::from_yaml(&file, &error)])?;
    let upstreams: Vec<Upstream> = match read.upstreams {
        Some(named) => named
            .into_iter()
            .map(|(name, kind)| Upstream {
                name: name.into(),
                kind,
            })
            .collect(),
        None => DEFAULT_UPSTREAMS
            .iter()
            .map(|(name, kind)| Upstream {
                name: (*name).into(),
                kind: *kind,
            })
            .collect(),
    };
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for case in &read.tests {
        let at = Position::from(case.referenced);
        let case = &case.value;
        if !names.insert(case.name.value.clone()) {
            faults.push(Diagnostic::new(
                &file,
                case.name.referenced.into(),
                "another case has that name",
            ));
        }
        if case.text.is_some() == case.segments.is_some() {
            faults.push(Diagnostic::new(&file, at, "write either `text` or `segments`"));
        }
        for (id, answer) in &case.answers {
            if policy.question(id).is_none() {
                faults.push(Diagnostic::new(
                    &file,
                    answer.referenced.into(),
                    format!("the policy has no question `{id}`"),
                ));
            }
        }
        for (what, named) in [
            ("requested", &case.requested),
            ("expect.upstream", &case.expect.upstream),
        ] {
            if let Some(named) = named
                && !upstreams.iter().any(|u| *u.name == *named.value)
            {
                faults.push(Diagnostic::new(
                    &file,
                    named.referenced.into(),
                    format!("`{what}` names no upstream of this file"),
                ));
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let runner = Runner {
        policy,
        file: &file,
        upstreams: &upstreams,
        find,
        key: PlaceholderKey::new([0x5a; 32]),
    };
    Ok(read.tests.into_iter().map(|case| runner.case(case)).collect())
}

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    /// Upstreams by name; `engine`, `cluster` and `cloud` of those kinds when left out.
    upstreams: Option<BTreeMap<String, UpstreamKind>>,
    tests: Vec<Spanned<Case>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Spanned<String>,
    #[serde(default)]
    actor: CaseActor,
    #[serde(default = "openai_chat")]
    dialect: Dialect,
    #[serde(default = "gateway")]
    door: Door,
    host: Option<String>,
    #[serde(default = "post")]
    method: String,
    #[serde(default = "chat_path")]
    path: String,
    model: Option<String>,
    /// The upstream that the caller addresses.
    requested: Option<Spanned<String>>,
    /// Ids of the `coach` rules that the caller acknowledges.
    #[serde(default)]
    acknowledge: Vec<String>,
    /// One segment of the user's words.
    text: Option<String>,
    segments: Option<Vec<CaseSegment>>,
    /// What the on-prem model answers to the policy's questions, by their ids; `no` to those left out.
    #[serde(default)]
    answers: BTreeMap<String, Spanned<Answered>>,
    expect: Expectation,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseActor {
    #[serde(default)]
    user: String,
    #[serde(default)]
    groups: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseSegment {
    role: RoleName,
    text: String,
}

/// What comes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answered {
    Yes,
    No,
    Unanswered,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    action: Spanned<Action>,
    rule: Option<Spanned<String>>,
    upstream: Option<Spanned<String>>,
    /// Must not be in what goes upstream.
    #[serde(default)]
    absent: Vec<Spanned<String>>,
    /// Must be in what goes upstream.
    #[serde(default)]
    present: Vec<Spanned<String>>,
    /// Entity types found, with how often; every type that is found must be listed.
    found: Option<Spanned<BTreeMap<String, usize>>>,
    /// Ids of the questions that are asked, all of them.
    asked: Option<Spanned<BTreeSet<String>>>,
}

fn openai_chat() -> Dialect {
    Dialect::OpenaiChat
}

fn gateway() -> Door {
    Door::Gateway
}

fn post() -> String {
    "POST".into()
}

fn chat_path() -> String {
    "/v1/chat/completions".into()
}

struct Runner<'a> {
    policy: &'a Policy,
    file: &'a Arc<str>,
    upstreams: &'a [Upstream],
    find: &'a dyn Fn(&[Segment]) -> Vec<Finding>,
    key: PlaceholderKey,
}

impl Runner<'_> {
    fn case(&self, case: Spanned<Case>) -> Outcome {
        let at = Position::from(case.referenced);
        let case = case.value;
        let segments: Vec<Segment> = match (case.text, case.segments) {
            (Some(text), _) => vec![CaseSegment {
                role: RoleName::User,
                text,
            }],
            (None, segments) => segments.unwrap_or_default(),
        }
        .into_iter()
        .enumerate()
        .map(|(index, segment)| Segment {
            place: Place::new(format!("/{index}")),
            role: segment.role.into(),
            text: Text::from(segment.text),
        })
        .collect();
        let body = PlainBody(segments);
        let mut findings = (self.find)(body.segments());
        let roles: Vec<Role> = body.segments().iter().map(|segment| segment.role).collect();
        let actor = Actor {
            user: case.actor.user,
            groups: case.actor.groups,
            identity: Identity::Unidentified,
        };
        let acknowledged = case.acknowledge.join(",");
        let requested = case
            .requested
            .as_ref()
            .and_then(|named| self.upstreams.iter().find(|u| *u.name == *named.value));
        let mut facts = Facts {
            actor: &actor,
            dialect: case.dialect,
            door: case.door,
            host: case.host.as_deref(),
            method: &case.method,
            path: &case.path,
            model: case.model.as_deref(),
            requested,
            upstreams: self.upstreams,
            roles: &roles,
            unanswered: &[],
            files: Files::default(),
            acknowledged: (!acknowledged.is_empty()).then_some(acknowledged.as_str()),
        };
        let mut unanswered = Vec::new();
        let mut asked = BTreeSet::new();
        while let Some(question) = self
            .policy
            .questions_for(&facts, &findings)
            .into_iter()
            .find(|question| !asked.contains(&**question.id()))
        {
            asked.insert(question.id().to_string());
            match case.answers.get(&**question.id()).map(|answer| answer.value) {
                Some(Answered::Yes) => findings.extend(answered_yes(question, body.segments())),
                Some(Answered::Unanswered) => unanswered.push(Arc::clone(question.id())),
                Some(Answered::No) | None => {}
            }
        }
        facts.unanswered = &unanswered;
        let decision = self.policy.decide(&facts, &findings);

        let mut differences = Vec::new();
        let mut differ = |at: Position, message: String| {
            differences.push(Diagnostic::new(self.file, at, message));
        };
        let expect = case.expect;
        if decision.action != expect.action.value {
            differ(
                expect.action.referenced.into(),
                format!(
                    "expected `{}`, and the decision is `{}` under the rule `{}`",
                    expect.action.value, decision.action, decision.rule
                ),
            );
        }
        if let Some(rule) = &expect.rule
            && *decision.rule != *rule.value
        {
            differ(
                rule.referenced.into(),
                format!(
                    "expected the rule `{}`, and it is `{}`",
                    rule.value, decision.rule
                ),
            );
        }
        if let Some(upstream) = &expect.upstream
            && *decision.upstream != *upstream.value
        {
            differ(
                upstream.referenced.into(),
                format!(
                    "expected the upstream `{}`, and it is `{}`",
                    upstream.value, decision.upstream
                ),
            );
        }
        if let Some(expected) = &expect.found {
            let mut found: BTreeMap<String, usize> = BTreeMap::new();
            for finding in &findings {
                *found.entry(finding.entity.to_string()).or_default() += 1;
            }
            if found != expected.value {
                differ(
                    expected.referenced.into(),
                    format!("other things were found: {found:?}"),
                );
            }
        }
        if let Some(expected) = &expect.asked
            && asked != expected.value
        {
            differ(
                expected.referenced.into(),
                format!("other questions are asked: {asked:?}"),
            );
        }
        match transform(&decision, &findings, &body, &NoHead, &self.key) {
            Ok((cleared, originals)) => {
                let sent = String::from_utf8_lossy(cleared.body());
                for text in &expect.absent {
                    if sent.contains(&text.value) {
                        differ(text.referenced.into(), format!("`{}` goes upstream", text.value));
                    }
                }
                for text in &expect.present {
                    if !sent.contains(&text.value) {
                        differ(
                            text.referenced.into(),
                            format!("`{}` does not go upstream", text.value),
                        );
                    }
                }
                if Reidentifier::new(originals).whole(&sent, false) != body.joined() {
                    differ(at, "the originals do not come back exactly".into());
                }
            }
            Err(refused) => {
                let expected_refusal = matches!(decision.action, Action::Block | Action::Coach);
                if !expected_refusal {
                    differ(at, format!("nothing could be sent: {refused}"));
                }
                for text in &expect.present {
                    differ(
                        text.referenced.into(),
                        format!("`{}` does not go upstream: nothing does", text.value),
                    );
                }
            }
        }
        Outcome {
            name: case.name.value,
            line: at.line,
            differences,
        }
    }
}

/// What a yes finds: each text that the question is asked about.
fn answered_yes(question: &Question, segments: &[Segment]) -> Vec<Finding> {
    (0..)
        .zip(segments)
        .filter(|(_, segment)| question.concerns(segment.role, segment.text.len()))
        .map(|(segment, text)| question.finding(segment, text.text.len(), 1.0))
        .collect()
}

/// Segments with a line end between them: a body without a format of its own.
#[derive(Clone, Debug)]
pub(crate) struct PlainBody(pub(crate) Vec<Segment>);

impl PlainBody {
    pub(crate) fn joined(&self) -> String {
        let texts: Vec<&str> = self.0.iter().map(|s| s.text.as_str()).collect();
        texts.join("\n")
    }
}

impl Splice for PlainBody {
    fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn splice(&self, edits: &[Edit]) -> Result<Bytes, SpliceError> {
        if let Some(edit) = edits.iter().find(|edit| edit.segment >= self.0.len()) {
            return Err(SpliceError::NoSuchSegment(edit.segment));
        }
        let mut out = String::new();
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            let mut edits: Vec<&Edit> = edits.iter().filter(|edit| edit.segment == index).collect();
            edits.sort_by_key(|edit| edit.span.start);
            let mut done = 0;
            for edit in edits {
                let bad = SpliceError::BadSpan {
                    segment: index,
                    start: edit.span.start,
                    end: edit.span.end,
                };
                if edit.span.start < done {
                    return Err(SpliceError::Overlap(index));
                }
                if edit.span.end < edit.span.start || !segment.text.is_char_boundary(edit.span.end) {
                    return Err(bad);
                }
                out.push_str(segment.text.get(done..edit.span.start).ok_or(bad)?);
                out.push_str(&edit.replacement);
                done = edit.span.end;
            }
            out.push_str(segment.text.get(done..).unwrap_or_default());
        }
        Ok(Bytes::from(out))
    }
}

/// A head without anything to inspect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoHead;

impl SpliceHead for NoHead {
    fn segments(&self) -> &[Segment] {
        &[]
    }

    fn splice(&self, edits: &[Edit]) -> Result<Head, SpliceError> {
        match edits.first() {
            Some(edit) => Err(SpliceError::NoSuchSegment(edit.segment)),
            None => Ok(Head {
                headers: Vec::new(),
                path_and_query: "/".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
