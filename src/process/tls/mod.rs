//! TLS of a server: what is configured, and what its files hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::x509::X509;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::process::file;

/// The most that one file may hold: a bundle of every public root is a quarter of it.
const MAX_FILE: u64 = 1 << 20;

/// What is offered to clients by ALPN, the preferred one first.
pub const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// TLS as it is configured.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// The certificate and those between it and its root, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// What client certificates must come from, PEM.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
}

/// Whether clients show a certificate. One that is shown is always verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientAuth {
    #[default]
    Off,
    Optional,
    Required,
}

impl ClientAuth {
    /// Its name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientAuth::Off => "off",
            ClientAuth::Optional => "optional",
            ClientAuth::Required => "required",
        }
    }
}

/// A version of TLS; rustls speaks no older ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsVersion {
    #[default]
    V12,
    V13,
}

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    Cert,
    Key,
    ClientCa,
}

/// Why the files cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct TlsFault {
    /// The one that is wrong.
    pub file: TlsFile,
    /// Names the file, and nothing of what it holds.
    pub problem: String,
}

/// What the files hold. Not `Debug`: one is a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsFiles {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or is too large.
    pub fn read(&self) -> Result<TlsFiles, TlsFault> {
        let read = |which: TlsFile, path: &Path| {
            file::read(path, MAX_FILE).map_err(|why| TlsFault {
                file: which,
                problem: format!("{}: {why}", path.display()),
            })
        };
        let client_ca = self.client_ca.as_deref().filter(|_| self.asks_clients());
        Ok(TlsFiles {
            cert: read(TlsFile::Cert, &self.cert)?,
            key: read(TlsFile::Key, &self.key)?,
            client_ca: client_ca.map(|path| read(TlsFile::ClientCa, path)).transpose()?,
        })
    }

    /// What rustls needs to serve with these files.
    ///
    /// # Errors
    /// A file holds no such thing, or the key is another certificate's.
    pub fn server_config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsFault> {
        let fault = |file: TlsFile, what: String| {
            let path = match file {
                TlsFile::Cert => &self.cert,
                TlsFile::Key => &self.key,
                TlsFile::ClientCa => self.client_ca.as_ref().unwrap_or(&self.cert),
            };
            let problem = format!("{} {what}", path.display());
            TlsFault { file, problem }
        };
        let chain = certificates(&files.cert).ok_or_else(|| fault(TlsFile::Cert, NO_CERTIFICATE.into()))?;
        let key = PrivateKeyDer::from_pem_slice(&files.key)
            .map_err(|_| fault(TlsFile::Key, "holds no private key in PEM that is not encrypted".into()))?;
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match self.min_version {
            TlsVersion::V12 => &[&TLS13, &TLS12],
            TlsVersion::V13 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| fault(TlsFile::Cert, format!("cannot be used: {error}")))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let of_ca = |what: String| fault(TlsFile::ClientCa, what);
                let mut roots = RootCertStore::empty();
                for root in certificates(pem).ok_or_else(|| of_ca(NO_CERTIFICATE.into()))? {
                    roots
                        .add(root)
                        .map_err(|error| of_ca(format!("holds a certificate that cannot be used: {error}")))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match self.client_auth {
                    ClientAuth::Required => verifier,
                    _ => verifier.allow_unauthenticated(),
                };
                let verifier = verifier
                    .build()
                    .map_err(|error| of_ca(format!("cannot be used: {error}")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let cert = self.cert.display();
            fault(TlsFile::Key, format!("is not the key of {cert}: {error}"))
        })?;
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        if files.client_ca.is_some() {
            // A resumed session is not verified again: a certificate that has expired, or whose root is gone, would stay good.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    /// Clients are asked for a certificate.
    pub fn asks_clients(&self) -> bool {
        self.client_auth != ClientAuth::Off
    }
}

impl TlsFiles {
    /// When the server's own certificate expires, as Unix time; `None`: it cannot be told.
    pub fn expires(&self) -> Option<i64> {
        let certificate = X509::from_pem(&self.cert).ok()?;
        let passed = Asn1Time::from_unix(0).ok()?.diff(certificate.not_after()).ok()?;
        Some(i64::from(passed.days) * 24 * 3600 + i64::from(passed.secs))
    }
}

const NO_CERTIFICATE: &str = "holds no certificate in PEM";

/// All certificates of a file; `None`: it holds none, or something broken.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
pub mod test_files;

#[cfg(test)]
mod tests {
    use super::test_files::TestFiles;
    use super::*;

    fn fault(tls: &ServerTls) -> String {
        let config = tls.read().and_then(|files| tls.server_config(&files));
        let fault = config.expect_err("it cannot be used");
        format!("{:?}: {}", fault.file, fault.problem)
    }

    #[test]
    fn files_that_belong_together_are_taken() {
        let files = TestFiles::create();
        for (client_ca, client_auth) in [
            (None, ClientAuth::Off),
            (Some(files.cert.clone()), ClientAuth::Optional),
            (Some(files.cert.clone()), ClientAuth::Required),
        ] {
            let tls = ServerTls {
                client_ca,
                client_auth,
                ..files.tls()
            };
            let read = tls.read().unwrap();
            let config = tls.server_config(&read).unwrap();
            assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
            assert_eq!(config.send_tls13_tickets == 0, tls.asks_clients());
            let lives = read.expires().unwrap() - crate::wire::now_ms() / 1000;
            assert!((0..=TestFiles::DAYS * 86400).contains(&lives), "{lives}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_of_the_file_that_is_wrong() {
        let (files, other) = (TestFiles::create(), TestFiles::create());
        let missing = files.cert.with_extension("none");
        let empty = files.cert.with_extension("empty");
        std::fs::write(&empty, "").unwrap();
        let large = files.cert.with_extension("large");
        std::fs::write(&large, vec![b'x'; MAX_FILE as usize + 1]).unwrap();
        let tls = files.tls();
        let with = |change: &dyn Fn(&mut ServerTls)| {
            let mut changed = tls.clone();
            change(&mut changed);
            fault(&changed)
        };
        let mismatch = with(&|tls| tls.key = other.key.clone());
        assert!(
            mismatch.starts_with("Key: ") && mismatch.contains("is not the key of"),
            "{mismatch}"
        );
        for (said, expected) in [
            (with(&|tls| tls.cert = missing.clone()), "Cert: "),
            (with(&|tls| tls.cert = empty.clone()), "Cert: "),
            (with(&|tls| tls.cert = large.clone()), "Cert: "),
            (with(&|tls| tls.key = missing.clone()), "Key: "),
            (with(&|tls| tls.key = files.cert.clone()), "Key: "),
            (
                with(&|tls| (tls.client_ca, tls.client_auth) = (Some(empty.clone()), ClientAuth::Required)),
                "ClientCa: ",
            ),
        ] {
            assert!(said.starts_with(expected), "{said}");
        }
    }
}
