//! CEL conditions: compiled once when a policy is parsed, evaluated against one exchange.
//!
//! A condition speaks of a fixed set of names ([`NAMES`]). Everything that can be wrong with one is
//! looked for at parse: syntax, size, unknown names, nested loops, and, by a trial run against a
//! made-up exchange, operators that do not fit their operands and results that are not a truth value.
//! Evaluation has no clock, no I/O and no way to loop beyond the lists it is given.
//!
//! Limits: [`MAX_BYTES`] of source, [`MAX_LOOPS`] comprehensions inside one another, [`MAX_DEPTH`] of
//! anything else. The parser recurses, so compiling has a stack of its own, [`STACK`] bytes; what is
//! left to evaluate is shallow enough for any thread.
//!
//! On failure: at parse a diagnostic with its place; at run time [`ConditionFailed`], which says
//! nothing about the values, and which `decide` turns into a block under the rule's name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Program, Value,
    common::{
        ast::{EntryExpr, Expr, LiteralValue, operators},
        types::{CelDouble, CelInt, CelList, CelMap, CelMapKey, CelString},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use cordon_domain::{Actor, Dialect, Door, EntityType, Finding, Identity, UpstreamKind};

use crate::{Facts, Upstream};

/// The longest condition, in bytes.
pub(crate) const MAX_BYTES: usize = 2048;

/// How deep `exists`, `all`, `map` and `filter` may lie in one another.
pub(crate) const MAX_LOOPS: usize = 2;

/// How deep operators and brackets may lie in one another.
const MAX_DEPTH: usize = 48;

/// The stack that a condition is compiled on. A level of brackets takes the parser some 40 KiB without
/// optimisation, and a source of [`MAX_BYTES`] has no more than a few hundred levels of anything else.
const STACK: usize = 64 << 20;

/// Every name a condition may use, besides `counts.TYPE` and its own loop variables.
const NAMES: [(&str, Scope); 17] = [
    ("actor.user", Scope::Exchange),
    ("actor.groups", Scope::Exchange),
    ("dialect", Scope::Exchange),
    ("door", Scope::Exchange),
    ("host", Scope::Exchange),
    ("method", Scope::Exchange),
    ("path", Scope::Exchange),
    ("model", Scope::Exchange),
    ("requested.name", Scope::Exchange),
    ("requested.kind", Scope::Exchange),
    ("counts", Scope::Exchange),
    ("upstream.name", Scope::Upstream),
    ("upstream.kind", Scope::Upstream),
    ("finding.entity", Scope::Finding),
    ("finding.family", Scope::Finding),
    ("finding.score", Scope::Finding),
    ("finding.detector", Scope::Finding),
];

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
        let mut review = Review {
            program: &program,
            source,
            allowed,
            needed: Scope::Exchange,
            counted: BTreeSet::new(),
            faults: Vec::new(),
        };
        review.expression(program.expression(), &mut Vec::new(), 0, 0);
        let Review {
            needed,
            counted,
            faults,
            ..
        } = review;
        if !faults.is_empty() {
            return Err(faults);
        }
        let condition = Self {
            program,
            scope: needed,
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

/// Walks an expression and looks every name up.
struct Review<'p> {
    program: &'p Program,
    source: &'p str,
    allowed: Scope,
    needed: Scope,
    counted: BTreeSet<String>,
    faults: Vec<Fault>,
}

impl<'p> Review<'p> {
    fn expression(&mut self, expr: &'p IdedExpr, locals: &mut Vec<&'p str>, loops: usize, depth: usize) {
        if depth > MAX_DEPTH {
            self.faults.extend(whole(
                "the condition chains too many operators; split the rule".into(),
            ));
            return;
        }
        let depth = depth + 1;
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => self.name(expr, &[name], locals),
            Expr::Select(select) => match segments(expr) {
                Some(name) => self.name(expr, &name, locals),
                None if select.test => self.fault(
                    expr,
                    "`has(...)` is not needed: every name is always there, an absent count is 0".into(),
                ),
                None => self.expression(&select.operand, locals, loops, depth),
            },
            Expr::Call(call) => {
                if call.func_name == operators::INDEX
                    && let [of, by] = call.args.as_slice()
                    && matches!(&of.expr, Expr::Ident(name) if name == "counts" && !locals.contains(&"counts"))
                {
                    match &by.expr {
                        Expr::Literal(LiteralValue::String(entity)) => self.count(expr, entity.inner()),
                        _ => self.fault(
                            expr,
                            "write the type that `counts` is asked for in quotes: `counts[\"SECRET.JWT\"]`"
                                .into(),
                        ),
                    }
                    return;
                }
                if let Some(target) = &call.target {
                    self.expression(target, locals, loops, depth);
                }
                for argument in &call.args {
                    self.expression(argument, locals, loops, depth);
                }
            }
            Expr::Comprehension(each) => {
                if loops == MAX_LOOPS {
                    self.fault(expr, format!("loops may nest {MAX_LOOPS} deep at most"));
                    return;
                }
                self.expression(&each.iter_range, locals, loops, depth);
                self.expression(&each.accu_init, locals, loops, depth);
                let outer = locals.len();
                locals.push(&each.iter_var);
                locals.extend(each.iter_var2.as_deref());
                locals.push(&each.accu_var);
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.expression(part, locals, loops + 1, depth);
                }
                locals.truncate(outer);
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.expression(element, locals, loops, depth);
                }
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(pair) => {
                            self.expression(&pair.key, locals, loops, depth);
                            self.expression(&pair.value, locals, loops, depth);
                        }
                        EntryExpr::StructField(field) => self.expression(&field.value, locals, loops, depth),
                    }
                }
            }
            Expr::Struct(_) => self.fault(expr, "conditions have no message types".into()),
        }
    }

    fn name(&mut self, expr: &IdedExpr, name: &[&str], locals: &[&str]) {
        let Some((root, fields)) = name.split_first() else {
            return;
        };
        if locals.contains(root) || root.starts_with('@') {
            return;
        }
        if *root == "counts" {
            match fields {
                [] => {}
                [entity] => self.count(expr, entity),
                _ => self.fault(
                    expr,
                    format!(
                        "write a type with a dot in quotes: `counts[\"{}\"]`",
                        fields.join(".")
                    ),
                ),
            }
            return;
        }
        let written = name.join(".");
        match NAMES.iter().find(|(known, _)| *known == written) {
            Some((_, scope)) if *scope > self.allowed => self.fault(
                expr,
                match scope {
                    Scope::Finding => format!(
                        "`{written}` is known only in a rule with `entities`; write `entities: [\"*\"]` for any finding"
                    ),
                    _ => format!(
                        "`{written}` is not settled yet in a route; `requested.{}` is what the caller asked for",
                        fields.join(".")
                    ),
                },
            ),
            Some((_, scope)) => self.needed = self.needed.max(*scope),
            None => {
                let near: Vec<&str> = NAMES
                    .iter()
                    .filter(|(known, scope)| {
                        *scope <= self.allowed && known.split('.').next() == Some(*root) && known.contains('.')
                    })
                    .map(|(known, _)| *known)
                    .collect();
                let known: Vec<&str> = if near.is_empty() {
                    NAMES
                        .iter()
                        .filter(|(_, scope)| *scope <= self.allowed)
                        .map(|(known, _)| *known)
                        .collect()
                } else {
                    near
                };
                self.fault(
                    expr,
                    format!("no name `{written}` in conditions; there is {}", known.join(", ")),
                );
            }
        }
    }

    fn count(&mut self, expr: &IdedExpr, entity: &str) {
        if entity.parse::<EntityType>().is_ok() {
            self.counted.insert(entity.to_owned());
        } else {
            self.fault(
                expr,
                format!(
                    "`{entity}` is no entity type: write upper-case words of A-Z, 0-9 and _ joined by dots"
                ),
            );
        }
    }

    fn fault(&mut self, expr: &IdedExpr, message: String) {
        // The place of a selection is its dot; a reader looks for where the name starts.
        let mut expr = expr;
        loop {
            expr = match &expr.expr {
                Expr::Select(select) => &select.operand,
                Expr::Call(call) if call.func_name == operators::INDEX && !call.args.is_empty() => {
                    &call.args[0]
                }
                _ => break,
            };
        }
        let offset = self
            .program
            .source_info()
            .offset_for(expr.id)
            .map_or(0, |(start, _)| start as usize);
        let before: String = self.source.chars().take(offset).collect();
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count());
        self.faults.push(Fault {
            line: line as u64,
            column: column as u64,
            message,
        });
    }
}

