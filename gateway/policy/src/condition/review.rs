//! Looks a compiled condition over before it is ever asked: its names, functions and comparisons.

use std::collections::BTreeSet;

use cel::{
    IdedExpr, Program,
    common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators},
};
use cordon_domain::{Dialect, DialectName, Door, EntityType, UpstreamKind};

use super::{Fault, MAX_DEPTH, MAX_LOOPS, Scope, whole};

/// A name that a condition may use.
struct Name {
    name: &'static str,
    scope: Scope,
    kind: Kind,
}

/// What a name stands for.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// A text of a fixed set.
    OneOf(fn() -> Vec<&'static str>),
    Texts,
    Number,
    Map,
}

/// Every name there is, besides `counts.TYPE` and a condition's own loop variables.
const NAMES: [Name; 20] = [
    name("actor.user", Scope::Exchange, Kind::Text),
    name("actor.groups", Scope::Exchange, Kind::Texts),
    name("dialect", Scope::Exchange, Kind::OneOf(dialects)),
    name("door", Scope::Exchange, Kind::OneOf(doors)),
    name("host", Scope::Exchange, Kind::Text),
    name("method", Scope::Exchange, Kind::Text),
    name("path", Scope::Exchange, Kind::Text),
    name("model", Scope::Exchange, Kind::Text),
    name("requested.name", Scope::Exchange, Kind::Text),
    name("requested.kind", Scope::Exchange, Kind::OneOf(kinds)),
    name("counts", Scope::Exchange, Kind::Map),
    name("files.count", Scope::Exchange, Kind::Number),
    name("files.unread", Scope::Exchange, Kind::Number),
    name("files.kinds", Scope::Exchange, Kind::Texts),
    name("upstream.name", Scope::Upstream, Kind::Text),
    name("upstream.kind", Scope::Upstream, Kind::OneOf(kinds)),
    name("finding.entity", Scope::Finding, Kind::Text),
    name("finding.family", Scope::Finding, Kind::Text),
    name("finding.score", Scope::Finding, Kind::Number),
    name("finding.detector", Scope::Finding, Kind::Text),
];

/// Every function there is, besides operators and the loops `all`, `exists`, `exists_one`, `filter`, `map`.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

const fn name(name: &'static str, scope: Scope, kind: Kind) -> Name {
    Name { name, scope, kind }
}

fn dialects() -> Vec<&'static str> {
    let described = DialectName::all().into_iter().map(DialectName::as_str);
    Dialect::BUILT_IN
        .map(Dialect::name)
        .into_iter()
        .chain(described)
        .collect()
}

fn doors() -> Vec<&'static str> {
    [Door::Gateway, Door::Proxy, Door::Transparent]
        .map(Door::name)
        .to_vec()
}

fn kinds() -> Vec<&'static str> {
    [UpstreamKind::Engine, UpstreamKind::Cluster, UpstreamKind::Cloud]
        .map(UpstreamKind::name)
        .to_vec()
}

/// What a condition turned out to need.
pub(super) struct Reviewed {
    /// The narrowest scope that its names need.
    pub(super) scope: Scope,
    /// Entity types that it asks the counts of.
    pub(super) counted: BTreeSet<String>,
}

