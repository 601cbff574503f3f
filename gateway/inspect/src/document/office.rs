//! Word, Excel and PowerPoint files (Office Open XML).
//!
//! Every XML part of the package is read, so that text is found in headers, comments, notes, charts, hidden
//! sheets and caches of pivot tables as well as in the body. Text of a paragraph is joined over its runs; a
//! row of a table or sheet is a line with tabs. Attributes that carry what people wrote (alternative texts,
//! authors, links, connections) are a part of their own, `!/attributes`, formulas are `!/formulas`.
//! Properties become lines `name: value` in `!/properties`, sensitivity labels among them as
//! `MSIP_Label_<id>_<field>: value`, whichever of the two places of a package they are kept in.
//!
//! What is not XML (pictures, embedded files, macros) is read as a file of its own, and noted as unread
//! where it holds no text.
//!
//! On failure: one broken XML part fails the document.

mod sheet;

use std::fmt::Write;

use self::sheet::Strings;
use super::{
    Kind, Limits, Problem,
    archive::Package,
    extraction::{Extraction, Outcome, inside},
    picture,
    xml::{self, Attributes, Step},
};

/// Attributes in which people's text lies, on any element.
const TELLING: [&str; 15] = [
    "alias",
    "author",
    "command",
    "connection",
    "descr",
    "displayName",
    "displayText",
    "initials",
    "instr",
    "string",
    "text",
    "title",
    "tooltip",
    "url",
    "userId",
];

/// Elements whose `name` people chose.
const NAMED: [&str; 8] = [
    "bookmarkStart",
    "cacheField",
    "definedName",
    "sheet",
    "table",
    "tableColumn",
    "connection",
    "cNvPr",
];

/// Elements that hold text which nobody wrote.
const LAYOUT: [&str; 6] = [
    "align",
    "pctHeight",
    "pctWidth",
    "posOffset",
    "tableStyleId",
    "sizeRelH",
];

pub(super) fn read(run: &mut Extraction<'_>, path: &str, mut package: Package<'_>, kind: Kind) -> Outcome {
    let mut order: Vec<usize> = (0..package.names.len())
        .filter(|i| !package.is_folder(*i))
        .collect();
    order.sort_by_cached_key(|index| place(&package.names[*index]));
    let mut strings = Strings::default();
    let mut said = Said::default();
    for index in order {
        run.entry()?;
        let name = package.names[index].clone();
        let bytes = match package.content(run, index) {
            Ok(bytes) => bytes,
            Err(problem) => {
                run.skip_or(problem, inside(path, &name))?;
                continue;
            }
        };
        let lower = name.to_ascii_lowercase();
        let shown = titled(&lower, &name);
        if lower.contains("printersettings/") {
            // Nearly every workbook from Windows has them: a device's own settings, whose words can be told.
            run.say(inside(path, &name), picture::words(&bytes))?;
        } else if !is_xml(&lower, &bytes) {
            run.nested(path, &name, &bytes)?;
        } else if lower.ends_with(".rels") {
            links(&bytes, run.limits, &mut said.attributes)?;
        } else if lower.starts_with("docprops/") || lower.ends_with("labelinfo.xml") {
            properties(&bytes, run.limits, &mut said.properties)?;
        } else if lower.ends_with("sharedstrings.xml") && kind == Kind::Xlsx {
            strings = Strings::of(&bytes, run.limits)?;
        } else if lower.contains("worksheets/") && kind == Kind::Xlsx {
            let sheet = sheet::read(&bytes, run.limits, &strings, run.text_left(), &mut said)?;
            run.say(inside(path, &shown), sheet)?;
        } else {
            let text = flow(&bytes, run.limits, &mut said.attributes)?;
            run.say(inside(path, &shown), text)?;
        }
    }
    run.say(inside(path, "attributes"), said.attributes)?;
    run.say(inside(path, "formulas"), said.formulas)?;
    run.say(inside(path, "properties"), said.properties)
}

/// What a package says beside its text.
#[derive(Default)]
struct Said {
    attributes: String,
    formulas: String,
    properties: String,
}

/// Where a part comes in reading order: shared strings before the sheets that point to them, then by the
/// number in its name.
fn place(name: &str) -> (bool, String, u64, String) {
    let lower = name.to_ascii_lowercase();
    let stem = lower.rsplit_once('.').map_or(lower.as_str(), |(stem, _)| stem);
    let digits = stem.len() - stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (letters, digits) = stem.split_at(stem.len() - digits);
    (
        !lower.ends_with("sharedstrings.xml"),
        letters.to_owned(),
        digits.parse().unwrap_or(0),
        lower.clone(),
    )
}

/// How people call a part: `slide 3` for `ppt/slides/slide3.xml`.
fn titled(lower: &str, name: &str) -> String {
    for (folder, title) in [
        ("ppt/slides/slide", "slide"),
        ("ppt/notesslides/notesslide", "notes of slide"),
        ("xl/worksheets/sheet", "sheet"),
    ] {
        if let Some(number) = lower
            .strip_prefix(folder)
            .and_then(|rest| rest.strip_suffix(".xml"))
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            return format!("{title} {number}");
        }
    }
    let name = name.strip_suffix(".xml").unwrap_or(name);
    ["word/", "xl/", "ppt/"]
        .iter()
        .find_map(|folder| name.strip_prefix(folder))
        .unwrap_or(name)
        .to_owned()
}

