//! `cordon scan`: the detectors by themselves, over files or standard input.
//!
//! Text form prints `path:line:column type score`, with lines and columns from 1, columns in Unicode
//! characters; never the text found. `jsonl` reads `{"id","text"}` a line and writes
//! `{"id","spans":[{"start","end","type","score"}]}`, offsets in Unicode characters, end exclusive.
//! Source code, logs, settings, confidential passages and internal names are reported with `--regions` only.

use std::{
    fs,
    io::{BufRead, BufReader, Read, stdin},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use cordon_domain::{
    Action, Actor, Dialect, Door, Finding, Identity, Place, Role, Segment, Text, UpstreamKind,
};
use cordon_inspect::Inspector;
use cordon_policy::{Facts, Policy, Upstream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{NO, Where, say};
use crate::{config::Config, rules};

/// Families that mark whole passages, and names of the company's own machines. In a folder of source code
/// every file holds some, which would drown what a scan of files is for.
const REGIONS: [&str; 6] = [
    "SOURCE_CODE",
    "STACK_TRACE",
    "LOG",
    "CONFIGURATION",
    "CONFIDENTIAL",
    "INTERNAL",
];

/// Files larger than this are not read.
const LARGEST_FILE: u64 = 256 << 20;

/// Arguments of `cordon scan`.
#[derive(Args)]
pub struct Scan {
    /// Configuration whose further detectors are used, too.
    #[command(flatten)]
    place: Where,
    /// Only report what this policy would act on if it were sent to a cloud.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Group of the sender that `--policy` is asked about; may be given several times.
    #[arg(long = "group", requires = "policy")]
    groups: Vec<String>,
    /// Also report whole passages (source code, stack traces, logs, settings, text that is marked as
    /// confidential) and internal hosts, paths and addresses.
    #[arg(long)]
    regions: bool,
    /// Form of input and output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Files; `-` or nothing is standard input.
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Jsonl,
}

#[derive(Deserialize)]
struct Line {
    id: serde_json::Value,
    text: String,
}

#[derive(Serialize)]
struct Span<'a> {
    start: usize,
    end: usize,
    #[serde(rename = "type")]
    entity: &'a str,
    score: f64,
}

impl Scan {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let config = match (&self.place.config, &self.place.dir) {
            (None, None) => Config::default(),
            _ => self.place.load()?,
        };
        let inspector = rules::load_inspector(&config)?.with_ner(rules::load_ner(&config)?);
        let policy = match &self.policy {
            Some(file) => {
                let config = Config {
                    policy: Some(file.clone()),
                    ..Config::default()
                };
                Some(rules::load_policy(&config)?)
            }
            None => None,
        };
        let wanted = |mut findings: Vec<Finding>| {
            findings.retain(|finding| self.regions || !REGIONS.contains(&finding.entity.family()));
            match &policy {
                Some(policy) => acted_on(policy, &self.groups, findings),
                None => findings,
            }
        };
        let inputs = if self.files.is_empty() {
            vec![PathBuf::from("-")]
        } else {
            self.files.clone()
        };
        let mut found = 0;
        for input in inputs {
            found += match self.format {
                Format::Jsonl => lines(&inspector, &input, &wanted)?,
                Format::Text | Format::Json => whole(&inspector, &input, &wanted, self.format)?,
            };
        }
        Ok(ExitCode::from(if found > 0 && self.format != Format::Jsonl {
            NO
        } else {
            0
        }))
    }
}

/// The findings for which a policy does anything but allow, when the text goes to a cloud.
fn acted_on(policy: &Policy, groups: &[String], findings: Vec<Finding>) -> Vec<Finding> {
    let cloud = Upstream {
        name: "cloud".into(),
        kind: UpstreamKind::Cloud,
    };
    let actor = Actor {
        user: "scan".to_owned(),
        groups: groups.iter().cloned().collect(),
        identity: Identity::Unidentified,
    };
    let facts = Facts {
        actor: &actor,
        dialect: Dialect::OpenaiChat,
        door: Door::Proxy,
        host: None,
        method: "POST",
        path: "/v1/chat/completions",
        model: None,
        requested: Some(&cloud),
        upstreams: std::slice::from_ref(&cloud),
        roles: &[Role::User],
        acknowledged: None,
    };
    let decision = policy.decide(&facts, &findings);
    let acts = |index: usize| {
        decision
            .verdicts
            .iter()
            .any(|verdict| verdict.finding == index && verdict.action != Action::Allow)
    };
    findings
        .into_iter()
        .enumerate()
        .filter(|(index, _)| acts(*index))
        .map(|(_, finding)| finding)
        .collect()
}

