//! A certificate and its key, in files that end with their test.

use std::path::PathBuf;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use super::{ClientAuth, ServerTls, TlsVersion};

/// A self-signed certificate of its own.
pub struct TestFiles {
    dir: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl TestFiles {
    /// How long it is good.
    pub const DAYS: i64 = 30;

    /// Makes and writes them.
    pub fn create() -> Self {
        let dir = std::env::temp_dir().join(format!("khp-tls-{:x}", rand::random::<u64>()));
        std::fs::create_dir_all(&dir).unwrap();
        let (certificate, key) = certificate("localhost");
        let (cert_file, key_file) = (dir.join("tls.crt"), dir.join("tls.key"));
        std::fs::write(&cert_file, certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&key_file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        TestFiles {
            dir,
            cert: cert_file,
            key: key_file,
        }
    }

    /// TLS with these files.
    pub fn tls(&self) -> ServerTls {
        ServerTls {
            cert: self.cert.clone(),
            key: self.key.clone(),
            client_ca: None,
            client_auth: ClientAuth::Off,
            min_version: TlsVersion::V12,
        }
    }
}

impl Drop for TestFiles {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A self-signed certificate of a common name.
pub fn certificate(name: &str) -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(TestFiles::DAYS as u32).unwrap())
        .unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}
