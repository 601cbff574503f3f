//! Reads lines `{"id","text"}` and writes lines `{"id","spans":[{"start","end","type","score"}]}`, offsets
//! in characters, for measuring. `--all` also prints regions (source code, classification markings), `--names
//! FOLDER` asks the token classifier in that folder, too.

use std::{
    io::{self, BufRead, Write},
    path::Path,
    sync::Arc,
};

use cordon_domain::{Place, Role, Segment, Text};
use cordon_inspect::{Inspector, Ner, NerFiles};
use serde_json::{Value, json};

/// What `cordon scan` reports with `--regions` only.
const REGIONS: [&str; 6] = [
    "SOURCE_CODE",
    "STACK_TRACE",
    "LOG",
    "CONFIGURATION",
    "CONFIDENTIAL",
    "INTERNAL",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all = std::env::args().any(|arg| arg == "--all");
    let inspector = Inspector::embedded().map_err(|errors| {
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    let names = std::env::args().skip_while(|arg| arg != "--names").nth(1);
    let ner = match &names {
        Some(folder) => Some(Arc::new(Ner::load(&NerFiles::in_folder(Path::new(folder)), 2)?)),
        None => None,
    };
    let inspector = inspector.with_ner(ner);
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line?)?;
        let text = row["text"].as_str().unwrap_or_default();
        let segment = Segment {
            place: Place::new("/text"),
            role: Role::User,
            text: Text::from(text),
        };
        let (findings, _) = inspector.inspect_fully(&[segment], None);
        let spans: Vec<Value> = findings
            .into_iter()
            .filter(|finding| all || !REGIONS.contains(&finding.entity.family()))
            .map(|finding| {
                let start = text[..finding.span.start].chars().count();
                let length = text[finding.span].chars().count();
                json!({"start": start, "end": start + length, "type": finding.entity, "score": finding.score})
            })
            .collect();
        writeln!(out, "{}", json!({"id": row["id"], "spans": spans}))?;
    }
    Ok(())
}
