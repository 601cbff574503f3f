//! `cordon scan`: the detectors by themselves, over files, folders, git changes or standard input.
//!
//! Text form prints `path:line:column type score`, with lines and columns from 1, columns in Unicode
//! characters; never the text found, unless `--reveal` asks for it. Files are read by all cores and told in
//! order. Source code, logs, settings, confidential passages and internal names are reported with `--regions`
//! only.
//!
//! On failure: what cannot be read is told on standard error, the rest is scanned, and the exit code is 2,
//! so that a scan that is incomplete never passes for a clean one.

mod baseline;
mod git;
pub(super) mod inputs;
mod jsonl;
mod page;
mod report;
mod sarif;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{IsTerminal, stdout},
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use cordon_domain::{Finding, Place, Role, Segment, Text};
use cordon_inspect::{Inspector, document::Problem};

use self::{
    baseline::Baseline,
    git::{Changes, Which},
    inputs::{Content, Input, Rules},
    page::Seen,
    report::{Paint, Positions, Reported, Shown, around},
    sarif::Sarif,
    wanted::Wanted,
};
use super::{NO, Where, complain, progress::Progress, say};
use crate::{
    config::{self, Config},
    rules,
};

/// Families that mark whole passages, and names of the company's own machines. In a folder of source code
/// every file holds some, which would drown what a scan of files is for.
const REGIONS: [&str; 6] = [
    MACHINES,
    "SOURCE_CODE",
    "STACK_TRACE",
    "LOG",
    "CONFIGURATION",
    "CONFIDENTIAL",
];

/// Names of the company's own machines: values, which hide in a line that is shown.
const MACHINES: &str = "INTERNAL";

/// Arguments of `cordon scan`.
#[derive(Args)]
pub struct Scan {
    /// Installation whose further detectors and fingerprints are used, too.
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
    /// Do not ask the token classifier for names, which reads more slowly than all else.
    #[arg(long)]
    no_names: bool,
    /// Form of input and output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Show source lines with the values hidden, as a terminal gets them.
    #[arg(long)]
    show: bool,
    /// Show source lines with the values.
    #[arg(long)]
    reveal: bool,
    /// What these commits add, each by itself, as `git log` takes them: main..HEAD.
    #[arg(long, value_name = "RANGE", group = "changes", conflicts_with = "files")]
    git: Option<String>,
    /// What is staged, for a pre-commit hook.
    #[arg(long, group = "changes", conflicts_with = "files")]
    staged: bool,
    /// What commits since this date add.
    #[arg(long, value_name = "DATE", group = "changes", conflicts_with = "files")]
    since: Option<String>,
    /// Do not report what this file knows.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what is found to the baseline instead of reporting it.
    #[arg(long, requires = "baseline")]
    write_baseline: bool,
    /// Key of the baseline. When absent: the file that CORDON_BASELINE_KEY names, else the baseline's name and
    /// `.key`. Keep it out of the repository.
    #[arg(long, value_name = "FILE", requires = "baseline")]
    baseline_key: Option<PathBuf>,
    /// Also report what has `cordon:allow` in its line.
    #[arg(long)]
    ignore_allow: bool,
    /// Also read what `.gitignore` and `.cordonignore` leave out.
    #[arg(long)]
    all_files: bool,
    /// Largest file that is read, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_size: u64,
    /// Files and folders; `-` or nothing is standard input.
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Jsonl,
    Sarif,
}

impl Scan {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let (config, installed) = self.place.load_if_named()?;
        let ner = if self.no_names {
            None
        } else {
            rules::load_ner(&config)?
        };
        let inspector = rules::load_inspector(&config, installed)?.with_ner(ner);
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
        let which = match (&self.git, &self.since, self.staged) {
            (Some(range), _, _) => Some(Which::Range(range)),
            (_, Some(date), _) => Some(Which::Since(date)),
            (_, _, true) => Some(Which::Staged),
            _ => None,
        };
        let key = self.baseline_key.clone().or_else(config::baseline_key);
        let baseline = match &self.baseline {
            None => None,
            Some(file) if self.write_baseline => Some(Baseline::new(file, key.as_deref())?),
            Some(file) => Some(Baseline::load(file, key.as_deref())?),
        };
        let search = Search {
            wanted: Wanted {
                policy,
                groups: &self.groups,
                regions: self.regions,
            },
            baseline,
            shows: self.format == Format::Text && (self.show || self.reveal || stdout().is_terminal()),
            scan: &self,
            inspector,
        };
        if self.format == Format::Jsonl {
            if which.is_some() || search.baseline.is_some() {
                bail!(
                    "`--format jsonl` reads lines from files or standard input, not from git, and has no baseline"
                );
            }
            return search.lines();
        }
        let source = match which {
            Some(which) => Source::Git(Changes::of(&which)?),
            None => {
                let rules = if self.all_files {
                    Rules::Nobody
                } else {
                    Rules::GitAndScan
                };
                Source::Files(Input::all(&self.files, rules)?.into_iter())
            }
        };
        search.all(source)
    }
}

/// Where inputs come from.
enum Source {
    Files(std::vec::IntoIter<Input>),
    Git(Changes),
}

