//! `cordon policy`: tests beside a policy, and the schema of its files.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use cordon_inspect::Inspector;
use cordon_policy::{Diagnostic, policytest};

use super::{NO, Where, say};
use crate::rules;

/// Arguments of `cordon policy`.
#[derive(Args)]
pub struct Policy {
    #[command(subcommand)]
    action: PolicyAction,
}

#[derive(Subcommand)]
enum PolicyAction {
    /// Run the tests beside each policy (`NAME.test.yaml` beside `NAME.yaml`); exit 1 if one fails.
    Test {
        /// Policies; the embedded default with its tests when absent.
        files: Vec<PathBuf>,
        /// Installation whose further detectors and fingerprints are used.
        #[command(flatten)]
        place: Where,
    },
    /// Print the JSON schema of policy files, for an editor.
    Schema,
}

impl Policy {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        match self.action {
            PolicyAction::Schema => {
                say(cordon_policy::Policy::schema().trim_end());
                Ok(ExitCode::SUCCESS)
            }
            PolicyAction::Test { files, place } => {
                let (config, installed) = place.load_if_named()?;
                test(&rules::load_inspector(&config, installed)?, &files)
            }
        }
    }
}

fn test(inspector: &Inspector, files: &[PathBuf]) -> Result<ExitCode> {
    let mut cases = Vec::new();
    if files.is_empty() {
        let (name, source) = cordon_policy::Policy::embedded_default();
        let (test_name, tests) = cordon_policy::Policy::embedded_default_tests();
        cases.push((
            name.to_owned(),
            source.to_owned(),
            test_name.to_owned(),
            tests.to_owned(),
        ));
    }
    for file in files {
        let beside = file.with_extension("test.yaml");
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        cases.push((
            file.display().to_string(),
            read(file)?,
            beside.display().to_string(),
            read(&beside)?,
        ));
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, source, test_name, tests) in cases {
        let outcomes = cordon_policy::Policy::parse(&name, &source).and_then(|policy| {
            policytest::run(&policy, &test_name, &tests, &|segments| {
                inspector.inspect_all(segments)
            })
        });
        match outcomes {
            Err(faults) => {
                failed += 1;
                show(&faults);
            }
            Ok(outcomes) => {
                for outcome in outcomes {
                    if outcome.passed() {
                        passed += 1;
                    } else {
                        failed += 1;
                        say(&format!("FAILED {test_name}:{} {}", outcome.line, outcome.name));
                        show(&outcome.differences);
                    }
                }
            }
        }
    }
    say(&format!("{passed} passed, {failed} failed"));
    Ok(ExitCode::from(if failed > 0 { NO } else { 0 }))
}

fn show(faults: &[Diagnostic]) {
    faults.iter().for_each(|fault| say(&fault.to_string()));
}
