//! Verifies upstreams' certificates by webpki, and says of a refused one what is wrong with it.
//!
//! webpki decides, alone: this file never turns a refusal into a pass. It looks at a certificate that
//! was refused once more, because "unknown issuer" is no help to whoever has to mend the server.
//!
//! On failure: a [`CertificateFault`], which the handshake's error carries.

use std::{error::Error as StdError, fmt, io, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
};

/// RSA keys below this are refused, as webpki does.
const LEAST_RSA_BITS: usize = 2048;

/// What is wrong with an upstream's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateFault {
    /// Past its end, or that of a certificate above it.
    Expired,
    /// Before its beginning.
    NotYetValid,
    /// It names other hosts.
    WrongHost,
    /// It vouches for itself.
    SelfSigned,
    /// The chain ends at an authority that is not trusted.
    UnknownAuthority,
    /// The server sent its own certificate alone, and who issued that is not known here.
    IncompleteChain,
    /// It is not for servers.
    WrongUsage,
    /// An authority above it may not vouch for such a name.
    NameNotPermitted,
    /// A certificate above it is no authority's, or may not have another below it.
    IssuerNotAuthority,
    /// A key or signature that is too weak.
    Weak,
    /// Withdrawn by its authority.
    Revoked,
    /// No revocation list speaks of it, and one must.
    RevocationUnknown,
    /// The revocation list that speaks of it is out of date or cannot be used.
    RevocationListUnusable,
    /// A signature does not fit.
    BadSignature,
    /// It cannot be read, or holds what is not understood.
    Malformed,
}

impl CertificateFault {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Expired,
        Self::NotYetValid,
        Self::WrongHost,
        Self::SelfSigned,
        Self::UnknownAuthority,
        Self::IncompleteChain,
        Self::WrongUsage,
        Self::NameNotPermitted,
        Self::IssuerNotAuthority,
        Self::Weak,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::RevocationListUnusable,
        Self::BadSignature,
        Self::Malformed,
    ];

    /// A stable name for records and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Expired => "cordon_certificate_expired",
            Self::NotYetValid => "cordon_certificate_not_yet_valid",
            Self::WrongHost => "cordon_certificate_wrong_host",
            Self::SelfSigned => "cordon_certificate_self_signed",
            Self::UnknownAuthority => "cordon_certificate_unknown_authority",
            Self::IncompleteChain => "cordon_certificate_incomplete_chain",
            Self::WrongUsage => "cordon_certificate_wrong_usage",
            Self::NameNotPermitted => "cordon_certificate_name_not_permitted",
            Self::IssuerNotAuthority => "cordon_certificate_issuer_not_authority",
            Self::Weak => "cordon_certificate_weak",
            Self::Revoked => "cordon_certificate_revoked",
            Self::RevocationUnknown => "cordon_certificate_revocation_unknown",
            Self::RevocationListUnusable => "cordon_certificate_revocation_list",
            Self::BadSignature => "cordon_certificate_bad_signature",
            Self::Malformed => "cordon_certificate_malformed",
        }
    }

    /// What is wrong, to go on after "the provider's certificate".
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Expired => "has expired, or one above it has",
            Self::NotYetValid => "is not valid yet (a clock may be wrong)",
            Self::WrongHost => "is for other hosts than the one that was asked for",
            Self::SelfSigned => "vouches for itself: no authority has issued it",
            Self::UnknownAuthority => "was issued by an authority that Cordon does not trust",
            Self::IncompleteChain => {
                "came alone, and the authority that issued it is not one that Cordon trusts: the server may leave out the certificates between"
            }
            Self::WrongUsage => "is not one for servers",
            Self::NameNotPermitted => "is for a name that its authority may not vouch for",
            Self::IssuerNotAuthority => "was issued by something that is no certificate authority",
            Self::Weak => "has a key or a signature that is too weak",
            Self::Revoked => "was revoked by its authority",
            Self::RevocationUnknown => {
                "is on no revocation list that Cordon has, and the configuration asks for one"
            }
            Self::RevocationListUnusable => {
                "cannot be checked: its revocation list is out of date or unusable"
            }
            Self::BadSignature => "has a signature that does not fit",
            Self::Malformed => "cannot be read",
        }
    }

    /// The fault that an error of a handshake carries, however deep it lies.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        // `io::Error::source` skips the error inside it, so that is taken by hand.
        match error.get_ref()?.downcast_ref::<Error>()? {
            Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
                other.downcast_ref::<Self>().copied()
            }
            Error::InvalidCertificate(other) => Some(known(other)),
            _ => None,
        }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate {}", self.what())
    }
}

