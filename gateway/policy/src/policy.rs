//! A policy: parsed from one YAML file, checked whole, compiled once, then only read.
//!
//! The file's shape is in `file.rs`, conditions in `condition.rs`, the decision in `decide.rs`.
//! Whether the entity types and upstreams that it names exist is for the caller to ask
//! ([`Policy::check_entities`], [`Policy::upstream_names`]), since only it knows them.
//!
//! Questions to the on-prem model are in `policy/question.rs`.
//!
//! Limits: [`MAX_FILE`] bytes, [`MAX_ENTRIES`] routes and as many rules.
//!
//! On failure: every fault that can be found is reported at once, each with its place; a file with
//! one fault yields no policy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use cordon_domain::{Action, AuditLevel, EntityType, Role};
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

mod question;
pub use question::Question;

use crate::{
    Diagnostic,
    condition::{Condition, Scope},
    diagnostic::{self, Position},
    file::{Late, PolicyFile, RecordEntry, RouteEntry, RuleEntry, Unknown, UnreadFiles},
};

/// The largest policy file, in bytes.
const MAX_FILE: usize = 1 << 20;
/// The most routes, and the most rules.
const MAX_ENTRIES: usize = 1000;
/// The most entity types one rule may list.
const MAX_ENTITIES: usize = 256;
/// The longest advice, in bytes.
const MAX_ADVICE: usize = 1000;
/// The most findings of an exchange, unless the file says otherwise.
const DEFAULT_MAX_FINDINGS: u32 = 20_000;
/// The most findings that a file may allow.
const MOST_FINDINGS: u32 = 1_000_000;
/// Ids that decisions use for themselves.
const RESERVED_IDS: [&str; 2] = [crate::DEFAULT_RULE, crate::TOO_MANY_FINDINGS_RULE];

/// The rules of one policy file, ready to decide.
pub struct Policy {
    file: Arc<str>,
    hash: String,
    unknown: Unknown,
    fail_open: bool,
    names_needed: bool,
    late: Late,
    unread_files: UnreadFiles,
    pub(crate) max_findings: usize,
    pub(crate) questions: Vec<Question>,
    pub(crate) routes: Vec<Route>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) records: Vec<Record>,
    /// Entity types that rules name, with the places.
    named_entities: Vec<(EntityType, Position)>,
    upstream_names: Vec<UpstreamName>,
}

/// An upstream that a route sends exchanges to, as the file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamName {
    /// The name.
    pub name: Arc<str>,
    /// Where the file names it, as a diagnostic that says that no such upstream is configured.
    pub absent: Diagnostic,
}

/// Which upstream answers.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) id: Arc<str>,
    pub(crate) when: Option<Condition>,
    pub(crate) to: Destination,
}

/// How much records keep.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) when: Option<Condition>,
    pub(crate) level: AuditLevel,
    pub(crate) class: Option<RetentionClass>,
}

/// A retention class that records are kept by, as the file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionClass {
    /// The name.
    pub name: String,
    /// Where the file names it, as a diagnostic that says that no such class is configured.
    pub absent: Diagnostic,
}

/// Where a route leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The first upstream of kind engine.
    Engine,
    /// The upstream that the caller addressed.
    Requested,
    /// The upstream of that name.
    Named(Arc<str>),
}

/// What happens to findings or to an exchange.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: Arc<str>,
    pub(crate) subject: Subject,
    pub(crate) min_score: f32,
    /// None for all.
    pub(crate) roles: Option<Vec<Role>>,
    pub(crate) when: Option<Condition>,
    pub(crate) action: Action,
    pub(crate) advice: Option<Arc<str>>,
}

/// What a rule speaks of.
#[derive(Debug)]
pub(crate) enum Subject {
    /// The exchange itself.
    Exchange,
    /// Any finding.
    AnyFinding,
    /// Findings of these types or under them.
    Entities(Vec<EntityType>),
}

