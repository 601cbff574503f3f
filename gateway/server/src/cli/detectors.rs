//! `cordon detectors`: what there is, whether it does what its files say, and why a text gives what it gives.
//!
//! All of it works over the embedded detectors, those of the configuration and the files that are named, and without
//! the token classifier unless `--names` asks for it: it takes a moment to load, and is of no use to whoever writes a
//! detector.
//!
//! On failure: a mistake in a detector file is told as file:line:column.

use std::{
    io::{Read, stdin},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use cordon_inspect::{DetectorInfo, Explained, Inspector};
use serde_json::{Value, json};

use super::{NO, Where, complain, say};
use crate::rules;

/// The largest text that is explained.
const LARGEST: u64 = 256 << 10;

/// Arguments of `cordon detectors`.
#[derive(Args)]
pub struct Detectors {
    #[command(subcommand)]
    action: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List all detectors.
    List {
        /// Only those that find this type or family.
        #[arg(long)]
        entity: Option<String>,
        #[command(flatten)]
        from: From,
    },
    /// Run every example and counter-example; exit 1 if one does not hold.
    Test {
        /// Further detector files, or folders of them.
        files: Vec<PathBuf>,
        /// Installation whose further detectors and fingerprints are used.
        #[command(flatten)]
        place: Where,
    },
    /// Say how a detector works, or what matches in a text, with each part of its score and what overruled it.
    Explain {
        /// Id of a detector.
        #[arg(required_unless_present = "text")]
        id: Option<String>,
        /// A text instead; `-` is standard input. The output holds places of it, not the text.
        #[arg(long, conflicts_with = "id")]
        text: Option<String>,
        /// Ask the token classifier as well, which finds names, addresses and places.
        #[arg(long, requires = "text")]
        names: bool,
        #[command(flatten)]
        from: From,
    },
}

/// Where detectors come from, and how they are printed.
#[derive(Args)]
struct From {
    /// Further detector files, or folders of them.
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Form of the output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Installation whose further detectors and fingerprints are used.
    #[command(flatten)]
    place: Where,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Detectors {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        match self.action {
            Command::List { entity, from } => list(&from, entity.as_deref()),
            Command::Test { files, place } => test(&files, &place),
            Command::Explain {
                id,
                text,
                names,
                from,
            } => match (id, text) {
                (_, Some(text)) => explain_text(&from, text, names),
                (Some(id), None) => explain_detector(&from, &id),
                (None, None) => bail!("name a detector or a text"),
            },
        }
    }
}

fn load(files: &[PathBuf], place: &Where) -> Result<Inspector> {
    let (mut config, installed) = place.load_if_named()?;
    config.detectors.extend_from_slice(files);
    rules::load_inspector(&config, installed)
}

fn list(from: &From, entity: Option<&str>) -> Result<ExitCode> {
    let inspector = load(&from.files, &from.place)?;
    let wanted = |info: &&DetectorInfo| {
        entity.is_none_or(|wanted| wanted == info.entity.as_str() || wanted == info.entity.family())
    };
    for info in inspector.detectors().filter(wanted) {
        if from.format == Format::Json {
            say(&described(info).to_string());
        } else {
            let validator = info.details.validator.as_deref().unwrap_or("-");
            say(&format!(
                "{:<40} {:<32} {:<20} {} {}",
                info.id,
                info.entity.as_str(),
                validator,
                starts(info),
                place_of(info)
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn test(files: &[PathBuf], place: &Where) -> Result<ExitCode> {
    let (count, faults) = load(files, place)?.test_examples();
    faults.iter().for_each(|fault| say(&fault.to_string()));
    say(&format!("{count} examples, {} faults", faults.len()));
    Ok(ExitCode::from(if faults.is_empty() { 0 } else { NO }))
}

fn explain_detector(from: &From, id: &str) -> Result<ExitCode> {
    let inspector = load(&from.files, &from.place)?;
    let Some(info) = inspector.detectors().find(|info| &*info.id == id) else {
        bail!("there is no detector {id}; `cordon detectors list` shows all");
    };
    if from.format == Format::Json {
        say(&described(info).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let details = &info.details;
    say(&format!("{} finds {}, {}", info.id, info.entity, place_of(info)));
    say(&format!("  starts at     {}", starts(info)));
    if !info.file.is_empty() {
        say(&format!("  base score    {:.2}", details.score));
    }
    if details.boost != 0.0 {
        say(&format!("  context word  {:+.2}", details.boost));
    }
    if let Some(alone) = details.alone {
        say(&format!("  alone         at least {alone:.2}"));
    }
    if details.entropy > 0.0 {
        say(&format!(
            "  entropy       at least {:.1} bits a character",
            details.entropy
        ));
    }
    if let Some(validator) = &details.validator {
        say(&format!("  validator     {validator}"));
    }
    for example in &info.examples {
        say(&format!("  finds         {}", example.trim_end()));
    }
    for example in &info.counter_examples {
        say(&format!("  leaves        {}", example.trim_end()));
    }
    Ok(ExitCode::SUCCESS)
}

fn explain_text(from: &From, text: String, names: bool) -> Result<ExitCode> {
    let (mut config, installed) = from.place.load_if_named()?;
    config.detectors.extend_from_slice(&from.files);
    let mut inspector = rules::load_inspector(&config, installed)?;
    if names {
        let Some(ner) = rules::load_ner(&config)? else {
            bail!("no token classifier is installed, so `--names` cannot be answered");
        };
        inspector = inspector.with_ner(Some(ner));
    }
    let text = if text == "-" {
        let mut read = String::new();
        let stdin = stdin().lock().take(LARGEST + 1);
        std::io::BufReader::new(stdin)
            .read_to_string(&mut read)
            .context("cannot read standard input as UTF-8")?;
        read
    } else {
        text
    };
    if text.len() as u64 > LARGEST {
        bail!("the text is larger than {} KiB", LARGEST >> 10);
    }
    let all = inspector.explain_fully(&text)?;
    if !names && rules::has_ner(&config) {
        complain(
            "cordon: the token classifier was not asked, which finds names, addresses and places; `--names` asks it",
        );
    }
    for one in &all {
        if from.format == Format::Json {
            say(&json!({
                "detector": one.detector, "type": one.entity.as_str(), "start": one.span.start, "end": one.span.end,
                "score": one.score, "kept": one.kept.iter().map(|span| [span.start, span.end]).collect::<Vec<_>>(),
                "parts": one.parts.iter().map(|part| json!({"what": part.what, "value": part.value})).collect::<Vec<_>>(),
                "overruled": one.overruled.as_ref().map(|(by, why)| json!({"by": by, "why": why})),
            }).to_string());
        } else {
            tell(one);
        }
    }
    Ok(ExitCode::from(if all.is_empty() { 0 } else { NO }))
}

fn tell(one: &Explained) {
    let became = if one.kept == [one.span.clone()] {
        "kept"
    } else if one.kept.is_empty() {
        "overruled"
    } else {
        "kept in part"
    };
    say(&format!(
        "bytes {}..{} {} by {}: {:.2}, {became}",
        one.span.start, one.span.end, one.entity, one.detector, one.score
    ));
    for part in &one.parts {
        match part.value {
            Some(value) => say(&format!("  {}: {value:.2}", part.what)),
            None => say(&format!("  {}", part.what)),
        }
    }
    if let Some((by, why)) = &one.overruled {
        say(&format!("  gave way to {by}: {why}"));
    }
}

fn place_of(info: &DetectorInfo) -> String {
    if info.file.is_empty() {
        "built in".to_owned()
    } else {
        format!("{}:{}", info.file, info.details.line)
    }
}

fn starts(info: &DetectorInfo) -> &str {
    if info.details.starts.is_empty() {
        "whole text"
    } else {
        &info.details.starts
    }
}

fn described(info: &DetectorInfo) -> Value {
    let details = &info.details;
    let ours = !info.file.is_empty();
    json!({
        "id": &*info.id, "type": info.entity.as_str(), "file": ours.then_some(&info.file),
        "line": ours.then_some(details.line), "starts": starts(info), "validator": details.validator,
        "score": ours.then_some(details.score), "boost": (details.boost != 0.0).then_some(details.boost),
        "alone": details.alone, "entropy": (details.entropy > 0.0).then_some(details.entropy),
        "examples": info.examples, "counter_examples": info.counter_examples,
    })
}
