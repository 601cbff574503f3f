//! OpenDocument texts, sheets, slides and drawings.
//!
//! Text of a paragraph is joined over its spans; a row of a table is a line with tabs; each sheet and slide
//! is a part. Headers and footers live in `styles.xml`, which is read as well. Properties become lines
//! `name: value` in `!/properties`. Cells that are repeated are read once.
//!
//! On failure: one broken XML part fails the document; a package whose manifest tells of encryption is
//! encrypted, whatever else can be read of it.

use std::fmt::Write;

use super::{
    Kind, Limits, Problem,
    archive::Package,
    extraction::{Extraction, Outcome, inside},
    office::properties,
    xml::{self, Step},
};

/// Most spaces that one element stands for.
const MOST_SPACES: usize = 64;

pub(super) fn read(run: &mut Extraction<'_>, path: &str, mut package: Package<'_>, kind: Kind) -> Outcome {
    if let Some(index) = package
        .names
        .iter()
        .position(|name| name == "META-INF/manifest.xml")
    {
        let manifest = package.content(run, index)?;
        xml_is_open(&manifest, run.limits)?;
    }
    let mut attributes = String::new();
    for index in 0..package.names.len() {
        run.entry()?;
        let name = package.names[index].clone();
        if package.is_folder(index) || name == "mimetype" || name == "META-INF/manifest.xml" {
            continue;
        }
        let bytes = match package.content(run, index) {
            Ok(bytes) => bytes,
            Err(problem) => {
                run.skip_or(problem, inside(path, &name))?;
                continue;
            }
        };
        if !name.ends_with(".xml") && !name.ends_with(".rdf") {
            run.nested(path, &name, &bytes)?;
        } else if name.ends_with("meta.xml") {
            let mut text = String::new();
            properties(&bytes, run.limits, &mut text)?;
            run.say(inside(path, "properties"), text)?;
        } else {
            let shown = name.trim_end_matches(".xml");
            for (number, text) in sections(&bytes, run.limits, kind, &mut attributes)?
                .into_iter()
                .enumerate()
            {
                let shown = match kind {
                    _ if number == 0 => shown.to_owned(),
                    Kind::Ods => format!("sheet {number}"),
                    _ => format!("slide {number}"),
                };
                run.say(inside(path, &shown), text)?;
            }
        }
    }
    run.say(inside(path, "attributes"), attributes)
}

fn xml_is_open(manifest: &[u8], limits: &Limits) -> Result<(), Problem> {
    xml::walk(manifest, limits, |step| match step {
        Step::Start("encryption-data" | "encrypted-key", _) => Err(Problem::Encrypted),
        _ => Ok(()),
    })
}

/// What stands before the first sheet or slide, and then the text of each.
fn sections(
    bytes: &[u8],
    limits: &Limits,
    kind: Kind,
    attributes: &mut String,
) -> Result<Vec<String>, Problem> {
    let mut done = Vec::new();
    let mut text = String::new();
    let mut paragraphs = 0_usize;
    let mut tables = 0_usize;
    xml::walk(bytes, limits, |step| {
        match step {
            Step::Start(name, of) => {
                of.each(|attribute, value| {
                    let tells = matches!(attribute, "href" | "formula" | "author" | "display-name")
                        || (attribute == "name" && matches!(name, "table" | "bookmark" | "page"));
                    if tells && !value.trim().is_empty() {
                        let _ = writeln!(attributes, "{attribute}: {value}");
                    }
                })?;
                match name {
                    "p" | "h" => paragraphs += 1,
                    "tab" => text.push('\t'),
                    "line-break" => text.push('\n'),
                    "s" => {
                        let many = of.value("c")?.and_then(|many| many.parse().ok());
                        text.extend(std::iter::repeat_n(' ', many.unwrap_or(1).min(MOST_SPACES)));
                    }
                    "table" => {
                        tables += 1;
                        if kind == Kind::Ods && tables == 1 {
                            done.push(std::mem::take(&mut text));
                        }
                    }
                    "page" if kind == Kind::Odp => done.push(std::mem::take(&mut text)),
                    _ => {}
                }
            }
            Step::Text(said) if paragraphs > 0 => text.push_str(said),
            Step::Text(said) => {
                let said = said.trim();
                if !said.is_empty() {
                    text.push_str(said);
                    text.push('\n');
                }
            }
            Step::End(name) => match name {
                "p" | "h" => {
                    paragraphs = paragraphs.saturating_sub(1);
                    text.push('\n');
                }
                "table" => tables = tables.saturating_sub(1),
                "table-cell" | "covered-table-cell" => {
                    if text.ends_with('\n') {
                        text.pop();
                    }
                    text.push('\t');
                }
                "table-row" => {
                    text.truncate(text.trim_end_matches('\t').len());
                    text.push('\n');
                }
                _ => {}
            },
        }
        Ok(())
    })?;
    done.push(text);
    Ok(done)
}
