//! CEL conditions: compiled once when a policy is parsed, evaluated against one exchange.
//!
//! A condition speaks of a fixed set of names (see `review.rs`). Everything that can be wrong with one
//! is looked for at parse: syntax, size, unknown names and functions, comparisons that can never hold,
//! nested loops, and, by a trial run against a made-up exchange, operators that do not fit their
//! operands and results that are not a truth value.
//! Evaluation has no clock, no I/O and no way to loop beyond the lists it is given.
//!
//! Limits: [`MAX_BYTES`] of source, [`MAX_LOOPS`] comprehensions inside one another, [`MAX_DEPTH`] of
//! anything else. The parser recurses, so compiling has a stack of its own, [`STACK`] bytes; what is
//! left to evaluate is shallow enough for any thread.
//!
//! On failure: at parse a diagnostic with its place; at run time [`ConditionFailed`], which says
//! nothing about the values, and which `decide` turns into a block under the rule's name.

mod review;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, Program, Value,
    common::{
        types::{CelDouble, CelInt, CelList, CelMap, CelMapKey, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use cordon_domain::{Actor, Dialect, Door, Finding, Identity, UpstreamKind};

use self::review::Reviewed;
use crate::{Facts, Files, Upstream};

/// The longest condition, in bytes.
pub(crate) const MAX_BYTES: usize = 2048;

/// How deep `exists`, `all`, `map` and `filter` may lie in one another.
pub(crate) const MAX_LOOPS: usize = 2;

/// How deep operators and brackets may lie in one another.
const MAX_DEPTH: usize = 48;

/// The stack that a condition is compiled on. A level of brackets takes the parser some 40 KiB without
/// optimisation, and a source of [`MAX_BYTES`] has no more than a few hundred levels of anything else.
const STACK: usize = 64 << 20;

/// What is settled when a condition is asked; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Routes: who asks, how, what for, and how much was found.
    Exchange,
    /// Rules over the exchange: also which upstream would answer.
    Upstream,
    /// Rules over findings: also the finding.
    Finding,
}

/// A compiled condition.
#[derive(Debug)]
pub(crate) struct Condition {
    program: Program,
    /// The narrowest scope that its names need.
    scope: Scope,
    /// Entity types that it asks the counts of, so that an absent one counts as 0.
    counted: BTreeSet<String>,
}

/// A condition could not be evaluated, or gave no truth value. Says no more, because the library's
/// errors print values, and those can be an employee's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the condition could not be evaluated")]
pub(crate) struct ConditionFailed;

/// What is wrong with a condition, and where in it: line and column, both from 0.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: u64,
    pub(crate) column: u64,
    pub(crate) message: String,
}

/// The standard library of CEL, built once: it is the costly part of an evaluation.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

impl Condition {
    /// Compiles a condition that may use the names of `allowed`.
    pub(crate) fn compile(source: &str, allowed: Scope) -> Result<Self, Vec<Fault>> {
        if source.trim().is_empty() {
            return Err(whole(
                "the condition is empty; leave `when` out for always".into(),
            ));
        }
        if source.len() > MAX_BYTES {
            return Err(whole(format!(
                "the condition has {} bytes, more than the {MAX_BYTES} allowed; split the rule",
                source.len()
            )));
        }
        if bracket_depth(source) > MAX_DEPTH {
            return Err(whole(format!(
                "the condition nests brackets deeper than {MAX_DEPTH}"
            )));
        }
        let compiled = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .name("condition".into())
                .stack_size(STACK)
                .spawn_scoped(scope, || Self::compile_here(source, allowed))
                .map(std::thread::ScopedJoinHandle::join)
        });
        match compiled {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(whole("the condition could not be compiled".into())),
        }
    }

    /// Compiles on the present stack what passed the first checks.
    fn compile_here(source: &str, allowed: Scope) -> Result<Self, Vec<Fault>> {
        let program = ENV.compile(source).map_err(|errors| {
            errors
                .errors
                .iter()
                .map(|error| Fault {
                    line: u64::try_from(error.pos.0 - 1).unwrap_or(0),
                    column: u64::try_from(error.pos.1 - 1).unwrap_or(0),
                    message: format!("condition: {}", error.msg),
                })
                .collect::<Vec<_>>()
        })?;
        let Reviewed { scope, counted } = review::review(&program, source, allowed)?;
        let condition = Self {
            program,
            scope,
            counted,
        };
        condition.trial().map_err(whole)?;
        Ok(condition)
    }

    /// What must be settled before the condition can be asked; one of a wider scope than
    /// [`Scope::Finding`] has the same answer for every finding.
    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Entity types that the condition counts.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &str> {
        self.counted.iter().map(String::as_str)
    }

    /// Asks the condition.
    pub(crate) fn holds(&self, seen: &Seen<'_>) -> Result<bool, ConditionFailed> {
        match self.evaluate(seen) {
            Ok(Value::Bool(answer)) => Ok(answer),
            Ok(_) | Err(_) => Err(ConditionFailed),
        }
    }

    fn evaluate(&self, seen: &Seen<'_>) -> Result<Value, ExecutionError> {
        let names = Names {
            seen,
            counted: &self.counted,
        };
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&names);
        self.program.execute(&context)
    }

    /// Runs the condition against a made-up exchange, and reports what no other exchange would mend.
    fn trial(&self) -> Result<(), String> {
        let actor = Actor {
            user: "someone".into(),
            groups: BTreeSet::from(["some-group".to_owned()]),
            identity: Identity::Unidentified,
        };
        let upstream = Upstream {
            name: "some-upstream".into(),
            kind: UpstreamKind::Cloud,
        };
        let finding = Finding {
            segment: 0,
            span: 0..1,
            entity: "SOME.TYPE".parse().map_err(|_| "no sample type".to_owned())?,
            detector: "some-detector".into(),
            score: 0.5,
            evidence: Vec::new(),
            source: None,
        };
        let counts = Counts::default();
        let facts = Facts {
            actor: &actor,
            dialect: Dialect::OpenaiChat,
            door: Door::Gateway,
            host: Some("host.example"),
            method: "POST",
            path: "/v1/chat/completions",
            model: Some("some-model"),
            requested: Some(&upstream),
            upstreams: &[],
            roles: &[],
            unanswered: &[],
            files: Files {
                count: 1,
                unread: 0,
                kinds: &["pdf"],
            },
            acknowledged: None,
        };
        let seen = Seen {
            facts: &facts,
            counts: &counts,
            upstream: Some(&upstream),
            finding: Some(&finding),
        };
        match self.evaluate(&seen) {
            Ok(Value::Bool(_)) => Ok(()),
            Ok(other) => Err(format!(
                "the condition gives a value of type {}, and must give true or false",
                other.type_of()
            )),
            Err(
                error @ (ExecutionError::NoSuchOverload(_)
                | ExecutionError::UndeclaredReference(_)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::NoSuchKey(_)
                | ExecutionError::InvalidArgumentCount { .. }
                | ExecutionError::UnsupportedTargetType { .. }
                | ExecutionError::NotSupportedAsMethod { .. }
                | ExecutionError::FunctionError { .. }),
            ) => Err(format!("the condition cannot be evaluated: {error}")),
            // What is left depends on the exchange (an index into its groups, say).
            Err(_) => Ok(()),
        }
    }
}