impl Source {
    fn next(&mut self) -> Option<Result<Input>> {
        match self {
            Self::Files(files) => files.next().map(Ok),
            Self::Git(changes) => Some(changes.next()?.map(Input::Change)),
        }
    }
}

/// A scan that is ready to run.
struct Search<'a> {
    scan: &'a Scan,
    inspector: Inspector,
    wanted: Wanted<'a>,
    baseline: Option<Baseline>,
    /// Whether source lines are shown.
    shows: bool,
}

/// Where a text comes from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    path: &'a Path,
    /// The part of a document, from its `!/` on; empty for a file that is text.
    inside: &'a str,
    commit: Option<&'a str>,
    /// Of a change, each line's number in the new file, and whether it was added.
    lines: Option<&'a [(usize, bool)]>,
}

impl Origin<'_> {
    fn whole(&self) -> PathBuf {
        let mut whole = self.path.as_os_str().to_owned();
        whole.push(self.inside);
        whole.into()
    }
}

/// What came of one input.
#[derive(Default)]
struct Outcome {
    /// Parts of a document that should have been read.
    unread: Vec<String>,
    /// Pictures and other files without text, inside documents.
    wordless: usize,
    reported: Vec<Reported>,
    allowed: usize,
    known: usize,
    binary: usize,
    large: usize,
}

/// What came of all.
#[derive(Default)]
struct Total {
    read: usize,
    wordless: usize,
    found: usize,
    allowed: usize,
    known: usize,
    binary: usize,
    large: usize,
    failed: usize,
    marks: BTreeSet<String>,
}

