//! Callers' own certificates: asked for where the configuration names a CA for them, never demanded.
//!
//! TLS proves that a caller holds the key to a certificate under that CA; what the certificate says of it
//! ([`Certified`]) goes to the server, which makes an actor of it or not. A certificate under another CA
//! fails the handshake, and so does one that a revocation list names. When another CA or other lists come into
//! force, connections whose certificates these refuse are cut, whatever goes on in them ([`Certificates`]).
//!
//! It also keeps the TLS configurations that differ from a leaf's own by that question, or by speaking
//! HTTP/1.1 alone. A leaf's configuration holds the sessions that may be resumed, so the same one must be
//! used again.
//!
//! On failure: at start an error that says what is wrong with the CA.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{ServerConnection, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_util::sync::CancellationToken;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::trust::Revocation;

/// Configurations kept: one for each name of the gateway, with some to spare for what was renewed.
const KEPT: usize = 32;

/// A CA for callers' certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientCaError {
    /// It holds no certificate, or a broken one.
    #[error("the CA for client certificates is no PEM file of certificates")]
    NotPem,
    /// It cannot verify anything.
    #[error("the CA for client certificates cannot be used: {0}")]
    Unusable(String),
}

/// What a verified certificate says of its holder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certified {
    /// Mail addresses, those of the alternative names first.
    pub emails: Vec<String>,
    /// Common name.
    pub common_name: Option<String>,
    /// Organisational units.
    pub units: Vec<String>,
    /// Serial number, in hexadecimal.
    pub serial: String,
}

impl Certified {
    /// What the certificate that a caller showed in a finished handshake says of it.
    pub(crate) fn of(connection: &ServerConnection) -> Option<Arc<Self>> {
        let shown = connection.peer_certificates()?.first()?;
        Self::read(shown).map(Arc::new)
    }

    fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        let text =
            |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().ok().map(str::to_owned);
        let subject = certificate.subject();
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative.iter().flat_map(|names| &names.value.general_names);
        let mut emails: Vec<String> = names
            .filter_map(|name| match name {
                GeneralName::RFC822Name(email) => Some((*email).to_owned()),
                _ => None,
            })
            .collect();
        emails.extend(subject.iter_email().filter_map(text));
        Some(Self {
            emails,
            common_name: subject.iter_common_name().find_map(text),
            units: subject.iter_organizational_unit().filter_map(text).collect(),
            serial: certificate.raw_serial_as_string().replace(':', ""),
        })
    }
}

/// A configuration that was made from a leaf's.
struct Made {
    from: Arc<ServerConfig>,
    http1: bool,
    config: Arc<ServerConfig>,
}

/// How TLS is taken up on our own ports.
#[derive(Default)]
pub struct OwnTls {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    made: Mutex<Vec<Made>>,
}

impl fmt::Debug for OwnTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTls")
            .field("asks", &self.verifier.is_some())
            .finish_non_exhaustive()
    }
}

impl OwnTls {
    /// Callers are asked for a certificate under one of these CAs, which no list must name.
    ///
    /// # Errors
    /// When that is no CA.
    pub fn asking(ca_pem: &str, revocation: &Revocation) -> Result<Self, ClientCaError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|_| ClientCaError::NotPem)?;
            roots.add(certificate).map_err(|_| ClientCaError::NotPem)?;
        }
        if roots.is_empty() {
            return Err(ClientCaError::NotPem);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .with_crls(revocation.lists.iter().cloned());
        if !revocation.refuse_unknown {
            verifier = verifier.allow_unknown_revocation_status();
        }
        if !revocation.accept_expired {
            verifier = verifier.enforce_revocation_expiration();
        }
        let verifier = verifier
            .build()
            .map_err(|error| ClientCaError::Unusable(error.to_string()))?;
        Ok(Self {
            verifier: Some(verifier),
            made: Mutex::default(),
        })
    }

    /// Whether a certificate that was shown is good at this moment.
    fn accepts(&self, shown: &[CertificateDer<'static>]) -> bool {
        let (Some(verifier), Some((leaf, above))) = (&self.verifier, shown.split_first()) else {
            return false;
        };
        verifier.verify_client_cert(leaf, above, UnixTime::now()).is_ok()
    }

    /// A leaf's configuration as our own ports use it; `http1` offers HTTP/1.1 alone.
    pub(crate) fn config(
        &self,
        from: Arc<ServerConfig>,
        http1: bool,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        if self.verifier.is_none() && !http1 {
            return Ok(from);
        }
        // Each change is whole in itself, so a poisoned lock holds a sound list.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let known = made
            .iter()
            .find(|made| made.http1 == http1 && Arc::ptr_eq(&made.from, &from));
        if let Some(known) = known {
            return Ok(Arc::clone(&known.config));
        }
        let builder = ServerConfig::builder_with_provider(Arc::clone(from.crypto_provider()))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&from.cert_resolver));
        config.alpn_protocols = if http1 {
            vec![b"http/1.1".to_vec()]
        } else {
            from.alpn_protocols.clone()
        };
        let config = Arc::new(config);
        if made.len() >= KEPT {
            made.remove(0);
        }
        made.push(Made {
            from,
            http1,
            config: Arc::clone(&config),
        });
        Ok(config)
    }
}

