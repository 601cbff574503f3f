//! Where callers come in and who they are taken for: `listen`, `intercept` and `identity` of the configuration.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use cordon_intercept::{Network, normal_host};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Kerberos, Setting, host_within, hosts};

/// Addresses to listen on.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Reverse gateway (TLS).
    pub gateway: SocketAddr,
    /// Forward proxy (plain HTTP/1.1 with CONNECT).
    pub proxy: SocketAddr,
    /// The same proxy over TLS, with a certificate for `gateway.names`; none when absent.
    pub proxy_tls: Option<SocketAddr>,
    /// Where the network redirects connections to (REDIRECT, DNAT or TPROXY); nowhere when absent.
    pub transparent: Option<SocketAddr>,
    /// Health, metrics, CA certificate, PAC file (plain HTTP; keep it off public networks).
    pub admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let at = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            gateway: at(8443),
            proxy: at(8888),
            proxy_tls: None,
            transparent: None,
            admin: at(8889),
        }
    }
}

/// The forward proxy and the transparent door.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Intercept {
    /// Hosts whose TLS is intercepted, each with its subdomains. The intermediate CA is
    /// constrained to exactly these: after a change run `cordon ca rotate`.
    pub hosts: Vec<String>,
    /// What happens to a CONNECT to any other host.
    pub other_hosts: Others,
    /// Hosts (each with its subdomains) and networks that are never intercepted, under a listed host neither. The PAC
    /// file and `cordon env` send them past the proxy; what comes all the same is passed unread and recorded as a
    /// tunnel.
    pub bypass: Vec<String>,
    /// Hosts, each with its subdomains, that are reached through the proxy but not intercepted, because they ask
    /// callers for a certificate or pin their own: always a tunnel, on record.
    pub tunnel_hosts: Vec<String>,
    /// What happens to a TLS handshake in a tunnel that names no server, and at the transparent door to whatever
    /// else names none. What leads to `bypass` and `tunnel_hosts` by CONNECT need name none.
    pub without_sni: Others,
    /// What happens to a TLS handshake that hides its server's name in an encrypted ClientHello.
    pub ech: Hidden,
    /// The public names that encrypted ClientHellos show. Browsers send the same extension filled with noise to
    /// everybody, beside the true name; at the transparent door only these tell it apart.
    pub ech_names: Vec<String>,
    /// Where the authority's keys are, when not in files of the state folder.
    pub authority: AuthorityKeys,
    /// Files of further CA certificates (PEM) that upstreams are verified against, beside the
    /// system's. There is no switch that turns verification off.
    pub extra_roots: Vec<PathBuf>,
    /// Whether tunnels may lead to loopback, link-local and private addresses.
    pub allow_private_tunnels: bool,
    /// Files of certificate revocation lists (PEM or DER), or folders of them (`*.crl`, `*.pem`, `*.der`), that
    /// certificates of upstreams and of callers (`identity.client_ca`) are checked against; read again when they change.
    pub crls: Vec<PathBuf>,
    /// What happens to a certificate that no list in `crls` speaks of.
    pub crl_unknown: Permission,
    /// What happens to a certificate whose list in `crls` is past its next update.
    pub crl_expired: Permission,
}

impl Default for Intercept {
    fn default() -> Self {
        Self {
            hosts: hosts::by_default(),
            other_hosts: Others::Tunnel,
            bypass: Vec::new(),
            tunnel_hosts: Vec::new(),
            without_sni: Others::Refuse,
            ech: Hidden::Block,
            ech_names: vec!["cloudflare-ech.com".to_owned()],
            authority: AuthorityKeys::default(),
            extra_roots: Vec::new(),
            allow_private_tunnels: false,
            crls: Vec::new(),
            crl_unknown: Permission::Allow,
            crl_expired: Permission::Refuse,
        }
    }
}