impl Search<'_> {
    fn lines(&self) -> Result<ExitCode> {
        let standard = [PathBuf::from("-")];
        let files = if self.scan.files.is_empty() {
            &standard[..]
        } else {
            &self.scan.files
        };
        for file in files {
            jsonl::lines(file, |text| {
                let mut findings = inspect(&self.inspector, text)?;
                let mut wanted = self.wanted.of(&findings).into_iter();
                findings.retain(|_| wanted.next().unwrap_or(false));
                Ok(findings)
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Scans every input by all cores, and tells the outcomes in the order of the inputs.
    fn all(&self, source: Source) -> Result<ExitCode> {
        let progress = Progress::new(match &source {
            Source::Files(files) => Some(files.len() as u64),
            Source::Git(_) => None,
        });
        let many = match &source {
            Source::Files(files) if files.len() < 2 => 1,
            _ => thread::available_parallelism().map_or(1, usize::from),
        };
        let source = Mutex::new((0_usize, source));
        let mut total = Total::default();
        let mut sarif = Sarif::default();
        if self.scan.format == Format::Sarif {
            say(&Sarif::head());
        }
        thread::scope(|scope| {
            let (tell, told) = mpsc::sync_channel(many * 4);
            for _ in 0..many {
                let tell = tell.clone();
                let source = &source;
                scope.spawn(move || {
                    loop {
                        let (index, input) = {
                            let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                            let Some(input) = source.1.next() else { return };
                            source.0 += 1;
                            (source.0 - 1, input)
                        };
                        if tell
                            .send((index, input.and_then(|input| self.one(input))))
                            .is_err()
                        {
                            return;
                        }
                    }
                });
            }
            drop(tell);
            let mut early = BTreeMap::new();
            let mut next = 0;
            loop {
                match told.recv_timeout(Duration::from_millis(200)) {
                    Ok((index, outcome)) => {
                        early.insert(index, outcome);
                        progress.step();
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => progress.look(),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
                while let Some(outcome) = early.remove(&next) {
                    next += 1;
                    progress.suspend(|| self.tell(outcome, &mut total, &mut sarif));
                }
            }
        });
        progress.end();
        if let (_, Source::Git(changes)) = source.into_inner().unwrap_or_else(PoisonError::into_inner) {
            total.binary += changes.binary;
        }
        if self.scan.format == Format::Sarif {
            say(&sarif.foot(total.failed == 0));
        }
        self.end(&total)
    }

    /// Scans one input.
    fn one(&self, mut input: Input) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let path = input.path().to_owned();
        let (commit, lines) = match &mut input {
            Input::Change(change) => (change.commit.take(), Some(std::mem::take(&mut change.lines))),
            _ => (None, None),
        };
        let whole = Origin {
            path: &path,
            inside: "",
            commit: commit.as_deref(),
            lines: lines.as_deref(),
        };
        match input.read(self.scan.max_size << 20)? {
            Content::Text(text) => {
                self.text(&whole, &text, None, &mut outcome)?;
            }
            Content::Page(source, page) => {
                let mut seen = Seen::default();
                seen.add(&source, &self.text(&whole, &source, None, &mut outcome)?);
                for (inside, text) in page::beside_source(&page.parts) {
                    let place = Origin { inside, ..whole };
                    let found = self.text(&place, text, Some(&seen), &mut outcome)?;
                    seen.add(text, &found);
                }
            }
            Content::Document(document) => {
                for part in document.parts {
                    let place = Origin {
                        inside: inputs::inside(&part.path),
                        ..whole
                    };
                    self.text(&place, part.text.as_str(), None, &mut outcome)?;
                }
                for error in document.unread {
                    if error.problem == Problem::NotText {
                        outcome.wordless += 1;
                    } else {
                        outcome.unread.push(format!(
                            "{}{}: {error}",
                            path.display(),
                            inputs::inside(&error.path)
                        ));
                    }
                }
            }
            Content::Binary => outcome.binary = 1,
            Content::TooLarge => outcome.large = 1,
        }
        Ok(outcome)
    }

    /// Scans one text: a file, what was added to it, or a part of a document. What was seen before is not reported.
    /// Returns all that was found but passages that nobody asked for.
    fn text(
        &self,
        place: &Origin<'_>,
        text: &str,
        seen: Option<&Seen>,
        outcome: &mut Outcome,
    ) -> Result<Vec<Finding>> {
        let findings = inspect(&self.inspector, text.to_owned())?;
        let wanted = self.wanted.of(&findings);
        // What hides values in the lines that are shown: everything that was found, wanted or not.
        let (findings, wanted): (Vec<Finding>, Vec<bool>) = findings
            .into_iter()
            .zip(wanted)
            .filter(|(finding, wanted)| {
                let family = finding.entity.family();
                *wanted || family == MACHINES || !REGIONS.contains(&family)
            })
            .unzip();
        let hidden: Vec<(Range<usize>, &str)> = findings
            .iter()
            .map(|finding| (finding.span.clone(), finding.entity.as_str()))
            .collect();
        let mut position = Positions::new(text);
        for (index, (finding, wanted)) in findings.iter().zip(wanted).enumerate() {
            let mut start = position.of(finding.span.start);
            let mut end = position.of(finding.span.end);
            if !wanted || seen.is_some_and(|seen| seen.has(text, finding)) {
                continue;
            }
            if let Some(lines) = place.lines {
                let own = &lines[start.0.min(lines.len()) - 1..end.0.min(lines.len())];
                if !own.iter().any(|(_, added)| *added) {
                    continue;
                }
                start.0 = own[0].0;
                end.0 = own[own.len() - 1].0;
            }
            if !self.scan.ignore_allow
                && baseline::allowed(&text[around(text, &finding.span)], &finding.entity)
            {
                outcome.allowed += 1;
                continue;
            }
            let mark = self
                .baseline
                .as_ref()
                .map(|baseline| baseline.mark(&place.whole(), &finding.entity, &text[finding.span.clone()]));
            if let (Some(baseline), Some(mark)) = (&self.baseline, &mark)
                && baseline.holds(mark)
            {
                outcome.known += 1;
                continue;
            }
            outcome.reported.push(Reported {
                path: place.path.to_owned(),
                inside: place.inside.to_owned(),
                commit: place.commit.map(str::to_owned),
                start,
                end,
                shown: self
                    .shows
                    .then(|| Shown::new(text, &hidden, index, self.scan.reveal)),
                mark,
                finding: finding.clone(),
            });
        }
        Ok(findings)
    }

    fn tell(&self, outcome: Result<Outcome>, total: &mut Total, sarif: &mut Sarif) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                complain(&format!("cordon: {error:#}"));
                total.failed += 1;
                return;
            }
        };
        let paint = Paint::for_stdout();
        total.read += 1 - outcome.binary - outcome.large;
        total.binary += outcome.binary;
        total.large += outcome.large;
        total.allowed += outcome.allowed;
        total.known += outcome.known;
        total.wordless += outcome.wordless;
        total.failed += outcome.unread.len();
        for unread in outcome.unread {
            complain(&format!("cordon: cannot read {unread}"));
        }
        total.found += outcome.reported.len();
        for reported in outcome.reported {
            if self.scan.write_baseline {
                total.marks.extend(reported.mark);
                continue;
            }
            match self.scan.format {
                Format::Text => say(&reported.text(paint)),
                Format::Json => say(&reported.json()),
                Format::Sarif => say(&sarif.result(&reported)),
                Format::Jsonl => {}
            }
        }
    }

    /// Says what was left out, and gives the answer.
    fn end(&self, total: &Total) -> Result<ExitCode> {
        let counted = [
            (total.binary, "binary"),
            (total.wordless, "without text inside documents"),
            (total.large, "too large"),
            (total.allowed, "allowed by a comment"),
            (total.known, "in the baseline"),
            (total.failed, "not readable"),
        ];
        let left: Vec<String> = counted
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        if !left.is_empty() {
            complain(&format!(
                "{} read, {} found; left out: {}",
                total.read,
                total.found,
                left.join(", ")
            ));
        }
        if total.failed > 0 {
            return Ok(ExitCode::from(2));
        }
        if let (true, Some(file)) = (self.scan.write_baseline, &self.scan.baseline) {
            Baseline::write(file, &total.marks)?;
            complain(&format!(
                "{} known findings are in {}",
                total.marks.len(),
                file.display()
            ));
            return Ok(ExitCode::SUCCESS);
        }
        Ok(ExitCode::from(if total.found > 0 { NO } else { 0 }))
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