/// What our own ports ask of callers now, and the certificates on connections that are open.
#[derive(Default)]
pub(crate) struct Certificates {
    now: ArcSwap<OwnTls>,
    open: Arc<Open>,
}

/// Certificates on open connections, by a number.
#[derive(Default)]
struct Open(Mutex<(u64, HashMap<u64, Shown>)>);

struct Shown {
    chain: Vec<CertificateDer<'static>>,
    cut: CancellationToken,
}

/// A connection's certificate, watched for as long as this is held.
pub(crate) struct Watching {
    open: Arc<Open>,
    number: u64,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.1.remove(&self.number);
    }
}

impl Certificates {
    pub(crate) fn of(own: OwnTls) -> Self {
        Self {
            now: ArcSwap::from_pointee(own),
            open: Arc::default(),
        }
    }

    /// What is asked now.
    pub(crate) fn now(&self) -> Arc<OwnTls> {
        self.now.load_full()
    }

    /// Watches the certificate of a connection, of which `cut` is the end, that shook hands under `under`. Nothing
    /// when it is refused by what came into force meanwhile.
    pub(crate) fn watch(
        &self,
        under: &Arc<OwnTls>,
        chain: &[CertificateDer<'static>],
        cut: CancellationToken,
    ) -> Option<Watching> {
        let chain = chain.to_vec();
        // Each change is one insertion or removal, so a poisoned lock holds a sound map.
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now.load();
        if !Arc::ptr_eq(&now, under) && !now.accepts(&chain) {
            return None;
        }
        open.0 += 1;
        let number = open.0;
        open.1.insert(number, Shown { chain, cut });
        Some(Watching {
            open: Arc::clone(&self.open),
            number,
        })
    }

    /// From now on this is asked. Cuts the connections whose certificates it refuses, and says how many they were.
    pub(crate) fn replace(&self, own: OwnTls) -> usize {
        let own = Arc::new(own);
        self.now.store(Arc::clone(&own));
        let open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = open.1.values().filter(|shown| !own.accepts(&shown.chain));
        refused.map(|shown| shown.cut.cancel()).count()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_tells_whose_it_is() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(vec![0x12, 0xab].into());
        params.subject_alt_names = vec![SanType::Rfc822Name("ann@corp.example".try_into().unwrap())];
        params.distinguished_name.push(DnType::CommonName, "Ann Lee");
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, "design");
        let certificate = params.self_signed(&key).unwrap();
        let read = Certified::read(certificate.der()).unwrap();
        assert_eq!(
            read,
            Certified {
                emails: vec!["ann@corp.example".into()],
                common_name: Some("Ann Lee".into()),
                units: vec!["design".into()],
                serial: "12ab".into(),
            }
        );
    }

    #[test]
    fn a_ca_that_is_none_is_an_error_at_start() {
        let asking = |pem: &str| OwnTls::asking(pem, &Revocation::default());
        assert!(matches!(asking(""), Err(ClientCaError::NotPem)));
        assert!(matches!(
            asking("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Err(ClientCaError::NotPem)
        ));
    }
}