/// Looks a condition over; `source` is what it was compiled from.
pub(super) fn review(program: &Program, source: &str, allowed: Scope) -> Result<Reviewed, Vec<Fault>> {
    let mut review = Review {
        program,
        source,
        allowed,
        needed: Scope::Exchange,
        counted: BTreeSet::new(),
        faults: Vec::new(),
    };
    review.expression(program.expression(), &mut Vec::new(), 0, 0);
    if review.faults.is_empty() {
        Ok(Reviewed {
            scope: review.needed,
            counted: review.counted,
        })
    } else {
        Err(review.faults)
    }
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
                self.function(expr, &call.func_name);
                self.comparison(call, locals);
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
        let Some(known) = NAMES.iter().find(|known| known.name == written) else {
            let within = |known: &&Name| known.scope <= self.allowed;
            let mut near: Vec<&str> = NAMES
                .iter()
                .filter(within)
                .filter(|known| {
                    known
                        .name
                        .split_once('.')
                        .is_some_and(|(first, _)| first == *root)
                })
                .map(|known| known.name)
                .collect();
            if near.is_empty() {
                near = NAMES.iter().filter(within).map(|known| known.name).collect();
            }
            self.fault(
                expr,
                format!("no name `{written}` in conditions; there is {}", near.join(", ")),
            );
            return;
        };
        if known.scope <= self.allowed {
            self.needed = self.needed.max(known.scope);
            return;
        }
        let message = if known.scope == Scope::Finding {
            format!(
                "`{written}` is known only in a rule with `entities`; write `entities: [\"*\"]` for any finding"
            )
        } else {
            format!(
                "`{written}` is not settled yet in a route; `requested.{}` is what the caller asked for",
                fields.join(".")
            )
        };
        self.fault(expr, message);
    }

    /// Functions are looked up here because a trial run does not reach every branch.
    fn function(&mut self, expr: &IdedExpr, name: &str) {
        let is_operator = name.starts_with(['_', '!', '-', '@']);
        if !is_operator && !FUNCTIONS.contains(&name) {
            // The place of a call is its bracket; a reader looks for the function's name before it.
            let offset = self.offset(expr).saturating_sub(name.chars().count());
            self.fault_at(
                offset,
                format!(
                    "no function `{name}` in conditions; there is {}",
                    FUNCTIONS.join(", ")
                ),
            );
        }
    }

    /// Comparisons of a name with a literal that can never hold: CEL takes them, and the rule would
    /// silently never match.
    fn comparison(&mut self, call: &'p CallExpr, locals: &[&str]) {
        let [left, right] = call.args.as_slice() else {
            return;
        };
        match call.func_name.as_str() {
            operators::EQUALS | operators::NOT_EQUALS => {
                self.compared(left, right, locals);
                self.compared(right, left, locals);
            }
            operators::IN => {
                if let Expr::List(list) = &right.expr {
                    for element in &list.elements {
                        self.compared(left, element, locals);
                    }
                }
            }
            _ => {}
        }
    }

    fn compared(&mut self, name: &IdedExpr, with: &IdedExpr, locals: &[&str]) {
        let (Some(parts), Expr::Literal(literal)) = (segments(name), &with.expr) else {
            return;
        };
        if parts.first().is_some_and(|root| locals.contains(root)) {
            return;
        }
        let written = parts.join(".");
        let kind = match NAMES.iter().find(|known| known.name == written) {
            Some(known) => known.kind,
            None if parts.len() == 2 && parts[0] == "counts" => Kind::Number,
            None => return,
        };
        let fits = match kind {
            Kind::Text | Kind::OneOf(_) => matches!(literal, LiteralValue::String(_)),
            Kind::Number => matches!(
                literal,
                LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)
            ),
            Kind::Texts | Kind::Map => false,
        };
        if !fits {
            let hint = match kind {
                Kind::Texts => format!("it is a list: write `\"...\" in {written}`"),
                Kind::Map => "write `counts.TYPE`".into(),
                Kind::Number => "it is a number".into(),
                Kind::Text | Kind::OneOf(_) => "it is a text".into(),
            };
            self.fault(name, format!("`{written}` can never equal this; {hint}"));
            return;
        }
        if let (Kind::OneOf(values), LiteralValue::String(text)) = (kind, literal) {
            let values = values();
            // Nothing was asked for, or came in elsewhere: these are empty then.
            let empty = text.inner().is_empty() && written.starts_with("requested.");
            if !empty && !values.contains(&text.inner()) {
                self.fault(
                    with,
                    format!(
                        "`{written}` is never `{}`; it is one of {}",
                        text.inner(),
                        values.join(", ")
                    ),
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
        let offset = self.offset(expr);
        self.fault_at(offset, message);
    }

    fn offset(&self, expr: &IdedExpr) -> usize {
        self.program
            .source_info()
            .offset_for(expr.id)
            .map_or(0, |(start, _)| start as usize)
    }

    fn fault_at(&mut self, offset: usize, message: String) {
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