fn is_xml(lower: &str, bytes: &[u8]) -> bool {
    [".xml", ".rels", ".vml"]
        .iter()
        .any(|ending| lower.ends_with(ending))
        || bytes.trim_ascii_start().starts_with(b"<?xml")
        || bytes.starts_with(b"\xEF\xBB\xBF<?xml")
}

/// Text of a part as it flows, and what its attributes say.
fn flow(bytes: &[u8], limits: &Limits, attributes: &mut String) -> Result<String, Problem> {
    let mut text = String::new();
    // Elements that are open: runs of text, definitions of tab stops, elements of layout, phonetic guides.
    let (mut runs, mut stops, mut silent) = (0_usize, 0_usize, 0_usize);
    xml::walk(bytes, limits, |step| {
        match step {
            Step::Start(name, of) => {
                tell(name, &of, attributes)?;
                match name {
                    "t" | "delText" | "instrText" | "delInstrText" => runs += 1,
                    "tabs" | "tabLst" => stops += 1,
                    "tab" if stops == 0 => text.push('\t'),
                    "br" | "cr" => text.push('\n'),
                    "noBreakHyphen" => text.push('-'),
                    _ if LAYOUT.contains(&name) => silent += 1,
                    _ => {}
                }
            }
            Step::Text(said) if runs > 0 => text.push_str(said),
            Step::Text(said) => {
                let said = said.trim();
                if silent == 0 && !said.is_empty() {
                    text.push_str(said);
                    text.push('\n');
                }
            }
            Step::End(name) => match name {
                "t" | "delText" | "instrText" | "delInstrText" => runs = runs.saturating_sub(1),
                "tabs" | "tabLst" => stops = stops.saturating_sub(1),
                "p" | "si" => text.push('\n'),
                "tc" => end_with(&mut text, '\n', '\t'),
                "tr" => end_with(&mut text, '\t', '\n'),
                _ if LAYOUT.contains(&name) => silent = silent.saturating_sub(1),
                _ => {}
            },
        }
        Ok(())
    })?;
    Ok(text)
}

/// Ends a cell or a row, whose last paragraph or cell has ended just now.
fn end_with(text: &mut String, instead_of: char, end: char) {
    if text.ends_with(instead_of) {
        text.pop();
    }
    text.push(end);
}

/// Takes the attributes that say something.
fn tell(element: &str, of: &Attributes<'_>, into: &mut String) -> Result<(), Problem> {
    // Cached values of pivot tables, which outlive the sheet that they came from.
    let is_cached = matches!(element, "s" | "n" | "d" | "e");
    of.each(|name, value| {
        let tells = TELLING.contains(&name)
            || (name == "name" && NAMED.contains(&element))
            || (name == "v" && is_cached);
        if tells && !value.trim().is_empty() {
            let _ = writeln!(into, "{name}: {value}");
        }
    })
}

/// Links that lead out of the package.
fn links(bytes: &[u8], limits: &Limits, into: &mut String) -> Result<(), Problem> {
    xml::walk(bytes, limits, |step| {
        if let Step::Start(_, of) = step
            && of
                .value("TargetMode")?
                .is_some_and(|mode| mode.eq_ignore_ascii_case("External"))
            && let Some(target) = of.value("Target")?
        {
            let _ = writeln!(into, "link: {target}");
        }
        Ok(())
    })
}

/// Properties as lines `name: value`. A property is called by the nearest `name` around its value, or else
/// by its element.
pub(super) fn properties(bytes: &[u8], limits: &Limits, into: &mut String) -> Result<(), Problem> {
    let mut names: Vec<Option<String>> = Vec::new();
    let mut element = String::new();
    xml::walk(bytes, limits, |step| {
        match step {
            Step::Start("label", of) => {
                label(&of, into)?;
                names.push(None);
            }
            // Metadata in PDF files: properties may be attributes.
            Step::Start("Description", of) => {
                of.each(|name, value| {
                    if name != "about" {
                        let _ = writeln!(into, "{name}: {value}");
                    }
                })?;
                names.push(None);
            }
            Step::Start(name, of) => {
                names.push(of.value("name")?);
                name.clone_into(&mut element);
            }
            Step::Text(text) => {
                let text = text.trim();
                if !text.is_empty() {
                    let name = names.iter().rev().flatten().next().unwrap_or(&element);
                    let _ = writeln!(into, "{name}: {text}");
                }
            }
            Step::End(_) => {
                names.pop();
            }
        }
        Ok(())
    })
}

/// A sensitivity label of `docMetadata/LabelInfo.xml`, in the words that `docProps/custom.xml` has for it.
fn label(of: &Attributes<'_>, into: &mut String) -> Result<(), Problem> {
    let Some(id) = of.value("id")? else {
        return Ok(());
    };
    let id = id.trim_matches(['{', '}']).to_owned();
    of.each(|name, value| {
        if name != "id" {
            let (first, rest) = name.split_at(name.chars().next().map_or(0, char::len_utf8));
            let _ = writeln!(into, "MSIP_Label_{id}_{}{rest}: {value}", first.to_uppercase());
        }
    })
}
