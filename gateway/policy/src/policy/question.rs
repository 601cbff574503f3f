//! Questions that the on-prem model is asked about a request's texts.
//!
//! A question is costly, so it says when it is asked: about whose words, of what length, and under which
//! condition; left out, when a cloud would answer. A yes is a finding of the type `QUESTION.<ID>`, which
//! rules speak of like any other. Who asks, and how, is for the server; what is decided where nobody
//! could be asked is in `decide.rs`.
//!
//! The reason for a yes is chosen from a list in the file, so that no word of an employee can be in it: it
//! may then stand in records and refusals.
//!
//! Limits: [`MAX_QUESTIONS`] of [`MAX_ASK`] bytes, [`MAX_REASONS`] each.

use std::{fmt, sync::Arc};

use cordon_domain::{Action, EntityType, Finding, Role, UpstreamKind};
use serde_saphyr::Spanned;

use super::Reading;
use crate::{
    Diagnostic,
    condition::{Condition, Scope, Seen},
    diagnostic::Position,
    file::{QuestionEntry, Unanswered},
};

/// The most questions of a file.
pub(super) const MAX_QUESTIONS: usize = 32;
/// The longest question, in bytes.
const MAX_ASK: usize = 1000;
/// The most reasons of a question, and the longest, in bytes.
const MAX_REASONS: usize = 16;
const MAX_REASON: usize = 100;
/// The family of what questions find.
const FAMILY: &str = "QUESTION";
/// Shorter texts are not asked about, unless the file says otherwise.
const DEFAULT_MIN_BYTES: u32 = 40;
/// How likely a yes must be, unless the file says otherwise.
const DEFAULT_MIN_SCORE: f32 = 0.5;

/// One question.
pub struct Question {
    id: Arc<str>,
    entity: EntityType,
    ask: Arc<str>,
    reasons: Vec<Arc<str>>,
    roles: Vec<Role>,
    min_bytes: usize,
    min_score: f32,
    when: Option<Condition>,
    unanswered: Action,
    nobody: Diagnostic,
}

impl Question {
    /// Where the file asks it, as a diagnostic that says that there is nobody to ask.
    #[must_use]
    pub fn nobody_to_ask(&self) -> &Diagnostic {
        &self.nobody
    }

    /// Its name in records and refusals.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The type of what a yes finds.
    #[must_use]
    pub fn entity(&self) -> &EntityType {
        &self.entity
    }

    /// The question itself.
    #[must_use]
    pub fn ask(&self) -> &str {
        &self.ask
    }

    /// Reasons that a yes may have.
    #[must_use]
    pub fn reasons(&self) -> &[Arc<str>] {
        &self.reasons
    }

    /// Whether it is asked about a text of that role and length.
    #[must_use]
    pub fn concerns(&self, role: Role, bytes: usize) -> bool {
        bytes >= self.min_bytes && self.roles.contains(&role)
    }

    /// How likely a yes must be to count.
    #[must_use]
    pub fn min_score(&self) -> f32 {
        self.min_score
    }

    /// What a yes finds in a text of that length: all of it, since the model does not say where. `score` is how
    /// likely the yes is.
    #[must_use]
    pub fn finding(&self, segment: usize, bytes: usize, score: f32) -> Finding {
        Finding {
            segment,
            span: 0..bytes,
            entity: self.entity.clone(),
            detector: Arc::clone(&self.id),
            score,
            evidence: vec!["answered by the on-prem model"],
            source: None,
        }
    }

    /// What happens to an exchange where it has no answer.
    pub(crate) fn unanswered(&self) -> Action {
        self.unanswered
    }

    /// Whether it is asked where that upstream would answer. A condition that cannot be evaluated counts as
    /// true: the costly side is the safe one.
    pub(crate) fn is_wanted(&self, seen: &Seen<'_>) -> bool {
        match &self.when {
            Some(when) => when.holds(seen).unwrap_or(true),
            None => seen
                .upstream
                .is_some_and(|upstream| upstream.kind == UpstreamKind::Cloud),
        }
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Reading<'_> {
    /// A question, unless something is wrong with it that was reported.
    pub(super) fn question(&mut self, entry: Spanned<QuestionEntry>) -> Option<Question> {
        let entry = entry.value;
        let before = self.faults.len();
        let id = self.id(&entry.id)?;
        let at = Position::from(entry.id.referenced);
        let name = id.to_uppercase().replace('-', "_");
        let entity = match format!("{FAMILY}.{name}").parse::<EntityType>() {
            Ok(entity) => Some(entity),
            Err(_) => {
                self.fault(
                    at,
                    "a question's id names what it finds: let it start with a letter, and have 55 characters at most",
                );
                None
            }
        };
        let ask = self.line(&entry.ask, "`ask`", MAX_ASK);
        let mut reasons: Vec<Arc<str>> = Vec::new();
        if let Some(listed) = &entry.reasons {
            let at = Position::from(listed.referenced);
            if listed.value.is_empty() || listed.value.len() > MAX_REASONS {
                self.fault(
                    at,
                    format!("`reasons` lists 1 to {MAX_REASONS} texts; leave it out for none"),
                );
            }
            for reason in &listed.value {
                let Some(read) = self.line(reason, "a reason", MAX_REASON) else {
                    continue;
                };
                if reasons.contains(&read) {
                    self.fault(reason.referenced.into(), "this reason is listed already");
                }
                reasons.push(read);
            }
        }
        let roles = match entry.roles {
            None => vec![Role::User, Role::ToolResult],
            Some(roles) => {
                if roles.value.is_empty() {
                    self.fault(
                        roles.referenced.into(),
                        "`roles` is empty, so the question would never be asked; leave it out for `user` and `tool_result`",
                    );
                }
                roles.value.into_iter().map(Role::from).collect()
            }
        };
        if let Some(least) = &entry.min_score
            && !(least.value > 0.0 && least.value <= 1.0)
        {
            self.fault(
                least.referenced.into(),
                "`min_score` must be more than 0.0 and 1.0 at most",
            );
        }
        let when = self.condition(entry.when.as_ref(), Scope::Upstream);
        if self.faults.len() > before {
            return None;
        }
        Some(Question {
            nobody: Diagnostic::new(self.file, at, format!("there is no on-prem model to ask `{id}`")),
            id,
            entity: entity?,
            ask: ask?,
            reasons,
            roles,
            min_bytes: usize::try_from(entry.min_bytes.unwrap_or(DEFAULT_MIN_BYTES)).unwrap_or(usize::MAX),
            min_score: entry.min_score.map_or(DEFAULT_MIN_SCORE, |least| least.value),
            when: when?,
            unanswered: match entry.unanswered {
                Unanswered::Block => Action::Block,
                Unanswered::Reroute => Action::Reroute,
                Unanswered::Alert => Action::Alert,
            },
        })
    }

    /// A text of one line, without blanks around it.
    fn line(&mut self, text: &Spanned<String>, what: &str, most: usize) -> Option<Arc<str>> {
        let trimmed = text.value.trim();
        let at = Position::from(text.referenced);
        if trimmed.is_empty() || trimmed.len() > most {
            self.fault(at, format!("{what} has 1 to {most} bytes"));
            return None;
        }
        if trimmed.chars().any(char::is_control) {
            self.fault(at, format!("{what} is one line without control characters"));
            return None;
        }
        Some(trimmed.into())
    }
}