fn open(input: &PathBuf) -> Result<Box<dyn Read>> {
    if input.as_os_str() == "-" {
        return Ok(Box::new(stdin().lock()));
    }
    let file = fs::File::open(input).with_context(|| format!("cannot read {}", input.display()))?;
    Ok(Box::new(file))
}

fn whole(
    inspector: &Inspector,
    input: &PathBuf,
    wanted: &impl Fn(Vec<Finding>) -> Vec<Finding>,
    format: Format,
) -> Result<usize> {
    let mut bytes = Vec::new();
    open(input)?
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", input.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= LARGEST_FILE,
        "{} is larger than 256 MiB",
        input.display()
    );
    let text = String::from_utf8_lossy(&bytes);
    let findings = wanted(inspect(inspector, text.clone().into_owned())?);
    let mut position = Positions::new(&text);
    for finding in &findings {
        let (line, column) = position.of(finding.span.start);
        if format == Format::Json {
            say(&json!({
                "path": input, "line": line, "column": column, "type": finding.entity.as_str(),
                "score": rounded(finding.score), "detector": finding.detector.as_ref(), "evidence": finding.evidence,
            })
            .to_string());
        } else {
            say(&format!(
                "{}:{line}:{column} {} {:.2}",
                input.display(),
                finding.entity,
                finding.score
            ));
        }
    }
    Ok(findings.len())
}

fn lines(
    inspector: &Inspector,
    input: &PathBuf,
    wanted: &impl Fn(Vec<Finding>) -> Vec<Finding>,
) -> Result<usize> {
    let mut found = 0;
    for (number, line) in BufReader::new(open(input)?).lines().enumerate() {
        let line = line.with_context(|| format!("cannot read {}", input.display()))?;
        if line.trim().is_empty() {
            continue;
        }
        let Line { id, text } = serde_json::from_str(&line).map_err(|_| {
            anyhow::anyhow!("{}:{}: expected {{\"id\",\"text\"}}", input.display(), number + 1)
        })?;
        let mut findings = wanted(inspect(inspector, text.clone())?);
        findings.sort_by_key(|finding| finding.span.start);
        let mut characters = Characters::new(&text);
        let spans: Vec<Span<'_>> = findings
            .iter()
            .map(|finding| {
                let start = characters.before(finding.span.start);
                Span {
                    start,
                    end: start + text[finding.span.clone()].chars().count(),
                    entity: finding.entity.as_str(),
                    score: rounded(finding.score),
                }
            })
            .collect();
        found += spans.len();
        say(&json!({"id": id, "spans": spans}).to_string());
    }
    Ok(found)
}

fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1000.0).round() / 1000.0
}

/// Counts characters before rising byte offsets, in one pass.
struct Characters<'a> {
    text: &'a str,
    at: usize,
    count: usize,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            count: 0,
        }
    }

    fn before(&mut self, byte: usize) -> usize {
        self.count += self.text[self.at..byte].chars().count();
        self.at = byte;
        self.count
    }
}

/// Lines and columns of rising byte offsets, in one pass.
struct Positions<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'a> Positions<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    fn of(&mut self, byte: usize) -> (usize, usize) {
        for character in self.text[self.at..byte].chars() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = byte;
        (self.line, self.column)
    }
}

/// Everything found in a text.
fn inspect(inspector: &Inspector, text: String) -> Result<Vec<Finding>> {
    let segment = Segment {
        place: Place::new("file"),
        role: Role::User,
        text: Text::from(text),
    };
    match inspector.inspect_fully(&[segment], None) {
        (findings, None) => Ok(findings),
        (_, Some(missed)) => Err(missed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let text = "é\nüx y";
        let mut positions = Positions::new(text);
        assert_eq!(positions.of(0), (1, 1));
        assert_eq!(positions.of(5), (2, 2));
        assert_eq!(positions.of(7), (2, 4));
        let mut characters = Characters::new(text);
        assert_eq!((characters.before(3), characters.before(7)), (2, 5));
    }
}
