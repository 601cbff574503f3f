//! `cordon model`: weights for the engine.

mod gguf;
mod pull;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use self::gguf::Gguf;
use super::{Where, say};
use crate::{installation::Installation, supervise};

/// Arguments of `cordon model`.
#[derive(Args)]
pub struct Model {
    #[command(subcommand)]
    action: ModelAction,
}

#[derive(Subcommand)]
enum ModelAction {
    /// List the weights in the state folder.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Show what a GGUF file says of itself.
    Show {
        /// The file; the one the engine would load when absent.
        file: Option<PathBuf>,
        #[command(flatten)]
        place: Where,
    },
    /// Fetch weights into the state folder: `hf:OWNER/REPO/FILE.gguf[@REVISION]`, an https URL, or
    /// `file:PATH`.
    Pull {
        /// Where from.
        source: String,
        /// SHA-256 of the file in hex; a file that differs is not kept.
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        #[command(flatten)]
        place: Where,
    },
}

impl Model {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        match self.action {
            ModelAction::List { json, place } => list(json, &place)?,
            ModelAction::Show { file, place } => {
                let config = place.load()?;
                let installation = Installation::of(&config);
                let path = match file {
                    Some(file) => file,
                    None => supervise::find_model(config.engine.model.as_deref(), &installation.models())
                        .map_err(anyhow::Error::msg)?,
                };
                show(&path)?;
            }
            ModelAction::Pull {
                source,
                sha256,
                place,
            } => {
                let installation = Installation::of(&place.load()?);
                installation.create()?;
                if let Some(digest) = &sha256
                    && (digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()))
                {
                    bail!("--sha256 takes 64 hex digits");
                }
                let path = pull::pull(&source, sha256.as_deref(), &installation.models())?;
                say(&path.display().to_string());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(json: bool, place: &Where) -> Result<()> {
    let models = Installation::of(&place.load()?).models();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&models)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
        .collect();
    paths.sort();
    for path in paths {
        let bytes = path.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if json {
            say(&json!({"name": name, "path": path, "bytes": bytes}).to_string());
        } else {
            say(&format!("{name}  {} MB  {}", bytes / 1_000_000, path.display()));
        }
    }
    Ok(())
}

fn show(path: &std::path::Path) -> Result<()> {
    let gguf = Gguf::read(path).with_context(|| format!("{} cannot be read as GGUF", path.display()))?;
    let bytes = path.metadata()?.len();
    say(&format!("file          {}", path.display()));
    say(&format!("bytes         {bytes}"));
    let architecture = gguf.text("general.architecture").unwrap_or("unknown").to_owned();
    for (label, key) in [
        ("name", "general.name".to_owned()),
        ("architecture", "general.architecture".to_owned()),
        ("licence", "general.license".to_owned()),
        ("context", format!("{architecture}.context_length")),
        ("layers", format!("{architecture}.block_count")),
        ("embedding", format!("{architecture}.embedding_length")),
    ] {
        if let Some(value) = gguf.shown(&key) {
            say(&format!("{label:<13} {value}"));
        }
    }
    let template = if gguf.text("tokenizer.chat_template").is_some() {
        "its own"
    } else {
        "none (ChatML is used)"
    };
    say(&format!("chat template {template}"));
    Ok(())
}