impl Rule {
    /// Whether the rule speaks of findings of that type.
    pub(crate) fn covers(&self, entity: &EntityType) -> bool {
        match &self.subject {
            Subject::Exchange => false,
            Subject::AnyFinding => true,
            Subject::Entities(named) => named.iter().any(|name| entity.is_within(name.as_str())),
        }
    }
}

impl Policy {
    /// Reads a policy; `file_name` is what diagnostics call it.
    ///
    /// # Errors
    /// Every fault of the file, in its order.
    pub fn parse(file_name: &str, yaml: &str) -> Result<Self, Vec<Diagnostic>> {
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
        let read: PolicyFile =
            serde_saphyr::from_str(yaml).map_err(|error| vec![diagnostic::from_yaml(&file, &error)])?;
        let mut reading = Reading {
            file: &file,
            source: yaml,
            ids: BTreeMap::new(),
            named_entities: Vec::new(),
            upstream_names: Vec::new(),
            faults: Vec::new(),
        };
        for (what, count) in [
            ("routes", read.routes.len()),
            ("records", read.records.len()),
            ("rules", read.rules.len()),
        ] {
            if count > MAX_ENTRIES {
                reading.fault(
                    Position::START,
                    format!("{count} {what}, more than the {MAX_ENTRIES} allowed"),
                );
            }
        }
        if read.questions.len() > question::MAX_QUESTIONS {
            reading.fault(
                Position::START,
                format!(
                    "{} questions, more than the {} allowed",
                    read.questions.len(),
                    question::MAX_QUESTIONS
                ),
            );
        }
        let questions = read
            .questions
            .into_iter()
            .filter_map(|q| reading.question(q))
            .collect();
        let routes = read.routes.into_iter().filter_map(|r| reading.route(r)).collect();
        let records = read
            .records
            .into_iter()
            .filter_map(|r| reading.record(r))
            .collect();
        let rules = read.rules.into_iter().filter_map(|r| reading.rule(r)).collect();
        let max_findings = match read.limits.max_findings {
            None => DEFAULT_MAX_FINDINGS,
            Some(most) => {
                if !(1..=MOST_FINDINGS).contains(&most.value) {
                    reading.fault(
                        most.referenced.into(),
                        format!("`max_findings` must be between 1 and {MOST_FINDINGS}"),
                    );
                }
                most.value
            }
        };
        let Reading {
            named_entities,
            upstream_names,
            mut faults,
            ..
        } = reading;
        if !faults.is_empty() {
            faults.sort_by_key(|fault| (fault.line, fault.column));
            return Err(faults);
        }
        Ok(Self {
            hash: hex::encode(Sha256::digest(yaml.as_bytes())),
            unknown: read.unknown,
            fail_open: read.fail_open,
            names_needed: read.names.needed,
            late: read.names.late,
            unread_files: read.files.unread,
            max_findings: usize::try_from(max_findings).unwrap_or(usize::MAX),
            questions,
            routes,
            rules,
            records,
            named_entities,
            upstream_names,
            file,
        })
    }

    /// The policy that is used where none is configured: its name and its source.
    #[must_use]
    pub fn embedded_default() -> (&'static str, &'static str) {
        (
            "policies/default.yaml",
            include_str!("../../../policies/default.yaml"),
        )
    }

    /// The tests that lie beside [`Policy::embedded_default`]: their name and source.
    #[must_use]
    pub fn embedded_default_tests() -> (&'static str, &'static str) {
        (
            "policies/default.test.yaml",
            include_str!("../../../policies/default.test.yaml"),
        )
    }

