//! Makes and reads certificates: the only file that speaks to the X.509 writer.
//!
//! Every certificate carries a subject and an authority key identifier (Python 3.13 insists), an
//! ECDSA P-256 key of its own, and no more than it needs: intermediates have path length 0, key
//! usage for signing certificates, and an extended key usage that rules mail and code out.
//!
//! On failure: an [`AuthorityError`] naming the file where there is one.

use std::{net::IpAddr, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType,
    SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use time::{Duration, OffsetDateTime};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};
use zeroize::Zeroizing;

#[cfg(feature = "pkcs11")]
use super::token::TokenKey;
use super::{AuthorityError, BACKDATED, LEAF_LIFE, Leaf, TokenSettings, files};
use crate::{names::is_within, reach::Network};

/// X.520 bounds a common name to this many characters.
const MAX_COMMON_NAME: usize = 64;

/// The root, ready to sign intermediates.
pub(super) type RootIssuer = Issuer<'static, KeyPair>;

/// Which of the two intermediates.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Interception,
    Gateway,
}

/// Makes a root: the issuer, its certificate and its key in PEM.
pub(super) fn root(
    now: OffsetDateTime,
    life: Duration,
) -> Result<(RootIssuer, String, Zeroizing<String>), AuthorityError> {
    let key = KeyPair::generate()?;
    let mut params = authority_params("Cordon Root CA", &key, BasicConstraints::Constrained(1));
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    let certificate = params.self_signed(&key)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    Ok((Issuer::new(params, key), certificate.pem(), key_pem))
}

/// The first certificate of a file, and its end.
pub(super) fn first_certificate(
    path: &Path,
    pem: &str,
) -> Result<(CertificateDer<'static>, OffsetDateTime), AuthorityError> {
    let format = || AuthorityError::Format {
        path: path.to_owned(),
        expected: "root certificate",
    };
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| format())?;
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| format())?;
    let not_after = parsed.validity().not_after.to_datetime();
    Ok((certificate, not_after))
}

/// Reads a root and its key back, and checks that they belong together.
pub(super) fn root_issuer(
    root: &Path,
    root_pem: &str,
    key: &Path,
    key_pem: &str,
) -> Result<RootIssuer, AuthorityError> {
    let (der, key) = read_pair(root, root_pem, key, key_pem, "root certificate")?;
    Ok(Issuer::from_ca_cert_der(&der, key)?)
}

/// Makes an intermediate under `root`, constrained to the given names and networks.
pub(super) fn intermediate(
    kind: Kind,
    root: &RootIssuer,
    key: &IssuerKey,
    names: &[String],
    networks: &[Network],
    now: OffsetDateTime,
    life: Duration,
) -> Result<String, AuthorityError> {
    let title = match kind {
        Kind::Interception => "Cordon Interception CA",
        Kind::Gateway => "Cordon Gateway CA",
    };
    let mut params = authority_params(title, key, BasicConstraints::Constrained(0));
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(constraints(names, networks));
    Ok(params.signed_by(key, root)?.pem())
}

/// The key of an intermediate: in a file, or in a token that signs with it.
pub(super) enum IssuerKey {
    File(KeyPair),
    #[cfg(feature = "pkcs11")]
    Token(TokenKey),
}

impl IssuerKey {
    /// The key for its file, if it has one.
    pub(super) fn pem(&self) -> Option<Zeroizing<String>> {
        match self {
            Self::File(key) => Some(Zeroizing::new(key.serialize_pem())),
            #[cfg(feature = "pkcs11")]
            Self::Token(_) => None,
        }
    }
}

impl PublicKeyData for IssuerKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::File(key) => key.der_bytes(),
            #[cfg(feature = "pkcs11")]
            Self::Token(key) => key.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::File(key) => key.algorithm(),
            #[cfg(feature = "pkcs11")]
            Self::Token(key) => key.algorithm(),
        }
    }
}

impl SigningKey for IssuerKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::File(key) => key.sign(message),
            #[cfg(feature = "pkcs11")]
            Self::Token(key) => key.sign(message),
        }
    }
}

/// Makes a key for an intermediate, where the configuration says.
#[cfg_attr(
    not(feature = "pkcs11"),
    expect(
        unused_variables,
        reason = "only a token tells keys apart by their kind and time"
    )
)]
pub(super) fn intermediate_key(
    kind: Kind,
    token: Option<&TokenSettings>,
    now: OffsetDateTime,
) -> Result<IssuerKey, AuthorityError> {
    match token {
        None => Ok(IssuerKey::File(KeyPair::generate()?)),
        #[cfg(feature = "pkcs11")]
        Some(settings) => {
            let mut id = now.unix_timestamp_nanos().to_be_bytes().to_vec();
            id.push(kind as u8);
            Ok(IssuerKey::Token(TokenKey::generate(settings, &id)?))
        }
        #[cfg(not(feature = "pkcs11"))]
        Some(_) => Err(AuthorityError::NoTokens),
    }
}

/// Permits exactly what is listed. An unlisted form of name would be unconstrained, so a
/// certificate that lists no network excludes all of them.
fn constraints(names: &[String], networks: &[Network]) -> NameConstraints {
    let subnet = |network: &Network| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network.address(), network.prefix()))
    };
    let everywhere = [Network::V4_ALL, Network::V6_ALL];
    NameConstraints {
        permitted_subtrees: names
            .iter()
            .cloned()
            .map(GeneralSubtree::DnsName)
            .chain(networks.iter().map(subnet))
            .collect(),
        excluded_subtrees: match networks {
            [] => everywhere.iter().map(subnet).collect(),
            _ => Vec::new(),
        },
    }
}

