//! What actix-khp is given beside its defaults, and its clients with it, so that the cost of each can be measured: TLS, tokens, seals.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::base64::encode_block;
use openssl::bn::BigNumRef;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use crate::error::Result;
use crate::options::System;

/// The files of a run's variants; removed when this is dropped.
pub struct Variants {
    dir: PathBuf,
    token: String,
}

impl Variants {
    /// Makes a certificate, a token with the key that it is signed with, and a key for seals.
    pub fn create() -> Result<Self> {
        let dir = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        // From here on, whatever fails, the directory is removed.
        let mut variants = Variants {
            dir,
            token: String::new(),
        };
        certificate(&variants.dir)?;
        variants.token = token(&variants.dir)?;
        for system in [System::KhpTls, System::KhpJwt, System::KhpSealed] {
            fs::write(variants.config(system), variants.settings(system))?;
        }
        Ok(variants)
    }

    /// The configuration file of a variant; `None`: it needs none.
    pub fn config_of(&self, system: System) -> Option<PathBuf> {
        (!self.settings(system).is_empty()).then(|| self.config(system))
    }

    fn config(&self, system: System) -> PathBuf {
        self.dir.join(format!("{}.yaml", system.name()))
    }

    fn settings(&self, system: System) -> String {
        let dir = self.dir.display();
        match system {
            System::KhpTls => format!("tls: {{cert: {dir}/tls.crt, key: {dir}/tls.key}}\n"),
            System::KhpJwt => format!("auth: {{jwks: {dir}/jwks.json, audience: [bench]}}\n"),
            System::KhpSealed => {
                "sealing: {keys: [{id: bench, secret: \"a secret of the benchmark, of 40 bytes\"}]}\n".into()
            }
            _ => String::new(),
        }
    }

    /// What the load is told besides.
    pub fn load_arguments(&self, system: System) -> Vec<String> {
        match system {
            System::KhpTls => vec!["--ca".into(), self.dir.join("tls.crt").display().to_string()],
            System::KhpJwt => vec!["--header".into(), format!("authorization: Bearer {}", self.token)],
            _ => Vec::new(),
        }
    }
}

impl Drop for Variants {
    fn drop(&mut self) {
        // Err: what is left is in a directory for what is temporary.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// One for `localhost`, signed by itself, with a key on P-256.
fn certificate(dir: &Path) -> Result<()> {
    let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "localhost")?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(1)?)?;
    let names = SubjectAlternativeName::new()
        .dns("localhost")
        .build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(&key, MessageDigest::sha256())?;
    fs::write(dir.join("tls.crt"), builder.build().to_pem()?)?;
    fs::write(dir.join("tls.key"), key.private_key_to_pem_pkcs8()?)?;
    Ok(())
}

/// An RS256 token, as most login services issue them, of a day. Writes the JWKS that it is checked with.
fn token(dir: &Path) -> Result<String> {
    let rsa = Rsa::generate(2048)?;
    let number = |number: &BigNumRef| base64url(&number.to_vec());
    let (n, e) = (number(rsa.n()), number(rsa.e()));
    fs::write(
        dir.join("jwks.json"),
        format!(r#"{{"keys":[{{"kty":"RSA","use":"sig","alg":"RS256","kid":"bench","n":"{n}","e":"{e}"}}]}}"#),
    )?;
    let expires = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 24 * 3600;
    let header = r#"{"alg":"RS256","typ":"JWT","kid":"bench"}"#;
    let claims = format!(
        r#"{{"sub":"bench","aud":"bench","iss":"https://login.example","exp":{expires},"scope":"read write"}}"#
    );
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let key = PKey::from_rsa(rsa)?;
    let signature = Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(message.as_bytes())?;
    Ok(format!("{message}.{}", base64url(&signature)))
}

fn base64url(bytes: &[u8]) -> String {
    let text = encode_block(bytes);
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}