/// The parts of a dotted name, root first; none for anything else.
fn segments(expr: &IdedExpr) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut at = expr;
    loop {
        match &at.expr {
            Expr::Ident(name) => {
                parts.push(name.as_str());
                parts.reverse();
                return Some(parts);
            }
            Expr::Select(select) if !select.test => {
                parts.push(select.field.as_str());
                at = &select.operand;
            }
            _ => return None,
        }
    }
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
mod tests {
    use super::*;

    fn faults(source: &str, allowed: Scope) -> Vec<String> {
        Condition::compile(source, allowed)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|f| format!("{}:{} {}", f.line, f.column, f.message))
            .collect()
    }

    fn holds(source: &str) -> Result<bool, ConditionFailed> {
        let actor = Actor {
            user: "j.kim".into(),
            groups: BTreeSet::from(["cloud-users".to_owned(), "fab".to_owned()]),
            identity: Identity::AnonymousLoopback,
        };
        let cloud = Upstream {
            name: "openai".into(),
            kind: UpstreamKind::Cloud,
        };
        let found = |entity: &str| Finding {
            segment: 0,
            span: 0..1,
            entity: entity.parse().unwrap(),
            detector: "d".into(),
            score: 0.75,
            evidence: vec![],
        };
        let findings = [
            found("SECRET.JWT"),
            found("SECRET.AWS_ACCESS_KEY"),
            found("EMAIL"),
        ];
        let counts = Counts::of(&findings);
        let facts = Facts {
            actor: &actor,
            dialect: Dialect::AnthropicMessages,
            door: Door::Proxy,
            host: None,
            method: "POST",
            path: "/v1/messages",
            model: Some("claude-x"),
            requested: Some(&cloud),
            upstreams: &[],
            roles: &[],
            acknowledged: None,
        };
        Condition::compile(source, Scope::Finding)
            .unwrap_or_else(|f| panic!("{source}: {f:?}"))
            .holds(&Seen {
                facts: &facts,
                counts: &counts,
                upstream: Some(&cloud),
                finding: Some(&findings[0]),
            })
    }

    #[test]
    fn answers_about_every_name() {
        for source in [
            r#"actor.user == "j.kim""#,
            r#""cloud-users" in actor.groups && !("x" in actor.groups)"#,
            r#"actor.groups.exists(g, g.startsWith("cloud"))"#,
            r#"dialect == "anthropic-messages" && door == "proxy" && host == """#,
            r#"method == "POST" && path.startsWith("/v1/")"#,
            r#"model.matches("^claude-")"#,
            r#"requested.name == "openai" && requested.kind == "cloud""#,
            r#"upstream.name == "openai" && upstream.kind in ["cloud", "cluster"]"#,
            r#"finding.entity == "SECRET.JWT" && finding.family == "SECRET""#,
            r#"finding.score > 0.7 && finding.detector == "d""#,
            "counts.SECRET == 2 && counts.EMAIL == 1 && counts.IBAN == 0",
            r#"counts["SECRET.JWT"] == 1 && counts["SECRET.PEM"] == 0"#,
            "size(counts) == 3",
        ] {
            assert_eq!(holds(source), Ok(true), "{source}");
        }
    }

    #[test]
    fn run_time_errors_are_errors() {
        assert_eq!(holds("actor.groups[5] == \"x\""), Err(ConditionFailed));
        assert_eq!(holds("1 / counts.IBAN == 1"), Err(ConditionFailed));
    }

    #[test]
    fn refuses_what_cannot_work() {
        for (source, allowed, wanted) in [
            ("", Scope::Finding, "0:0 the condition is empty"),
            ("actor.usr == 'x'", Scope::Finding, "no name `actor.usr`"),
            (
                "actor == 'x'",
                Scope::Finding,
                "there is actor.user, actor.groups",
            ),
            (
                "actor.user.name == 'x'",
                Scope::Finding,
                "no name `actor.user.name`",
            ),
            (
                "finding.score > 0.5",
                Scope::Upstream,
                "only in a rule with `entities`",
            ),
            ("upstream.kind == 'x'", Scope::Exchange, "requested.kind"),
            ("actor.user", Scope::Finding, "gives a value of type string"),
            ("actor.user > 5", Scope::Finding, "cannot be evaluated"),
            ("shout(actor.user)", Scope::Finding, "cannot be evaluated"),
            ("counts.SECRET.JWT > 0", Scope::Finding, "counts[\"SECRET.JWT\"]"),
            ("counts[model] > 0", Scope::Finding, "in quotes"),
            ("counts.email > 0", Scope::Finding, "is no entity type"),
            ("has(actor.user)", Scope::Finding, "not needed"),
            (
                "actor.groups.all(a, actor.groups.all(b, actor.groups.all(c, a == b)))",
                Scope::Finding,
                "loops may nest 2 deep",
            ),
            ("model.matches('(')", Scope::Finding, "cannot be evaluated"),
        ] {
            let found = faults(source, allowed);
            assert!(found.iter().any(|f| f.contains(wanted)), "{source}: {found:?}");
        }
        let long = format!("model == '{}'", "x".repeat(MAX_BYTES));
        assert!(faults(&long, Scope::Finding)[0].contains("more than"));
    }

    #[test]
    fn names_the_place_of_a_fault() {
        assert_eq!(
            faults("door == \"proxy\" &&\n  actor.usr == 'x'", Scope::Finding)
                .iter()
                .map(|f| f.split(' ').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>(),
            ["1:2"]
        );
        let found = faults("door == == 1", Scope::Finding);
        assert!(found[0].starts_with("0:8 condition: "), "{found:?}");
    }

    #[test]
    fn deep_and_long_sources_end_in_an_answer() {
        for source in [
            "(".repeat(MAX_BYTES),
            "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH),
            "(".repeat(MAX_DEPTH) + "true" + &")".repeat(MAX_DEPTH),
            "!".repeat(MAX_BYTES - 10) + "true",
            "-".repeat(MAX_BYTES - 10) + "1",
            format!("{}1 == 1", "1+".repeat(1000)),
            format!("{}true", "true&&".repeat(300)),
            format!("{}true", "true?".repeat(300)),
            format!("model{}", ".a".repeat(1000)),
            "\"".repeat(MAX_BYTES),
            "\u{0}\u{fffd}é\\".repeat(50),
        ] {
            if let Ok(condition) = Condition::compile(&source, Scope::Finding) {
                let _ = condition.trial();
            }
        }
        assert!(faults(&format!("{}1 == 1", "1+".repeat(1000)), Scope::Finding)[0].contains("too many"));
    }
}
