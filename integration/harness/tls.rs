//! Certificates that a test issues, and clients that speak TLS.

use std::path::PathBuf;
use std::sync::Arc;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::certificates::{self, Owner, new_key};
use super::temp_dir::TempDir;

/// Who issues certificates.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
    dir: TempDir,
}

/// The files of a certificate and of its key.
#[derive(Debug, Clone)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// In hexadecimal digits, as `openssl x509 -serial` prints it.
    pub serial: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = new_key();
        let certificate = build(&super::names::unique("CA"), &key, None, 1);
        Authority {
            certificate,
            key,
            dir: TempDir::new(),
        }
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        let pem = self.certificate.to_pem().expect("it can be written");
        self.dir.write("ca.crt", &String::from_utf8(pem).expect("PEM is text"))
    }

    /// A certificate for `localhost` and for the URI `spiffe://test/NAME`.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_for(name, 1)
    }

    /// One that has expired.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_for(name, -1)
    }

    fn issue_for(&self, name: &str, days: i64) -> Identity {
        let key = new_key();
        let certificate = build(name, &key, Some(self), days);
        let write = |ending: &str, pem: Vec<u8>| {
            let file = super::names::unique(name) + ending;
            self.dir.write(&file, &String::from_utf8(pem).expect("PEM is text"))
        };
        let serial = certificate.serial_number().to_bn().expect("a number");
        Identity {
            cert: write(".crt", certificate.to_pem().expect("it can be written")),
            key: write(".key", key.private_key_to_pem_pkcs8().expect("it can be written")),
            serial: serial.to_hex_str().expect("a number").to_string(),
        }
    }

    /// A client that trusts this authority, and offers these protocols. `identity`: what it shows of itself.
    pub fn client(&self, alpn: &[&[u8]], identity: Option<&Identity>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let der = self.certificate.to_der().expect("it can be written");
        roots.add(CertificateDer::from(der)).expect("it is a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                use tokio_rustls::rustls::pki_types::pem::PemObject;
                let chain = vec![CertificateDer::from_pem_file(&identity.cert).expect("a certificate")];
                let key = PrivateKeyDer::from_pem_file(&identity.key).expect("a key");
                builder.with_client_auth_cert(chain, key).expect("they belong together")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

/// Opens a TLS connection to `address`.
pub async fn connect(client: &TlsConnector, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let io = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    client.connect(name, io).await
}

/// See `certificates::build`.
fn build(name: &str, key: &PKey<Private>, issuer: Option<&Authority>, days: i64) -> X509 {
    let owner = Owner {
        organization: Some("Acme, Inc."),
        name,
        host: "localhost",
        uri: Some(&format!("spiffe://test/{name}")),
    };
    let issuer = issuer.map(|issuer| (&issuer.certificate, &issuer.key));
    certificates::build(&owner, key, issuer, days).expect("a certificate can be made")
}
