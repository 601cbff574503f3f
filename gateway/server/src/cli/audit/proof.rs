//! `cordon audit verify --proof`: whether a proof's file holds. It needs no configuration and no store, only keys.
//!
//! On failure: exit 1 and what does not hold; exit 2 when the file or a key cannot be read.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use cordon_audit::{
    note::VerifyingKey,
    proof::{Believed, MAX_PROOF_BYTES, Proof, Proven},
};
use cordon_domain::ExchangeId;

use super::{
    super::{NO, say},
    search::time_of,
};

/// Arguments about a proof's file.
#[derive(Args)]
pub(super) struct OfProof {
    /// Check a proof's file instead of the store; no configuration is needed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "dir"], requires = "key")]
    pub(super) proof: Option<PathBuf>,
    /// The log's key: `name+id+base64`, or a file that holds it. `cordon audit key` prints it.
    #[arg(long, value_name = "KEY|FILE")]
    pub(super) key: Option<String>,
    /// A witness's key, in the same forms; can be given more than once.
    #[arg(long = "witness", value_name = "KEY|FILE", requires = "proof")]
    witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned; all of them when it is not given.
    #[arg(long, value_name = "N", requires = "proof")]
    witnesses_needed: Option<usize>,
    /// The exchange that the proof must be about.
    #[arg(long, value_name = "ID", requires = "proof")]
    exchange: Option<ExchangeId>,
}

impl OfProof {
    /// Checks the file.
    pub(super) fn verify(&self, file: &Path) -> Result<ExitCode> {
        let log = self.key.as_deref().context("--key is missing")?;
        let witnesses: Vec<VerifyingKey> = self
            .witnesses
            .iter()
            .map(|text| key(text))
            .collect::<Result<_>>()?;
        let needed = self.witnesses_needed.unwrap_or(witnesses.len());
        let believed = Believed::new(key(log)?, witnesses, needed)?;
        let bytes = read(file, MAX_PROOF_BYTES)?;
        let proven = Proof::parse(&bytes).and_then(|proof| proof.verify(&believed));
        match proven {
            Ok(proven) if self.exchange.is_some_and(|id| id != proven.exchange) => {
                say(&format!("the proof is about exchange {}", proven.exchange));
                Ok(ExitCode::from(NO))
            }
            Ok(proven) => {
                say(&told(&proven));
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => {
                say(&error.to_string());
                Ok(ExitCode::from(NO))
            }
        }
    }
}

/// What was proven, for a person.
fn told(proven: &Proven) -> String {
    let mut lines = vec![format!(
        "ok {} records of exchange {}",
        proven.records.len(),
        proven.exchange
    )];
    for record in &proven.records {
        let (at, kind) = (time_of(record.entry.at), record.entry.body.kind());
        lines.push(format!(
            "{at} {kind} is leaf {} of {}",
            record.index, record.origin
        ));
    }
    for checkpoint in &proven.checkpoints {
        let mut line = format!(
            "checkpoint {} {} {}",
            checkpoint.origin, checkpoint.size, checkpoint.root
        );
        for (witness, at) in &checkpoint.cosigned {
            line += &format!(", cosigned by {witness} at {}", time_of(at.saturating_mul(1000)));
        }
        if let Some((size, root)) = checkpoint.continues {
            line += &format!(", continues {size} {root}");
        }
        lines.push(line);
        if checkpoint.cosigned.is_empty() {
            lines.push(format!(
                "note: no witness vouches for {}, so its log could show others another tree",
                checkpoint.origin
            ));
        }
    }
    if !proven.is_final() {
        lines.push("note: the exchange's final record is not in the proof".to_owned());
    }
    lines.join("\n")
}

/// A key from its text, or from a file that holds it.
pub(super) fn key(text: &str) -> Result<VerifyingKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let path = Path::new(text);
    if !path.is_file() {
        bail!("`{text}` is neither a key (name+id+base64) nor a file that holds one");
    }
    let bytes = read(path, 4096)?;
    let text = std::str::from_utf8(&bytes).context("a key is text")?;
    let key = text.trim_end().parse();
    key.with_context(|| format!("the key in {}", path.display()))
}

/// A file, up to a size; what is larger is cut behind it, and then refused by its reader.
fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}
