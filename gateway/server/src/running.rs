//! What a running installation tells about itself: the JSON line of `up` and `serve`, and the same
//! in `DIR/running.json`, so that `cordon env` and `cordon doctor` find ports that were taken free.

use std::{io, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    audit_room::store_url,
    config::{Config, Listen},
    installation::{Installation, replace_private},
};

/// Addresses and paths, as printed once all is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// Base URL of the reverse gateway.
    pub gateway: String,
    /// URL of the forward proxy.
    pub proxy: String,
    /// URL of the forward proxy over TLS, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_tls: Option<String>,
    /// Where connections may be redirected to, where there is such a listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent: Option<SocketAddr>,
    /// URL of the admin listener.
    pub admin: String,
    /// Path of our root certificate.
    pub ca: PathBuf,
    /// Path of system roots and our root in one file.
    pub bundle: PathBuf,
    /// The API key that `up` made; absent for `serve`, and never in `running.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Path of the SQLite store, or the database's URL without its password.
    pub store: String,
}

impl Running {
    /// Describes an installation that listens on the given addresses.
    pub fn new(config: &Config, at: &Listen) -> Self {
        let installation = Installation::of(config);
        // A DNS name of the certificate where there is one: some programs (Claude Code) refuse
        // certificates for bare addresses from an authority that is constrained in them.
        let named = config
            .gateway
            .names
            .iter()
            .find(|name| name.parse::<std::net::IpAddr>().is_err());
        let behind_tls = |address: SocketAddr| match named {
            Some(name) => format!("https://{name}:{}", address.port()),
            None => format!("https://{}", reachable(address)),
        };
        // Other machines read this in the PAC file, where a loopback address would be their own.
        let public = config
            .gateway
            .names
            .iter()
            .find(|name| name.parse::<std::net::IpAddr>().is_err() && *name != "localhost")
            .filter(|_| at.proxy.ip().is_unspecified());
        let proxy = match public {
            Some(name) => format!("{name}:{}", at.proxy.port()),
            None => reachable(at.proxy).to_string(),
        };
        Self {
            gateway: behind_tls(at.gateway),
            proxy: format!("http://{proxy}"),
            proxy_tls: at.proxy_tls.map(behind_tls),
            transparent: at.transparent,
            admin: format!("http://{}", reachable(at.admin)),
            ca: installation.root(),
            bundle: installation.bundle(),
            key: None,
            // Its `Display` leaves the password out.
            store: store_url(config, &installation)
                .map_or_else(|_| "unknown".to_owned(), |store| store.to_string()),
        }
    }

    /// What runs in this state folder, or what its configuration says would.
    pub fn or_configured(config: &Config) -> Self {
        std::fs::read_to_string(path(config))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_else(|| Self::new(config, &config.listen))
    }

    /// Leaves word in the state folder.
    pub fn announce(&self, config: &Config) -> io::Result<()> {
        let quiet = Self {
            key: None,
            ..self.clone()
        };
        replace_private(
            &path(config),
            &serde_json::to_string(&quiet).expect("addresses and paths are plain JSON"),
        )
    }

    /// Takes the word back.
    pub fn withdraw(config: &Config) {
        let _ = std::fs::remove_file(path(config));
    }
}

fn path(config: &Config) -> PathBuf {
    config.dir.join("running.json")
}

/// An address to connect to, for one that is listened on: the wildcard is no destination.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_listens_everywhere_is_reached_by_name() {
        let mut config = Config::default();
        let mut at = config.listen.clone();
        let proxy = |config: &Config, at: &Listen| Running::new(config, at).proxy;
        assert_eq!(proxy(&config, &at), "http://127.0.0.1:8888");
        at.proxy = "0.0.0.0:8888".parse().unwrap();
        assert_eq!(proxy(&config, &at), "http://127.0.0.1:8888");
        config.gateway.names.push("cordon.corp.example".into());
        assert_eq!(proxy(&config, &at), "http://cordon.corp.example:8888");
        at.proxy = "192.0.2.7:8888".parse().unwrap();
        assert_eq!(proxy(&config, &at), "http://192.0.2.7:8888");
    }
}
