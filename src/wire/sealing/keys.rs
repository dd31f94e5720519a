//! A configured secret, and the keys that are derived from it.

use std::fmt;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

/// Random bytes of each record: the first 16 derive its key, the other 12 are the nonce of AES-GCM. No number of records wears a secret out.
pub const NONCE: usize = 28;
const DERIVES: usize = 16;

const SALT: &[u8] = b"actix-khp";
const FOR_RECORDS: &[u8] = b"khp-sealed 1 records";
const FOR_KEYS: &[u8] = b"khp-sealed 1 keys";

/// One key. Never printed.
#[derive(Clone)]
pub struct SealingKey {
    /// In clear beside each record that it seals.
    pub id: String,
    records: PKey<Private>,
    keys: PKey<Private>,
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl SealingKey {
    /// HKDF-SHA256 (RFC 5869) of the secret, of which each derived key is the first block.
    ///
    /// # Errors
    /// OpenSSL failed.
    pub fn new(id: &str, secret: &str) -> Result<Self, ErrorStack> {
        let extracted = PKey::hmac(&hmac(&PKey::hmac(SALT)?, &[secret.as_bytes()])?)?;
        let expanded = |info: &[u8]| PKey::hmac(&hmac(&extracted, &[info, &[1]])?);
        Ok(SealingKey {
            id: id.to_owned(),
            records: expanded(FOR_RECORDS)?,
            keys: expanded(FOR_KEYS)?,
        })
    }

    /// The cipher's key for one record, and the part of `nonce` that is the cipher's own.
    pub(super) fn of_record<'n>(&self, nonce: &'n [u8; NONCE]) -> Result<([u8; 32], &'n [u8]), ErrorStack> {
        let (derives, iv) = nonce.split_at(DERIVES);
        Ok((hmac(&self.records, &[derives])?, iv))
    }

    /// What stands for the key of a record: the same for the same one, and it tells nothing else.
    pub(super) fn of_record_key(&self, record_key: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        Ok(hmac(&self.keys, &[record_key])?[..DERIVES].to_vec())
    }
}

fn hmac(key: &PKey<Private>, parts: &[&[u8]]) -> Result<[u8; 32], ErrorStack> {
    let mut signer = Signer::new(MessageDigest::sha256(), key)?;
    for part in parts {
        signer.update(part)?;
    }
    let mut code = [0; 32];
    signer.sign(&mut code)?;
    Ok(code)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::hex::hex;

    /// RFC 4231, test case 2.
    #[test]
    fn the_code_is_hmac_sha256() {
        let code = hmac(&PKey::hmac(b"Jefe").unwrap(), &[b"what do ya want ", b"for nothing?"]).unwrap();
        assert_eq!(
            hex(&code),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn keys_differ_by_secret_and_use_and_are_not_printed() {
        let (one, other) = (
            SealingKey::new("a", "one").unwrap(),
            SealingKey::new("a", "other").unwrap(),
        );
        let nonce = [7; NONCE];
        let (key, iv) = one.of_record(&nonce).unwrap();
        assert_eq!(iv, [7; 12]);
        assert_ne!(key, other.of_record(&nonce).unwrap().0);
        assert_ne!(key, one.of_record(&[8; NONCE]).unwrap().0);
        assert_ne!(key[..DERIVES], one.of_record_key(&nonce[..DERIVES]).unwrap()[..]);
        assert_eq!(format!("{one:?}"), "SealingKey(a)");
    }
}
