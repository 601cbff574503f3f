//! `cordon key`: API keys. A running gateway picks changes up by itself within seconds.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};
use cordon_domain::{Clock, SystemClock};
use serde_json::json;

use super::{Where, say};
use crate::{installation::Installation, keys::Keys};

/// Arguments of `cordon key`.
#[derive(Args)]
pub struct Key {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Subcommand)]
enum KeyAction {
    /// Make a key. It is shown once, and kept as a keyed hash only.
    Create {
        /// Whom it stands for.
        #[arg(long)]
        user: String,
        /// A group of that user; may be given several times.
        #[arg(long = "group")]
        groups: Vec<String>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Where,
    },
    /// List keys: id, user, groups, dates. Never the keys.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Revoke a key by its id.
    Revoke {
        /// The id, as listed.
        id: String,
        #[command(flatten)]
        place: Where,
    },
}

impl Key {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        match self.action {
            KeyAction::Create {
                user,
                groups,
                json,
                place,
            } => {
                let (installation, mut keys) = open(&place)?;
                let groups: BTreeSet<String> = groups.into_iter().collect();
                let (entry, key) = keys.create(installation.keys(), &user, groups, SystemClock.now())?;
                if json {
                    say(
                        &json!({"id": entry.id, "user": entry.user, "groups": entry.groups, "key": key})
                            .to_string(),
                    );
                } else {
                    say(&key);
                }
            }
            KeyAction::List { json, place } => {
                let (_, keys) = open(&place)?;
                for entry in keys.entries() {
                    if json {
                        say(&json!({
                            "id": entry.id, "user": entry.user, "groups": entry.groups,
                            "created": entry.created, "revoked": entry.revoked,
                        })
                        .to_string());
                    } else {
                        let groups = entry.groups.iter().cloned().collect::<Vec<_>>().join(",");
                        let state = entry
                            .revoked
                            .as_ref()
                            .map_or(String::new(), |at| format!(" revoked {at}"));
                        say(&format!(
                            "{} {} [{groups}] created {}{state}",
                            entry.id, entry.user, entry.created
                        ));
                    }
                }
            }
            KeyAction::Revoke { id, place } => {
                let (installation, mut keys) = open(&place)?;
                keys.revoke(installation.keys(), &id, SystemClock.now())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn open(place: &Where) -> Result<(Installation, Keys)> {
    let installation = Installation::of(&place.load()?);
    installation.create()?;
    let keys = Keys::load(installation.keys(), installation.make_key()?.derive("api-keys"))?;
    Ok((installation, keys))
}