impl Intercept {
    /// Whether a host is one of `bypass` or `tunnel_hosts`, which are never intercepted and always passed.
    pub fn passes_unread(&self, host: &str) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        self.bypass.iter().chain(&self.tunnel_hosts).any(|entry| {
            host_within(host, entry)
                || address.is_some_and(|address| {
                    entry
                        .parse()
                        .is_ok_and(|network: Network| network.contains(address))
                })
        })
    }

    /// The networks of `bypass`.
    pub fn bypass_networks(&self) -> Vec<Network> {
        self.bypass
            .iter()
            .filter_map(|entry| entry.parse().ok())
            .collect()
    }

    /// The hosts of `bypass` and `tunnel_hosts`.
    pub fn unread_hosts(&self) -> Vec<String> {
        self.bypass_hosts()
            .into_iter()
            .chain(self.tunnel_hosts.clone())
            .collect()
    }

    /// The hosts of `bypass`.
    pub fn bypass_hosts(&self) -> Vec<String> {
        let is_host = |entry: &&String| entry.parse::<Network>().is_err();
        self.bypass.iter().filter(is_host).cloned().collect()
    }

    /// Brings hosts to the form in which callers' are compared with them: one that is written with a dot at its
    /// end, as DNS permits, would otherwise be nobody's.
    pub(super) fn normalise(&mut self) {
        let lists = [
            &mut self.hosts,
            &mut self.bypass,
            &mut self.tunnel_hosts,
            &mut self.ech_names,
        ];
        for entry in lists.into_iter().flatten() {
            if let Some(normal) = normal_host(entry) {
                *entry = normal;
            }
        }
    }

    /// What is wrong with its lists: the key and what to write.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let is_name = |entry: &str| normal_host(entry).is_some_and(|host| host.parse::<IpAddr>().is_err());
        let mut faults = Vec::new();
        for (key, entries, networks) in [
            ("hosts", &self.hosts, false),
            ("bypass", &self.bypass, true),
            ("tunnel_hosts", &self.tunnel_hosts, false),
            ("ech_names", &self.ech_names, false),
        ] {
            for entry in entries {
                let network = networks && entry.parse::<Network>().is_ok();
                if !network && !is_name(entry) {
                    let what = if networks {
                        "host name or network"
                    } else {
                        "host name"
                    };
                    faults.push((key, format!("`{entry}` in `intercept.{key}` is no {what}")));
                }
            }
        }
        faults
    }
}

/// What happens to what is not intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// Bytes are passed unread, and recorded as a tunnel.
    Tunnel,
    /// It is refused, and recorded.
    Refuse,
}

/// Where the authority's keys are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorityKeys {
    /// A hardware token that holds the intermediates' keys. The root's key is in a file that is kept offline.
    pub pkcs11: Option<Pkcs11>,
}

/// A token that is spoken to by PKCS#11.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The shared library of the token's maker; it is loaded into Cordon's process.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// The label of Cordon's keys in it; `cordon ca init` and `cordon ca rotate` make keys of that label.
    #[serde(default = "key_label")]
    pub key_label: String,
    /// The user's PIN, as `${file:PATH}` or `${env:NAME}`.
    pub pin: Setting,
}

fn key_label() -> String {
    "cordon".to_owned()
}

/// Whether something passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// It does.
    Allow,
    /// It is refused, and recorded.
    Refuse,
}

/// What happens to a handshake that hides its server's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// The connection is closed, and recorded.
    Block,
    /// It is a tunnel like any other.
    Tunnel,
}

/// How callers are recognised.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Whether callers on loopback may go without a key.
    pub anonymous_loopback: bool,
    /// File of API keys; `DIR/keys.json` when absent. `cordon key` writes it.
    pub keys: Option<PathBuf>,
    /// File of the 32-byte key behind API key hashes, placeholders and commitments, in hex;
    /// made as `DIR/installation.key` when absent. All replicas must have the same.
    pub installation_key: Option<PathBuf>,
    /// File of CA certificates (PEM). Callers of the gateway and of the proxy over TLS who show a certificate under
    /// one of them need no key: their user is its mail address, else its common name, their groups are its
    /// organisational units and `certificate_groups`. `intercept.crls` holds for these certificates too. The file is
    /// read again when it changes.
    pub client_ca: Option<PathBuf>,
    /// Groups of everyone who shows such a certificate.
    pub certificate_groups: BTreeSet<String>,
    /// Kerberos, with which callers of the proxy who are logged in to the company's domain need no key; only in builds
    /// with the feature `kerberos`. Realms and groups are read again when the file changes.
    pub kerberos: Option<Kerberos>,
    /// Networks whose callers need no key. The first that holds a caller's address names it.
    pub networks: Vec<NetworkIdentity>,
}

/// Whom callers from a network are taken for, when they show no key and no certificate.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkIdentity {
    /// The network, as `10.20.0.0/16` or a single address.
    pub network: String,
    /// Their user; each caller's address when absent.
    #[serde(default)]
    pub user: Option<String>,
    /// Their groups.
    #[serde(default)]
    pub groups: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_unread_is_told_by_name_and_by_network() {
        let intercept = Intercept {
            bypass: vec!["corp.example".into(), "10.0.0.0/8".into()],
            tunnel_hosts: vec!["pinned.example".into()],
            ..Intercept::default()
        };
        for host in ["corp.example", "a.corp.example", "10.2.3.4", "pinned.example"] {
            assert!(intercept.passes_unread(host), "{host}");
        }
        for host in ["notcorp.example", "11.0.0.1", "api.openai.com"] {
            assert!(!intercept.passes_unread(host), "{host}");
        }
        assert_eq!(intercept.bypass_hosts(), ["corp.example"]);
        assert!(intercept.faults().is_empty());
        let wrong = Intercept {
            bypass: vec!["10.0.0.0/99".into()],
            tunnel_hosts: vec!["10.0.0.0/8".into(), "*.example".into()],
            ..Intercept::default()
        };
        assert_eq!(wrong.faults().len(), 3);
    }
}
