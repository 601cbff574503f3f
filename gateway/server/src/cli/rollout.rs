//! `cordon rollout`: what a device management gives to every machine, with this installation's CA and
//! addresses in it. `docs/rollout.md` tells how each kind is distributed.
//!
//! Nothing secret is in any of it: who a caller is, is for the proxy's login, client certificates or Kerberos to say.
//! The machine-wide proxy variables carry no login; a person adds one by `cordon env --key`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Args, ValueEnum};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Where, say};
use crate::{config::Config, installation::Installation, running::Running};

const LINUX: &str = include_str!("rollout/linux.sh");
const WINDOWS: &str = include_str!("rollout/windows.ps1");
const MACOS: &str = include_str!("rollout/macos.mobileconfig");

/// Arguments of `cordon rollout`.
#[derive(Args)]
pub struct Rollout {
    /// What it is for.
    #[arg(value_enum)]
    kind: Kind,
    /// Address of the proxy as employees reach it (HOST:PORT); the running one when absent.
    #[arg(long)]
    proxy: Option<String>,
    /// URL of the proxy configuration file; the admin listener's or that of the pages when absent.
    #[arg(long)]
    pac: Option<String>,
    #[command(flatten)]
    place: Where,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A shell script for Debian, Ubuntu, Fedora and their like.
    Linux,
    /// A PowerShell script for a group policy or Intune.
    Windows,
    /// A configuration profile.
    Macos,
    /// `policies.json` of Firefox.
    Firefox,
    /// Managed policy of Chrome and Chromium.
    Chrome,
}

impl Rollout {
    /// Runs it.
    pub fn run(self) -> Result<ExitCode> {
        let config = self.place.load()?;
        let installation = Installation::of(&config);
        let pem = std::fs::read_to_string(installation.root())
            .context("the root certificate cannot be read; `cordon ca init` makes one")?;
        let parts = Parts::new(&config, pem.trim(), self.proxy, self.pac)?;
        say(match self.kind {
            Kind::Linux => parts.fill(LINUX),
            Kind::Windows => parts.fill(WINDOWS),
            Kind::Macos => parts.fill(MACOS),
            Kind::Firefox => parts.firefox(),
            Kind::Chrome => parts.chrome(),
        }
        .trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

/// What is filled into the templates.
struct Parts {
    pem: String,
    der: Vec<u8>,
    proxy: String,
    pac: String,
}

impl Parts {
    fn new(config: &Config, pem: &str, proxy: Option<String>, pac: Option<String>) -> Result<Self> {
        let running = Running::or_configured(config);
        let address = proxy.unwrap_or_else(|| {
            let url = running.proxy.as_str();
            url.split_once("://").map_or(url, |(_, rest)| rest).to_owned()
        });
        let plain = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"'\"<>&\\".contains(&byte))
        };
        anyhow::ensure!(
            plain(&address),
            "the proxy's address has characters that an address does not have"
        );
        let pac = pac.unwrap_or_else(|| format!("http://{address}/proxy.pac"));
        anyhow::ensure!(plain(&pac), "the URL has characters that a URL does not have");
        Ok(Self {
            der: CertificateDer::from_pem_slice(pem.as_bytes())
                .context("the root certificate is no PEM file")?
                .to_vec(),
            pem: pem.to_owned(),
            proxy: format!("http://{address}"),
            pac,
        })
    }

    fn fill(&self, template: &str) -> String {
        let mut text = template
            .replace("@CA@", &self.pem)
            .replace("@CA_BASE64@", &BASE64_STANDARD.encode(&self.der))
            .replace("@PROXY@", &self.proxy)
            .replace("@PAC@", &self.pac);
        for payload in 1..=4 {
            text = text.replace(&format!("@UUID{payload}@"), &self.payload_id(payload).to_string());
        }
        text
    }

    /// A profile that is installed again must carry the ids that it had, to replace itself.
    fn payload_id(&self, payload: u8) -> Uuid {
        let digest = Sha256::new()
            .chain_update(&self.der)
            .chain_update([payload])
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Uuid::new_v8(id)
    }

    fn firefox(&self) -> String {
        let policies = json!({"policies": {
            "Certificates": {"ImportEnterpriseRoots": true, "Install": ["cordon.pem"]},
            "Proxy": {"Mode": "autoConfig", "AutoConfigURL": self.pac, "Locked": true},
            "Preferences": {"network.http.http3.enable": {"Value": false, "Status": "locked"}},
            "DNSOverHTTPS": {"Enabled": false, "Locked": true},
        }});
        format!("{policies:#}")
    }

    fn chrome(&self) -> String {
        let policies = json!({
            "ProxySettings": {"ProxyMode": "pac_script", "ProxyPacUrl": self.pac, "ProxyPacMandatory": true},
            "QuicAllowed": false,
            "EncryptedClientHelloEnabled": false,
            "CACertificates": [BASE64_STANDARD.encode(&self.der)],
        });
        format!("{policies:#}")
    }
}