/// The subject names the key, so that two authorities of one company can be told apart, and so
/// that no verifier takes one for the other.
fn authority_params(title: &str, key: &impl PublicKeyData, basic: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    let id: String = params
        .key_identifier(key)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Cordon");
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{title} {id}"));
    params.is_ca = IsCa::Ca(basic);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

/// What an intermediate may vouch for, read back from its certificate, not from the configuration.
pub(super) struct Permitted {
    pub(super) names: Vec<String>,
    networks: Vec<Network>,
}

impl Permitted {
    pub(super) fn name(&self, host: &str) -> bool {
        host.parse::<IpAddr>().is_err() && self.names.iter().any(|name| is_within(host, name))
    }

    pub(super) fn address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

/// A loaded intermediate with its key.
pub(super) struct Intermediate {
    pub(super) permitted: Permitted,
    pub(super) not_after: OffsetDateTime,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, IssuerKey>,
}

impl Intermediate {
    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Reads an intermediate; refuses one that is unconstrained, expired, or not its key's.
    pub(super) fn load(
        path: &Path,
        key_path: &Path,
        token: Option<&TokenSettings>,
        now: OffsetDateTime,
    ) -> Result<Self, AuthorityError> {
        let pem = files::read(path)?;
        let (certificate, key) = match token {
            None => {
                let key = files::read_secret(key_path)?;
                let (certificate, key) = read_pair(path, &pem, key_path, &key, "intermediate certificate")?;
                (certificate, IssuerKey::File(key))
            }
            Some(settings) => in_token(path, &pem, settings)?,
        };
        let format = || AuthorityError::Format {
            path: path.to_owned(),
            expected: "intermediate certificate",
        };
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| format())?;
        let unconstrained = || AuthorityError::Unconstrained(path.to_owned());
        let constraints = parsed
            .name_constraints()
            .map_err(|_| format())?
            .filter(|extension| extension.critical)
            .ok_or_else(unconstrained)?;
        let mut permitted = Permitted {
            names: Vec::new(),
            networks: Vec::new(),
        };
        for subtree in constraints.value.permitted_subtrees.iter().flatten() {
            match &subtree.base {
                GeneralName::DNSName(name) => permitted.names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    permitted
                        .networks
                        .push(Network::from_constraint(bytes).ok_or_else(format)?);
                }
                _ => {}
            }
        }
        // An empty dNSName permits every name.
        if permitted.names.is_empty() || permitted.names.iter().any(String::is_empty) {
            return Err(unconstrained());
        }
        let not_after = parsed.validity().not_after.to_datetime();
        if not_after <= now {
            return Err(AuthorityError::Expired {
                path: path.to_owned(),
                expired: not_after,
            });
        }
        Ok(Self {
            permitted,
            not_after,
            issuer: Issuer::from_ca_cert_der(&certificate, key)?,
            certificate,
        })
    }

    /// Mints a leaf for `names` (host names or addresses) with a fresh key.
    pub(super) fn mint(
        &self,
        title: &str,
        names: &[&str],
        now: OffsetDateTime,
    ) -> Result<Leaf, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
        debug_assert!(
            params.subject_alt_names.iter().all(|name| match name {
                SanType::DnsName(name) => self.permitted.name(name.as_str()),
                SanType::IpAddress(address) => self.permitted.address(*address),
                _ => false,
            }),
            "names are checked before they come here"
        );
        params.distinguished_name = DistinguishedName::new();
        if title.len() <= MAX_COMMON_NAME {
            params.distinguished_name.push(DnType::CommonName, title);
        }
        params.not_before = now - BACKDATED;
        params.not_after = (now - BACKDATED + LEAF_LIFE).min(self.not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Leaf::new(
            vec![certificate.into(), self.certificate.clone()],
            PrivateKeyDer::from(key),
            now,
            params.not_after,
        )
    }
}

/// Reads a certificate and finds its key in the token.
#[cfg(feature = "pkcs11")]
fn in_token(
    path: &Path,
    pem: &str,
    settings: &TokenSettings,
) -> Result<(CertificateDer<'static>, IssuerKey), AuthorityError> {
    let format = || AuthorityError::Format {
        path: path.to_owned(),
        expected: "intermediate certificate",
    };
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| format())?;
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| format())?;
    let key = TokenKey::find(settings, &parsed.public_key().subject_public_key.data)?;
    Ok((certificate, IssuerKey::Token(key)))
}

#[cfg(not(feature = "pkcs11"))]
fn in_token(
    _: &Path,
    _: &str,
    _: &TokenSettings,
) -> Result<(CertificateDer<'static>, IssuerKey), AuthorityError> {
    Err(AuthorityError::NoTokens)
}

/// Reads a certificate and its key, and checks that they belong together.
fn read_pair(
    path: &Path,
    pem: &str,
    key_path: &Path,
    key_pem: &str,
    expected: &'static str,
) -> Result<(CertificateDer<'static>, KeyPair), AuthorityError> {
    let format = || AuthorityError::Format {
        path: path.to_owned(),
        expected,
    };
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| format())?;
    let key = KeyPair::from_pem(key_pem).map_err(|_| AuthorityError::Format {
        path: key_path.to_owned(),
        expected: "private key",
    })?;
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| format())?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(AuthorityError::KeyMismatch(key_path.to_owned()));
    }
    Ok((certificate, key))
}