impl StdError for CertificateFault {}

/// webpki's verifier, with its refusals told apart.
#[derive(Debug)]
pub(super) struct Verifier(pub(super) Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| refused(fault(&error, end_entity, intermediates)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, cert, dss)
            .map_err(|error| signature(error, cert))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, cert, dss)
            .map_err(|error| signature(error, cert))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

fn refused(fault: CertificateFault) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
}

/// A handshake's signature that does not verify: by a key that is too short nothing does.
fn signature(error: Error, cert: &CertificateDer<'_>) -> Error {
    match &error {
        Error::InvalidCertificate(_) if is_short(cert) => refused(CertificateFault::Weak),
        Error::InvalidCertificate(other) => refused(known(other)),
        _ => error,
    }
}

fn fault(error: &Error, leaf: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> CertificateFault {
    let plain = match error {
        Error::InvalidCertificate(other) => known(other),
        // Lists were read at start; one that fails now cannot say anything of this certificate.
        Error::InvalidCertRevocationList(_) => CertificateFault::RevocationListUnusable,
        _ => CertificateFault::Malformed,
    };
    match plain {
        CertificateFault::UnknownAuthority | CertificateFault::WrongUsage if vouches_for_itself(leaf) => {
            CertificateFault::SelfSigned
        }
        CertificateFault::UnknownAuthority if !sent.iter().any(|above| issued(leaf, above)) => {
            CertificateFault::IncompleteChain
        }
        CertificateFault::BadSignature if std::iter::once(leaf).chain(sent).any(is_short) => {
            CertificateFault::Weak
        }
        other => other,
    }
}

/// What webpki says, as far as that goes.
fn known(error: &CertificateError) -> CertificateFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertificateFault::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            CertificateFault::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            CertificateFault::WrongHost
        }
        CertificateError::UnknownIssuer => CertificateFault::UnknownAuthority,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertificateFault::WrongUsage
        }
        CertificateError::Revoked => CertificateFault::Revoked,
        CertificateError::UnknownRevocationStatus => CertificateFault::RevocationUnknown,
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            CertificateFault::RevocationListUnusable
        }
        CertificateError::BadSignature => CertificateFault::BadSignature,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => CertificateFault::Weak,
        CertificateError::Other(OtherError(inner)) => match inner.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::NameConstraintViolation) => CertificateFault::NameNotPermitted,
            Some(webpki::Error::EndEntityUsedAsCa | webpki::Error::PathLenConstraintViolated) => {
                CertificateFault::IssuerNotAuthority
            }
            Some(webpki::Error::CaUsedAsEndEntity | webpki::Error::EmptyEkuExtension) => {
                CertificateFault::WrongUsage
            }
            _ => CertificateFault::Malformed,
        },
        _ => CertificateFault::Malformed,
    }
}

fn vouches_for_itself(der: &CertificateDer<'_>) -> bool {
    issued(der, der)
}

/// Whether `above` bears the name that `below` gives for its issuer.
fn issued(below: &CertificateDer<'_>, above: &CertificateDer<'_>) -> bool {
    let (Ok((_, below)), Ok((_, above))) =
        (X509Certificate::from_der(below), X509Certificate::from_der(above))
    else {
        return false;
    };
    below.issuer().as_raw() == above.subject().as_raw()
}

fn is_short(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(key)) if key.key_size() < LEAST_RSA_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_code_and_words_of_its_own() {
        let codes: BTreeSet<&str> = CertificateFault::ALL.iter().map(|fault| fault.code()).collect();
        let words: BTreeSet<&str> = CertificateFault::ALL.iter().map(|fault| fault.what()).collect();
        assert_eq!((codes.len(), words.len()), (15, 15));
    }

    #[test]
    fn the_fault_is_found_inside_a_handshakes_error() {
        let error = io::Error::new(io::ErrorKind::InvalidData, refused(CertificateFault::Revoked));
        assert_eq!(CertificateFault::of(&error), Some(CertificateFault::Revoked));
        let error = io::Error::other(Error::InvalidCertificate(CertificateError::Expired));
        assert_eq!(CertificateFault::of(&error), Some(CertificateFault::Expired));
        assert_eq!(CertificateFault::of(&io::Error::other("reset")), None);
        assert_eq!(CertificateFault::of(&io::ErrorKind::UnexpectedEof.into()), None);
    }
}
