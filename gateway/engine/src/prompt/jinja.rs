//! Jinja as chat templates expect it: Hugging Face's environment in minijinja.

use std::sync::Arc;

use cordon_domain::Clock;
use minijinja::{
    Environment, Error, ErrorKind,
    value::{Kwargs, Value},
};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use time::OffsetDateTime;

use crate::failure::Failure;

const NAME: &str = "chat";

/// A compiled template.
pub(super) struct Jinja {
    environment: Environment<'static>,
    source: String,
}

impl Jinja {
    pub(super) fn new(source: String, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |why: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_function("strftime_now", move |format: String| date(&format, clock.now()));
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, without_generation_tags(&source))?;
        Ok(Self { environment, source })
    }

    /// Renders with these variables.
    pub(super) fn render(&self, variables: &impl Serialize) -> Result<String, Failure> {
        let rendered = self
            .environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from_serialize(variables)));
        rendered.map_err(|error| {
            // What the template says by itself may be told; what it made from the request may not.
            let why = error
                .detail()
                .filter(|why| !why.is_empty() && self.source.contains(*why));
            Failure::Template(why.map(str::to_owned))
        })
    }
}

/// `{% generation %}` marks what to train on. It means nothing here, and minijinja does not know
/// it: an empty comment takes its place, with the same say over surrounding white space.
fn without_generation_tags(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let tag = &rest[start + 2..start + length];
        let inner = tag
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+'])
            .trim();
        kept.push_str(&rest[..start]);
        if inner == "generation" || inner == "endgeneration" {
            kept.push_str(if tag.starts_with('-') { "{#-" } else { "{#" });
            kept.push_str(if tag.ends_with('-') { "-#}" } else { "#}" });
        } else {
            kept.push_str(&rest[start..start + length + 2]);
        }
        rest = &rest[start + length + 2..];
    }
    kept.push_str(rest);
    kept
}

/// As Python's `json.dumps(..., ensure_ascii=False)` writes it, which models were trained on:
/// a space after each comma and colon, and nothing escaped for HTML.
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // Python's other options change nothing that templates rely on.
    let mut text = Vec::new();
    let written = match indent {
        Some(indent) => {
            let spaces = " ".repeat(indent.min(16));
            value.serialize(&mut Serializer::with_formatter(
                &mut text,
                PrettyFormatter::with_indent(spaces.as_bytes()),
            ))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut text, Spaced)),
    };
    written.map_err(|_| Error::new(ErrorKind::BadSerialization, "cannot be written as JSON"))?;
    String::from_utf8(text).map_err(|_| Error::new(ErrorKind::BadSerialization, "cannot be written as JSON"))
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, out: &mut W) -> std::io::Result<()> {
        out.write_all(b": ")
    }
}

/// Python's `strftime`, as far as templates use it. Directives that are not known stay as written.
fn date(format: &str, now: OffsetDateTime) -> String {
    use std::fmt::Write as _;

    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let (month, weekday) = (now.month().to_string(), now.weekday().to_string());
        // Writing to a string cannot fail.
        let _ = match letters.next() {
            Some('Y') => write!(text, "{}", now.year()),
            Some('y') => write!(text, "{:02}", now.year().rem_euclid(100)),
            Some('m') => write!(text, "{:02}", u8::from(now.month())),
            Some('d') => write!(text, "{:02}", now.day()),
            Some('B') => write!(text, "{month}"),
            Some('b') => write!(text, "{month:.3}"),
            Some('A') => write!(text, "{weekday}"),
            Some('a') => write!(text, "{weekday:.3}"),
            Some('H') => write!(text, "{:02}", now.hour()),
            Some('I') => write!(text, "{:02}", (now.hour() + 11) % 12 + 1),
            Some('p') => write!(text, "{}", if now.hour() < 12 { "AM" } else { "PM" }),
            Some('M') => write!(text, "{:02}", now.minute()),
            Some('S') => write!(text, "{:02}", now.second()),
            Some('j') => write!(text, "{:03}", now.ordinal()),
            Some('F') => write!(
                text,
                "{}-{:02}-{:02}",
                now.year(),
                u8::from(now.month()),
                now.day()
            ),
            Some('Z') => write!(text, "UTC"),
            Some('%') => write!(text, "%"),
            Some(other) => write!(text, "%{other}"),
            None => write!(text, "%"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use cordon_domain::SystemClock;
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn render(source: &str, variables: serde_json::Value) -> String {
        Jinja::new(source.to_owned(), Arc::new(SystemClock))
            .unwrap()
            .render(&variables)
            .unwrap()
    }

    #[test]
    fn json_is_written_as_python_does_and_in_order() {
        let tools = json!([{"z": 1, "a": "<é\"", "n": null, "l": [1, 2], "e": {}}]);
        assert_eq!(
            render("{{ tools | tojson }}", json!({"tools": tools})),
            r#"[{"z": 1, "a": "<é\"", "n": null, "l": [1, 2], "e": {}}]"#
        );
        assert_eq!(
            render("{{ x | tojson(indent=2) }}", json!({"x": [1]})),
            "[\n  1\n]"
        );
    }

    #[test]
    fn methods_of_python_strings_and_loop_controls_work() {
        let source = "{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}\
                      {{ m.strip().split('</think>')[-1].upper() }}{% endfor %}";
        assert_eq!(render(source, json!({"messages": [" a</think>b ", "c"]})), "B");
    }

    #[test]
    fn training_tags_are_passed_over() {
        assert_eq!(
            render("a {%- generation -%} b {% endgeneration %}c", json!({})),
            "ab c"
        );
    }

    #[test]
    fn dates_are_written_as_python_does() {
        let moment = datetime!(2026-03-05 13:04:09 UTC);
        assert_eq!(
            date("%d %b %Y %A %B %y-%m %H:%M:%S %j %I%p 100%% %Q %", moment),
            "05 Mar 2026 Thursday March 26-03 13:04:09 064 01PM 100% %Q %"
        );
    }
}
