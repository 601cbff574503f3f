//! `cordon check`: what is wrong with configuration, policy and detectors, without running anything.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use cordon_intercept::{Revocation, upstream_tls};
use cordon_wire::DialectFile;

use super::{NO, say};
use crate::{
    config::Config,
    delivery,
    installation::Installation,
    negotiate,
    rules::{self, Rules},
    serve, supervise, trust,
};

/// Days of half a year. Another law may ask for less or for more, so being under it is no error.
const SIX_MONTHS: u32 = 183;

/// Arguments of `cordon check`.
#[derive(Args)]
pub struct Check {
    /// Configuration file.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["schema", "dialects", "dialect_schema"])]
    config: Option<PathBuf>,
    /// Print the JSON schema of the configuration file instead.
    #[arg(long)]
    schema: bool,
    /// Check files that describe dialects instead, or folders of them, by their examples.
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "config")]
    dialects: Vec<PathBuf>,
    /// Print the JSON schema of such a file instead.
    #[arg(long)]
    dialect_schema: bool,
}

impl Check {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        if self.dialect_schema {
            say(DialectFile::SCHEMA.trim_end());
            return Ok(ExitCode::SUCCESS);
        }
        if !self.dialects.is_empty() {
            return dialects(&self.dialects);
        }
        let Some(file) = self.config.filter(|_| !self.schema) else {
            say(Config::schema().trim_end());
            return Ok(ExitCode::SUCCESS);
        };
        let config = match Config::load(&file) {
            Ok(config) => config,
            Err(errors) => {
                errors.iter().for_each(|error| say(&error.to_string()));
                return Ok(ExitCode::from(NO));
            }
        };
        let mut wrong = 0;
        let mut bad = |line: String| {
            wrong += 1;
            say(&line);
        };
        let ner = match rules::load_ner(&config) {
            Ok(ner) => ner,
            Err(error) => {
                bad(format!("{error:#}"));
                None
            }
        };
        let unread = ner.is_none();
        if let Err(error) = Rules::check(&config, ner) {
            bad(format!("{error:#}"));
        }
        match rules::load_catalogue(&config) {
            Ok(catalogue) => {
                for fault in catalogue.try_examples() {
                    bad(fault.to_string());
                }
                for host in catalogue.hosts().filter(|host| !config.intercepts(host)) {
                    say(&format!(
                        "note: {host} is described by a dialect and not under `intercept.hosts`; nothing on it is read"
                    ));
                }
            }
            Err(error) => bad(format!("{error:#}")),
        }
        if let Err((path, error)) = config.extra_roots() {
            bad(format!(
                "intercept.extra_roots: {}: {}",
                path.display(),
                error.kind()
            ));
        }
        match config.revocation() {
            Err(error) => bad(format!("intercept.crls: {error}")),
            Ok(revocation) => {
                if let Err(error) = trust::asking_callers(&config, &revocation) {
                    bad(format!("{error:#}"));
                }
            }
        }
        if let Err(error) = negotiate::check(&config) {
            bad(format!("{error:#}"));
        }
        match upstream_tls(&[], &Revocation::default()) {
            Ok(tls) => {
                if let Err(error) = serve::parent_proxy(&config, &tls) {
                    bad(format!("upstream_proxy: {error}"));
                }
                if let Err(error) = delivery::check(&config.audit, &tls, &Revocation::default()) {
                    bad(format!("{error:#}"));
                }
            }
            // Extra roots may be all that there is.
            Err(error) => say(&format!("note: {error}")),
        }
        if unread {
            say(
                "note: there is no token classifier (`ner`); names, addresses and places are found by word lists and patterns alone",
            );
        }
        for (class, days) in &config.audit.retention {
            if *days < SIX_MONTHS {
                say(&format!(
                    "warning: records of the class `{class}` are kept for {days} days; logs of a high-risk AI system are to be kept for six months at least (EU AI Act, articles 19 and 26)"
                ));
            }
        }
        // What a first start makes or a later step installs is worth a word, but no error.
        let installation = Installation::of(&config);
        if !installation.root().exists() {
            say(&format!(
                "note: there is no CA in {} yet; `cordon ca init` makes one",
                installation.ca().display()
            ));
        }
        if config.engine.url.is_none() {
            let binary = supervise::find_binary(config.engine.binary.as_deref()).map(|_| ());
            let model =
                supervise::find_model(config.engine.model.as_deref(), &installation.models()).map(|_| ());
            for missing in [binary, model].into_iter().filter_map(Result::err) {
                say(&format!("note: {missing}"));
            }
        }
        if wrong > 0 {
            return Ok(ExitCode::from(NO));
        }
        say("ok");
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads files that describe dialects and runs their examples.
fn dialects(paths: &[PathBuf]) -> Result<ExitCode> {
    let files = rules::yaml_files(paths)?;
    if files.is_empty() {
        bail!("there is no *.yaml there");
    }
    let mut wrong = 0;
    for path in files {
        let source =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let faults = match DialectFile::parse(&path.display().to_string(), &source) {
            Ok(file) => file.try_examples(),
            Err(faults) => faults,
        };
        wrong += faults.len();
        faults.iter().for_each(|fault| say(&fault.to_string()));
    }
    if wrong > 0 {
        return Ok(ExitCode::from(NO));
    }
    say("ok");
    Ok(ExitCode::SUCCESS)
}