    /// The JSON schema of policy files, for editors.
    #[must_use]
    pub fn schema() -> &'static str {
        include_str!("../../../policies/policy.schema.json")
    }

    /// The file's name, as it was given to [`Policy::parse`].
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// SHA-256 of the source in hexadecimal, which records name the policy by.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What happens to a request that no dialect describes.
    #[must_use]
    pub fn unknown(&self) -> Unknown {
        self.unknown
    }

    /// Whether a request may pass uninspected when inspection itself fails. Conditions that cannot
    /// be evaluated block all the same.
    #[must_use]
    pub fn fail_open(&self) -> bool {
        self.fail_open
    }

    /// Whether the policy counts on the token classifier for names.
    #[must_use]
    pub fn names_needed(&self) -> bool {
        self.names_needed
    }

    /// What happens to a request that the token classifier did not read in time.
    #[must_use]
    pub fn late(&self) -> Late {
        self.late
    }

    /// What happens to a request with a file that cannot be read.
    #[must_use]
    pub fn unread_files(&self) -> UnreadFiles {
        self.unread_files
    }

    /// The questions of the file, in its order.
    #[must_use]
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The question of that id.
    #[must_use]
    pub fn question(&self, id: &str) -> Option<&Question> {
        self.questions.iter().find(|question| **question.id() == *id)
    }

    /// Rules that name an entity type which none of the `known` is or lies under: nothing would
    /// ever match them, so a typing error there leaves a hole. What the file's own questions find is known.
    #[must_use]
    pub fn check_entities(&self, known: &BTreeSet<EntityType>) -> Vec<Diagnostic> {
        let own = self.questions.iter().map(|question| question.entity().clone());
        let known: BTreeSet<EntityType> = known.iter().cloned().chain(own).collect();
        self.named_entities
            .iter()
            .filter(|(named, _)| !known.iter().any(|found| found.is_within(named.as_str())))
            .map(|(named, at)| {
                let family: Vec<&str> = known
                    .iter()
                    .filter(|found| found.family() == named.family())
                    .map(EntityType::as_str)
                    .take(8)
                    .collect();
                let hint = if family.is_empty() {
                    String::new()
                } else {
                    format!("; found are {}", family.join(", "))
                };
                Diagnostic::new(&self.file, *at, format!("no detector finds `{named}`{hint}"))
            })
            .collect()
    }

    /// The retention classes that records are kept by.
    pub fn retention_classes(&self) -> impl Iterator<Item = &RetentionClass> {
        self.records.iter().filter_map(|record| record.class.as_ref())
    }

    /// The upstreams that routes name, in the file's order; `engine` and `requested` are not names.
    pub fn upstream_names(&self) -> impl Iterator<Item = &UpstreamName> {
        self.upstream_names.iter()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("file", &self.file)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// A file being read, with what was found wrong so far.
struct Reading<'a> {
    file: &'a Arc<str>,
    source: &'a str,
    ids: BTreeMap<String, Position>,
    named_entities: Vec<(EntityType, Position)>,
    upstream_names: Vec<UpstreamName>,
    faults: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn fault(&mut self, at: Position, message: impl Into<String>) {
        self.faults.push(Diagnostic::new(self.file, at, message));
    }

    /// A route, unless something is wrong with it that was reported.
    fn route(&mut self, entry: Spanned<RouteEntry>) -> Option<Route> {
        let entry = entry.value;
        let id = self.id(&entry.id);
        let when = self.condition(entry.when.as_ref(), Scope::Exchange);
        let at = Position::from(entry.to.referenced);
        let to = match entry.to.value.as_str() {
            "" => {
                self.fault(at, "`to` is empty; name an upstream, `requested` or `engine`");
                return None;
            }
            "engine" => Destination::Engine,
            "requested" => Destination::Requested,
            name => {
                let name: Arc<str> = name.into();
                self.upstream_names.push(UpstreamName {
                    name: Arc::clone(&name),
                    absent: Diagnostic::new(
                        self.file,
                        at,
                        format!("no upstream `{name}` in the configuration"),
                    ),
                });
                Destination::Named(name)
            }
        };
        Some(Route {
            id: id?,
            when: when?,
            to,
        })
    }

    /// How much records keep, unless something is wrong with it that was reported.
    fn record(&mut self, entry: Spanned<RecordEntry>) -> Option<Record> {
        let when = self.condition(entry.value.when.as_ref(), Scope::Exchange);
        Some(Record {
            when: when?,
            level: entry.value.level,
            class: entry.value.class.map(|class| RetentionClass {
                absent: Diagnostic::new(
                    self.file,
                    class.referenced.into(),
                    format!(
                        "`{}` is no retention class of `audit.retention` in the configuration",
                        class.value
                    ),
                ),
                name: class.value,
            }),
        })
    }

    /// A rule, unless something is wrong with it that was reported.
    fn rule(&mut self, entry: Spanned<RuleEntry>) -> Option<Rule> {
        let at = Position::from(entry.referenced);
        let entry = entry.value;
        let id = self.id(&entry.id);
        let subject = self.subject(entry.entities.as_ref());
        let of_exchange = entry.entities.is_none();
        let scope = if of_exchange {
            Scope::Upstream
        } else {
            Scope::Finding
        };
        let when = self.condition(entry.when.as_ref(), scope);
        let action = entry.action.value;

        if of_exchange {
            if action == Action::Redact {
                self.fault(
                    entry.action.referenced.into(),
                    "`redact` needs `entities`; write `entities: [\"*\"]` to redact every finding",
                );
            }
            if let Some(least) = &entry.min_score {
                self.fault(least.referenced.into(), "`min_score` needs `entities`");
            }
            if let Some(roles) = &entry.roles {
                self.fault(roles.referenced.into(), "`roles` needs `entities`");
            }
        }
        if let Some(least) = &entry.min_score
            && !(0.0..=1.0).contains(&least.value)
        {
            self.fault(least.referenced.into(), "`min_score` must be between 0.0 and 1.0");
        }
        if let Some(roles) = &entry.roles
            && roles.value.is_empty()
        {
            self.fault(
                roles.referenced.into(),
                "`roles` is empty, so the rule would never match; leave it out for all",
            );
        }
        let advice = match &entry.advice {
            Some(advice) if advice.value.len() > MAX_ADVICE => {
                self.fault(
                    advice.referenced.into(),
                    format!("advice may have {MAX_ADVICE} bytes at most"),
                );
                None
            }
            Some(advice) if !advice.value.trim().is_empty() => Some(advice.value.trim().into()),
            _ => {
                if action >= Action::Coach {
                    self.fault(
                        at,
                        format!(
                            "a rule that refuses (`{action}`) needs `advice`: tell the employee what to do instead"
                        ),
                    );
                }
                None
            }
        };
        Some(Rule {
            id: id?,
            subject: subject?,
            min_score: entry.min_score.map_or(0.0, |least| least.value),
            roles: entry
                .roles
                .map(|roles| roles.value.into_iter().map(Role::from).collect()),
            when: when?,
            action,
            advice,
        })
    }

    fn id(&mut self, id: &Spanned<String>) -> Option<Arc<str>> {
        let at = Position::from(id.referenced);
        let name = id.value.as_str();
        let well_formed = name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !well_formed {
            self.fault(
                at,
                "an id is 1 to 64 lower-case letters, digits and `-`, starting with a letter or digit",
            );
            return None;
        }
        if RESERVED_IDS.contains(&name) {
            self.fault(at, format!("the id `{name}` is used by Cordon itself"));
            return None;
        }
        if let Some(first) = self.ids.get(name) {
            let first = *first;
            self.fault(
                at,
                format!(
                    "the id `{name}` is taken already, in line {} column {}",
                    first.line, first.column
                ),
            );
            return None;
        }
        self.ids.insert(name.to_owned(), at);
        Some(name.into())
    }

    fn subject(&mut self, entities: Option<&Spanned<Vec<Spanned<String>>>>) -> Option<Subject> {
        let Some(listed) = entities else {
            return Some(Subject::Exchange);
        };
        if listed.value.is_empty() {
            self.fault(
                listed.referenced.into(),
                "`entities` is empty, so the rule would never match; write `[\"*\"]` for all, or leave it out for the exchange itself",
            );
            return None;
        }
        if listed.value.len() > MAX_ENTITIES {
            self.fault(
                listed.referenced.into(),
                format!("a rule may list {MAX_ENTITIES} entity types at most"),
            );
            return None;
        }
        let mut any = false;
        let mut named = Vec::with_capacity(listed.value.len());
        let before = self.faults.len();
        for entity in &listed.value {
            let at = Position::from(entity.referenced);
            if entity.value == "*" {
                any = true;
                continue;
            }
            match entity.value.parse::<EntityType>() {
                Ok(entity) => {
                    self.named_entities.push((entity.clone(), at));
                    named.push(entity);
                }
                Err(invalid) => self.fault(at, format!("{invalid}, or \"*\" for all")),
            }
        }
        if self.faults.len() > before {
            return None;
        }
        Some(if any {
            Subject::AnyFinding
        } else {
            Subject::Entities(named)
        })
    }

    /// The condition, if there is one; none when it is wrong, which was then reported.
    fn condition(&mut self, when: Option<&Spanned<String>>, allowed: Scope) -> Option<Option<Condition>> {
        let Some(when) = when else {
            return Some(None);
        };
        let start = Position::from(when.referenced);
        match Condition::compile(&when.value, allowed) {
            Ok(condition) => {
                for entity in condition.counted() {
                    if let Ok(entity) = entity.parse() {
                        self.named_entities.push((entity, start));
                    }
                }
                Some(Some(condition))
            }
            Err(faults) => {
                for fault in faults {
                    let (at, note) = self.place_within(&when.value, start, fault.line, fault.column);
                    self.fault(at, format!("{}{note}", fault.message));
                }
                None
            }
        }
    }

    /// The place in the file of a line and column (from 0) of a condition that starts at `start`.
    ///
    /// Exact where the file holds the condition as it is, on one line or as a `|` block; folded
    /// texts are answered with their start and a note that counts within the condition.
    fn place_within(&self, condition: &str, start: Position, line: u64, column: u64) -> (Position, String) {
        let source_line = |number: u64| {
            usize::try_from(number)
                .ok()
                .and_then(|n| self.source.lines().nth(n.saturating_sub(1)))
        };
        let at_start: String = source_line(start.line)
            .unwrap_or_default()
            .chars()
            .skip(usize::try_from(start.column - 1).unwrap_or(usize::MAX))
            .collect();
        let wanted = usize::try_from(line)
            .ok()
            .and_then(|n| condition.lines().nth(n))
            .unwrap_or_default();
        if line == 0 {
            let quote = u64::from(at_start.starts_with(['"', '\'']));
            let unquoted = at_start
                .get(usize::try_from(quote).unwrap_or(0)..)
                .unwrap_or_default();
            if !wanted.is_empty() && unquoted.starts_with(wanted) {
                let at = Position {
                    line: start.line,
                    column: start.column + quote + column,
                };
                return (at, String::new());
            }
        }
        // A block's text starts on the line below its `|`, or the location is that of its text.
        for first in [start.line, start.line + 1] {
            if let Some(found) = source_line(first + line)
                && !wanted.is_empty()
                && found.trim() == wanted.trim()
            {
                let indent = found.chars().count() - found.trim_start().chars().count();
                let own = wanted.chars().count() - wanted.trim_start().chars().count();
                let at = Position {
                    line: first + line,
                    column: (indent as u64) + column.saturating_sub(own as u64) + 1,
                };
                return (at, String::new());
            }
        }
        let note = format!(" (line {} column {} of the condition)", line + 1, column + 1);
        (start, note)
    }
}

#[cfg(test)]
mod tests;
