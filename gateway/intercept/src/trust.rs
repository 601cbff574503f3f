//! What is trusted and shown: the caller's bundle, TLS towards upstreams, TLS towards callers.
//!
//! Towards upstreams certificates are always verified, against the platform's roots and what the
//! company adds; there is no parameter that turns it off. The crypto provider is passed by hand,
//! so that no other crate in the process can choose another.
//!
//! On failure: an error at start. A platform without a single root and no extra ones is an error
//! too, since every upstream would fail later and less clearly.

use std::{collections::HashSet, fmt::Write as _, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::WebPkiServerVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::ResolvesServerCert,
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::authority::replace_file;

mod revocation;
pub use revocation::{Revocation, RevocationError};

mod verifier;
pub use verifier::CertificateFault;
use verifier::Verifier;

/// Why trust could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No root at all: neither the platform nor the configuration has one.
    #[error(
        "no root certificate was found, neither the platform's nor configured ones, so no upstream could be verified"
    )]
    NoRoots,
    /// A configured PEM holds no certificate or a broken one. `nth` counts from 1.
    #[error("extra root certificate file number {nth} holds no usable certificate")]
    BadExtraRoot {
        /// Which of them.
        nth: usize,
    },
    /// A revocation list that was read cannot be used.
    #[error("a revocation list cannot be used")]
    BadRevocationList,
    /// The root certificate for the bundle is not PEM.
    #[error("the root certificate for the bundle is not PEM")]
    BadRoot,
    /// A configured gateway certificate or key is unusable.
    #[error("the gateway's certificate or key is not usable PEM")]
    BadGatewayCertificate,
    /// A certificate to show to a server, or its key, is unusable.
    #[error("the certificate to be shown to a server, or its key, is not usable PEM")]
    BadClientCertificate,
    /// The bundle could not be written.
    #[error("the bundle cannot be written")]
    Write(#[from] std::io::Error),
    /// TLS refused the configuration.
    #[error("a TLS configuration could not be made")]
    Tls(#[from] rustls::Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The platform's roots. What could not be read is logged by count; the rest is used.
fn platform_roots() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    if !found.errors.is_empty() {
        tracing::warn!(
            unreadable = found.errors.len(),
            usable = found.certs.len(),
            "some of the platform's root certificates could not be read"
        );
    }
    found.certs
}

/// Writes the platform's roots and our root into one PEM file, for programs that take a bundle
/// instead of adding to what they trust (`SSL_CERT_FILE`). Returns how many roots it holds.
///
/// # Errors
/// When `root_pem` is no certificate or the file cannot be written.
pub fn write_bundle(path: &Path, root_pem: &str) -> Result<usize, TrustError> {
    let own: Vec<_> = CertificateDer::pem_slice_iter(root_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TrustError::BadRoot)?;
    if own.is_empty() {
        return Err(TrustError::BadRoot);
    }
    let mut seen = HashSet::new();
    let mut text = String::new();
    for certificate in own.into_iter().chain(platform_roots()) {
        // The platform's store may hold our root already, or this very bundle.
        if seen.insert(certificate.to_vec()) {
            push_pem(&mut text, &certificate);
        }
    }
    replace_file(path, text.as_bytes(), 0o644)?;
    Ok(seen.len())
}

/// RFC 7468 text: 64 characters of base64 a line.
fn push_pem(text: &mut String, der: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
            let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
            for place in 0..4u32 {
                let index = (bits >> (18 - 6 * place)) & 63;
                let given = place as usize <= three.len();
                text.push(if given {
                    char::from(ALPHABET[index as usize])
                } else {
                    '='
                });
            }
        }
        text.push('\n');
    }
    // Writing into a string cannot fail.
    let _ = writeln!(text, "-----END CERTIFICATE-----");
}

/// TLS towards upstreams: the platform's roots and those of `extra_roots_pem` (each may hold
/// several), verified always, revoked certificates refused, `h2` and `http/1.1` offered.
///
/// # Errors
/// When an extra PEM is unusable, or there is no root at all.
pub fn upstream_tls(extra_roots_pem: &[String], revocation: &Revocation) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    // Platforms carry a few certificates that webpki cannot read; those alone are left out.
    roots.add_parsable_certificates(platform_roots());
    for (index, pem) in extra_roots_pem.iter().enumerate() {
        let bad = || TrustError::BadExtraRoot { nth: index + 1 };
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| bad())?;
        if certificates.is_empty() {
            return Err(bad());
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|_| bad())?;
        }
    }
    if roots.is_empty() {
        return Err(TrustError::NoRoots);
    }
    let mut config = verifying(roots, revocation)?;
    config.alpn_protocols = alpn();
    Ok(config)
}

/// TLS towards one server of the company's own: verified always, by the roots of `roots_pem` alone, revoked certificates refused, no
/// protocol offered.
///
/// # Errors
/// When the PEM holds no certificate.
pub fn private_tls(roots_pem: &str, revocation: &Revocation) -> Result<ClientConfig, TrustError> {
    let bad = || TrustError::BadExtraRoot { nth: 1 };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        let certificate = certificate.map_err(|_| bad())?;
        roots.add(certificate).map_err(|_| bad())?;
    }
    if roots.is_empty() {
        return Err(bad());
    }
    verifying(roots, revocation)
}

/// Shows a certificate of our own where a server asks for one.
///
/// # Errors
/// When chain and key are not PEM or do not belong together.
pub fn show_certificate(config: &mut ClientConfig, chain_pem: &str, key_pem: &str) -> Result<(), TrustError> {
    let certified = certified(chain_pem, key_pem).ok_or(TrustError::BadClientCertificate)??;
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    Ok(())
}

/// TLS that verifies by some roots, and offers nothing.
fn verifying(roots: RootCertStore, revocation: &Revocation) -> Result<ClientConfig, TrustError> {
    let mut verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
        .with_crls(revocation.lists.iter().cloned());
    if !revocation.refuse_unknown {
        verifier = verifier.allow_unknown_revocation_status();
    }
    if !revocation.accept_expired {
        verifier = verifier.enforce_revocation_expiration();
    }
    let verifier = Verifier(verifier.build().map_err(|_| TrustError::BadRevocationList)?);
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        // What is dangerous is a verifier that accepts; this one is webpki's, and explains what it refuses.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// A chain and its key; none where the two are not PEM.
fn certified(chain_pem: &str, key_pem: &str) -> Option<Result<CertifiedKey, rustls::Error>> {
    let chain = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|chain| !chain.is_empty())?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).ok()?;
    Some(CertifiedKey::from_der(chain, key, &provider()))
}

/// TLS for the gateway from the company's own certificate chain and key.
///
/// # Errors
/// When they are not PEM or do not belong together.
pub fn gateway_tls_from_pem(chain_pem: &str, key_pem: &str) -> Result<ServerConfig, TrustError> {
    let certified = certified(chain_pem, key_pem).ok_or(TrustError::BadGatewayCertificate)??;
    Ok(server_config(Arc::new(SingleCertAndKey::from(certified)))?)
}

/// TLS towards callers.
pub(crate) fn server_config(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = alpn();
    Ok(config)
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pem_reads_back(der in proptest::collection::vec(any::<u8>(), 1..300)) {
            let mut text = String::new();
            push_pem(&mut text, &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            prop_assert_eq!(read.as_ref(), der.as_slice());
        }
    }

    #[test]
    fn a_broken_extra_root_is_named() {
        let error = upstream_tls(&["not pem".to_owned()], &Revocation::default()).unwrap_err();
        assert!(matches!(error, TrustError::BadExtraRoot { nth: 1 }));
    }
}