/// One fault of a condition as a whole.
fn whole(message: String) -> Vec<Fault> {
    vec![Fault {
        line: 0,
        column: 0,
        message,
    }]
}

/// How deep brackets nest, texts in quotes aside. It keeps the parser's stack within bounds.
fn bracket_depth(source: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut quote = None;
    let mut escaped = false;
    for c in source.chars() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    deepest
}

/// How often each entity type was found.
#[derive(Debug, Default)]
pub(crate) struct Counts<'a>(BTreeMap<&'a str, i64>);

impl<'a> Counts<'a> {
    pub(crate) fn of(findings: &'a [Finding]) -> Self {
        let mut counts = BTreeMap::new();
        for finding in findings {
            *counts.entry(finding.entity.as_str()).or_insert(0) += 1;
        }
        Self(counts)
    }

    /// Findings of that type or under it.
    fn within(&self, entity: &str) -> i64 {
        self.0
            .iter()
            .filter(|(found, _)| {
                found
                    .strip_prefix(entity)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
            .map(|(_, count)| count)
            .sum()
    }
}

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) counts: &'a Counts<'a>,
    pub(crate) upstream: Option<&'a Upstream>,
    pub(crate) finding: Option<&'a Finding>,
}

/// Hands the names out as CEL values, borrowed, when they are asked for.
struct Names<'a> {
    seen: &'a Seen<'a>,
    counted: &'a BTreeSet<String>,
}

impl VariableResolver for Names<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let facts = self.seen.facts;
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        let number = |number: usize| {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            Some(CowVal::owned(CelInt::from(number)))
        };
        match name {
            "actor.user" => text(&facts.actor.user),
            "actor.groups" => Some(CowVal::owned(CelList::from(
                facts
                    .actor
                    .groups
                    .iter()
                    .map(|group| Box::new(CelString::from(group.as_str())) as Box<dyn Val + 'b>)
                    .collect::<Vec<_>>(),
            ))),
            "dialect" => text(facts.dialect.name()),
            "door" => text(facts.door.name()),
            "host" => text(facts.host.unwrap_or_default()),
            "method" => text(facts.method),
            "path" => text(facts.path),
            "model" => text(facts.model.unwrap_or_default()),
            "requested.name" => text(facts.requested.map_or("", |u| &u.name)),
            "files.count" => number(facts.files.count),
            "files.unread" => number(facts.files.unread),
            "files.kinds" => Some(CowVal::owned(CelList::from(
                facts
                    .files
                    .kinds
                    .iter()
                    .map(|kind| Box::new(CelString::from(*kind)) as Box<dyn Val + 'b>)
                    .collect::<Vec<_>>(),
            ))),
            "requested.kind" => text(facts.requested.map_or("", |u| u.kind.name())),
            "upstream.name" => text(&self.seen.upstream?.name),
            "upstream.kind" => text(self.seen.upstream?.kind.name()),
            "finding.entity" => text(self.seen.finding?.entity.as_str()),
            "finding.family" => text(self.seen.finding?.entity.family()),
            "finding.score" => Some(CowVal::owned(CelDouble::from(f64::from(
                self.seen.finding?.score,
            )))),
            "finding.detector" => text(&self.seen.finding?.detector),
            "counts" => {
                let named = self.counted.iter().map(String::as_str);
                let found = self.seen.counts.0.keys().copied();
                Some(CowVal::owned(CelMap::from(
                    named
                        .chain(found)
                        .map(|entity| {
                            (
                                CelMapKey::from(entity),
                                Box::new(CelInt::from(self.seen.counts.within(entity))) as Box<dyn Val + 'b>,
                            )
                        })
                        .collect::<HashMap<_, _>>(),
                )))
            }
            _ => name
                .strip_prefix("counts.")
                .map(|entity| CowVal::owned(CelInt::from(self.seen.counts.within(entity)))),
        }
    }
}

#[cfg(test)]
mod tests;
