//! How a handshake can end.

use std::io;

use tokio_rustls::rustls::{CertificateError, Error};

/// How a handshake ended: a label of `proxy_tls_handshakes_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeResult {
    Ok,
    /// It took too long.
    Timeout,
    /// The client closed, or its connection broke.
    Closed,
    /// The client speaks plain HTTP.
    PlainHttp,
    /// The client has shown no certificate, and one is required.
    NoCertificate,
    /// The client's certificate has expired.
    CertificateExpired,
    /// The client's certificate is not good for another reason.
    CertificateRefused,
    /// The client broke off, mostly because it does not trust our certificate.
    RefusedByClient,
    /// There is no version, cipher or protocol that both speak.
    Incompatible,
    /// What came is no TLS, or is wrong TLS.
    Malformed,
}

impl HandshakeResult {
    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            HandshakeResult::Ok => "ok",
            HandshakeResult::Timeout => "timeout",
            HandshakeResult::Closed => "closed",
            HandshakeResult::PlainHttp => "plain-http",
            HandshakeResult::NoCertificate => "no-certificate",
            HandshakeResult::CertificateExpired => "certificate-expired",
            HandshakeResult::CertificateRefused => "certificate-refused",
            HandshakeResult::RefusedByClient => "refused-by-client",
            HandshakeResult::Incompatible => "incompatible",
            HandshakeResult::Malformed => "malformed",
        }
    }

    /// Why a handshake failed.
    pub fn of_error(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return HandshakeResult::Closed;
        };
        match error {
            Error::NoCertificatesPresented => HandshakeResult::NoCertificate,
            Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                HandshakeResult::CertificateExpired
            }
            Error::InvalidCertificate(_) => HandshakeResult::CertificateRefused,
            Error::AlertReceived(_) => HandshakeResult::RefusedByClient,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => HandshakeResult::Incompatible,
            _ => HandshakeResult::Malformed,
        }
    }
}
