//! Certificates that a test issues.

use std::path::PathBuf;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use super::names::unique;
use super::temp_dir::TempDir;

/// Who issues certificates.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
    dir: TempDir,
}

/// A certificate, and its key in PKCS #8; both in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub cert: String,
    pub key: String,
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        Self::for_days(1)
    }

    /// One that is good for so many days.
    pub fn for_days(days: i64) -> Self {
        let key = new_key();
        let certificate = build(&of_host("Test CA"), &key, None, days).expect("a certificate can be made");
        Authority {
            certificate,
            key,
            dir: TempDir::new(),
        }
    }

    /// Its certificate, in PEM.
    pub fn pem(&self) -> String {
        text(self.certificate.to_pem())
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.write("ca.pem", &self.pem())
    }

    /// A certificate for this host name, which is its subject's common name as well.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_until(name, 1)
    }

    /// One that has expired.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_until(name, -1)
    }

    /// One that expires after so many days.
    pub fn issue_until(&self, name: &str, days: i64) -> Identity {
        let key = new_key();
        let certificate =
            build(&of_host(name), &key, Some((&self.certificate, &self.key)), days).expect("a certificate can be made");
        let (cert, key) = (text(certificate.to_pem()), text(key.private_key_to_pem_pkcs8()));
        let file = unique(name);
        Identity {
            cert_file: self.dir.write(&format!("{file}.pem"), &cert),
            key_file: self.dir.write(&format!("{file}-key.pem"), &key),
            cert,
            key,
        }
    }
}

fn text(pem: Result<Vec<u8>, ErrorStack>) -> String {
    String::from_utf8(pem.expect("it can be written")).expect("PEM is text")
}

pub fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("OpenSSL knows it");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

/// What a certificate says of its owner.
pub struct Owner<'a> {
    pub organization: Option<&'a str>,
    pub name: &'a str,
    pub host: &'a str,
    pub uri: Option<&'a str>,
}

/// Good from two days ago until `days` from now. `issuer`: its certificate and key; `None`: this one is an authority's own.
pub fn build(
    owner: &Owner<'_>,
    key: &PKey<Private>,
    issuer: Option<(&X509, &PKey<Private>)>,
    days: i64,
) -> Result<X509, ErrorStack> {
    let mut subject = X509NameBuilder::new()?;
    if let Some(organization) = owner.organization {
        subject.append_entry_by_nid(Nid::ORGANIZATIONNAME, organization)?;
    }
    subject.append_entry_by_nid(Nid::COMMONNAME, owner.name)?;
    let subject = subject.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let serial = BigNum::from_u32(rand::random::<u32>() | 1 << 30)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&subject)?;
    builder.set_pubkey(key)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_secs() as i64;
    builder.set_not_before(Asn1Time::from_unix(now - 2 * 86_400)?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(now + days * 86_400)?.as_ref())?;
    match issuer {
        None => {
            builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
            builder.set_issuer_name(&subject)?;
            builder.sign(key, MessageDigest::sha256())?;
        }
        Some((certificate, issuers_key)) => {
            let mut names = SubjectAlternativeName::new();
            names.dns(owner.host);
            if let Some(uri) = owner.uri {
                names.uri(uri);
            }
            let names = names.build(&builder.x509v3_context(Some(certificate), None))?;
            builder.append_extension(names)?;
            builder.set_issuer_name(certificate.subject_name())?;
            builder.sign(issuers_key, MessageDigest::sha256())?;
        }
    }
    Ok(builder.build())
}

/// A host's own.
fn of_host(name: &str) -> Owner<'_> {
    Owner {
        organization: None,
        name,
        host: name,
        uri: None,
    }
}
