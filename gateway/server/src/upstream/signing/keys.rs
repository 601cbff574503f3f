//! The company's credentials for Amazon, as they are at the moment.
//!
//! Temporary ones end after hours, and whoever fetches them writes others into their files. Those are taken up once they have
//! stood still from one look to the next, since three files do not change at once.
//!
//! On failure: those before stay in force, and the log and `cordon_reloads_total` say so.

use std::{mem, sync::Arc, time::Duration};

use http::HeaderValue;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use zeroize::Zeroizing;

use super::Signer;
use crate::{config, gate::Gate, upstream::UpstreamError};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// It has no `Debug`, since it is a secret.
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Zeroizing<String>,
    pub(super) session_token: Option<HeaderValue>,
}

impl Keys {
    pub(super) fn new(configured: &config::Aws) -> Result<Self, UpstreamError> {
        let token = configured.session_token.as_ref().map(|token| {
            let mut token = HeaderValue::from_str(token.value()).map_err(|_| UpstreamError::Unsendable)?;
            token.set_sensitive(true);
            Ok::<_, UpstreamError>(token)
        });
        Ok(Self {
            access_key_id: configured.access_key_id.value().to_owned(),
            secret_access_key: Zeroizing::new(configured.secret_access_key.value().to_owned()),
            session_token: token.transpose()?,
        })
    }
}

/// Takes up what the files of credentials hold, until `stop`.
pub async fn keep_fresh(gate: Arc<Gate>, stop: CancellationToken) {
    let in_files = gate.config.upstreams.iter().filter_map(|(name, entry)| {
        let configured = entry.aws.as_ref().filter(|aws| aws.is_in_files())?;
        let signer = gate.upstreams.named(name)?.client.signer.clone()?;
        Some((name, Watched::new(signer, configured.clone())))
    });
    let mut watched: Vec<(&String, Watched)> = in_files.collect();
    while !watched.is_empty() {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for (upstream, watched) in &mut watched {
            match watched.look() {
                None => {}
                Some(Ok(())) => {
                    gate.metrics.reload("done");
                    info!(%upstream, "the credentials for Amazon were read again");
                }
                Some(Err(reason)) => {
                    gate.metrics.reload("refused");
                    error!(%upstream, reason, "the credentials for Amazon cannot be read again; those before stay in force");
                }
            }
        }
    }
}

/// What files hold, or why that cannot be said.
type Held = Result<config::Aws, String>;

struct Watched {
    signer: Arc<Signer>,
    /// As it was at the look before.
    seen: Held,
    /// What was taken up or told of last.
    settled: Held,
    configured: config::Aws,
}

impl Watched {
    fn new(signer: Arc<Signer>, configured: config::Aws) -> Self {
        Self {
            signer,
            seen: Ok(configured.clone()),
            settled: Ok(configured.clone()),
            configured,
        }
    }

    /// Looks at the files. What comes of it is told once.
    fn look(&mut self) -> Option<Result<(), String>> {
        let now = self.configured.read_again();
        let before = mem::replace(&mut self.seen, now.clone());
        if !is_same(&now, &before) || is_same(&now, &self.settled) {
            return None;
        }
        self.settled = now.clone();
        Some(now.and_then(|held| {
            let taken = self.signer.take_up(&held);
            taken.map_err(|_| "the session token is no value of a header".to_owned())
        }))
    }
}

fn is_same(one: &Held, other: &Held) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one.holds_the_same(other),
        (one, other) => one.as_ref().err() == other.as_ref().err(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn credentials_are_taken_up_whole_once_and_only_when_they_stand_still() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for name in ["id", "secret", "token"] {
            write(name, "first");
        }
        let entry = "kind: cloud, hosts: [bedrock-runtime.eu-west-1.amazonaws.com]";
        let keys = "access_key_id: '${file:id}', secret_access_key: '${file:secret}', session_token: '${file:token}'";
        write(
            "cordon.yaml",
            &format!("upstreams:\n  bedrock: {{ {entry}, aws: {{ {keys} }} }}\n"),
        );
        let config = config::Config::load(&dir.path().join("cordon.yaml")).unwrap();
        let configured = config.upstreams["bedrock"].aws.clone().unwrap();
        let signer = Arc::new(Signer::new(&configured).unwrap());
        let mut watched = Watched::new(signer.clone(), configured);
        let in_force = || {
            let keys = signer.keys.load();
            let token = keys
                .session_token
                .as_ref()
                .map(|token| token.to_str().unwrap().to_owned());
            [
                Some(keys.access_key_id.clone()),
                Some(keys.secret_access_key.to_string()),
                token,
            ]
            .map(Option::unwrap)
        };
        assert_eq!(watched.look(), None);

        write("id", "second");
        assert_eq!(watched.look(), None, "the others may follow");
        write("secret", "second");
        write("token", "second");
        assert_eq!(watched.look(), None);
        assert_eq!(in_force(), ["first", "first", "first"]);
        assert_eq!(watched.look(), Some(Ok(())));
        assert_eq!(in_force(), ["second", "second", "second"]);
        assert_eq!(watched.look(), None);

        write("token", "");
        assert_eq!(watched.look(), None);
        assert!(watched.look().unwrap().unwrap_err().ends_with("token is empty"));
        assert_eq!(watched.look(), None, "it is told once");
        write("token", "two\nlines");
        assert_eq!(watched.look(), None);
        assert!(watched.look().unwrap().is_err());
        assert_eq!(in_force(), ["second", "second", "second"]);
        write("token", "third");
        assert_eq!(watched.look(), None);
        assert_eq!(watched.look(), Some(Ok(())));
        assert_eq!(in_force(), ["second", "second", "third"]);
    }
}
