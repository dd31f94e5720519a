//! Certificates that a test issues, and clients that speak TLS.

use std::path::PathBuf;
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

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

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("OpenSSL knows it");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

/// Good from two days ago until `days` from now.
fn build(name: &str, key: &PKey<Private>, issuer: Option<&Authority>, days: i64) -> X509 {
    try_build(name, key, issuer, days).expect("a certificate can be made")
}

fn try_build(
    name: &str,
    key: &PKey<Private>,
    issuer: Option<&Authority>,
    days: i64,
) -> Result<X509, openssl::error::ErrorStack> {
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::ORGANIZATIONNAME, "Acme, Inc.")?;
    subject.append_entry_by_nid(Nid::COMMONNAME, name)?;
    let subject = subject.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let serial = BigNum::from_u32(rand::random::<u32>() | 1 << 30)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_secs() as i64;
    builder.set_not_before(Asn1Time::from_unix(now - 2 * 86400)?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(now + days * 86400)?.as_ref())?;
    match issuer {
        None => {
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            builder.set_issuer_name(&subject)?;
            builder.sign(key, MessageDigest::sha256())?;
        }
        Some(issuer) => {
            let names = SubjectAlternativeName::new()
                .dns("localhost")
                .uri(&format!("spiffe://test/{name}"))
                .build(&builder.x509v3_context(Some(&issuer.certificate), None))?;
            builder.append_extension(names)?;
            builder.set_issuer_name(issuer.certificate.subject_name())?;
            builder.sign(&issuer.key, MessageDigest::sha256())?;
        }
    }
    Ok(builder.build())
}
