//! Sealed records: for a Kafka that others read or write. What HTTP carries is encrypted (AES-256-GCM); what Kafka's users need to see is in
//! clear and authenticated. `docs/wire-format.md` describes every byte.
//!
//! - [`keys`]: a configured secret, and the keys that are derived from it.
//! - [`letter`]: a dead letter that was sealed, opened or sent back.

pub mod keys;
pub mod letter;

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use openssl::symm::{Cipher, Crypter, Mode, decrypt_aead};

use crate::wire::headers;
use crate::wire::message::{Fields, RawFields, RawRecord, Record};
use crate::wire::sealing::keys::{NONCE, SealingKey};

/// Bytes of the tag, which ends a sealed value.
const TAG: usize = 16;
/// Stands for a null value, where the length of one stands.
const NULL: u32 = u32::MAX;

/// Headers that stay in clear. Each of them that a record has is authenticated, and none is believed of a record that does not open.
const IN_CLEAR: [&str; 17] = [
    headers::KHP_VERSION,
    headers::KAFKA_CORRELATION_ID,
    headers::KAFKA_REPLY_TOPIC,
    headers::KAFKA_REPLY_PARTITION,
    headers::KHP_DEADLINE,
    headers::KHP_TIMEOUT,
    headers::KHP_REDRIVE,
    headers::KHP_ACCEPT,
    headers::KHP_WINDOW,
    headers::KHP_INSTANCE,
    headers::KHP_STREAM,
    headers::KHP_SEQ,
    headers::KHP_MORE,
    headers::KHP_CREDIT,
    headers::KHP_CONTROL,
    headers::TRACEPARENT,
    headers::TRACESTATE,
];

/// Which way a sealed record goes, and the topics that it belongs to. All of it is authenticated: moved elsewhere, a record does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    Request {
        request_topic: &'a str,
    },
    Reply {
        request_topic: &'a str,
        reply_topic: &'a str,
    },
    /// A piece of a request's body. It belongs to one request, and to one place in its body.
    Body {
        bodies_topic: &'a str,
        correlation_id: &'a [u8],
        seq: u64,
    },
    /// An answer that is remembered. It belongs to one key, and to the request that came with it.
    Memory {
        topic: &'a str,
        key: &'a [u8],
        fingerprint: &'a [u8],
    },
    /// A record of the control topic, or a sign of life on a reply topic.
    Control {
        topic: &'a str,
    },
}

/// Why a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the record is not sealed")]
    NotSealed,
    #[error("the record is sealed with a key that is not configured")]
    UnknownKey,
    #[error("the seal is broken: the record was changed, moved, or sealed with another secret")]
    Broken,
}

/// OpenSSL failed, which it does for want of memory only.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the record could not be sealed: {0}")]
pub struct NotSealed(#[from] openssl::error::ErrorStack);

/// The configured keys.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The first seals, and all of them open.
    pub keys: Vec<SealingKey>,
    /// What is not sealed is not believed.
    pub require: bool,
}

/// The keys of now, shared by all who seal and open. Read for each record, written by a reload.
pub type SharedSealing = Arc<ArcSwap<Sealing>>;

/// True if a record is sealed, whatever it is sealed with.
pub fn is_sealed(record: &RawRecord) -> bool {
    record.header(headers::KHP_SEAL_KEY).is_some()
}

impl Sealing {
    /// Seals a record with the first key; without keys it stays as it is. Its reply partition and timeout must not change afterwards.
    ///
    /// # Errors
    /// OpenSSL failed.
    pub fn seal(&self, record: Record, binding: Binding<'_>) -> Result<Record, NotSealed> {
        let Some(key) = self.keys.first() else {
            return Ok(record);
        };
        let (clear, hidden): (Fields, Fields) = record
            .headers
            .into_iter()
            .partition(|(name, _)| is_in_clear(name.as_bytes()));
        let raw = |fields: &Fields| -> RawFields {
            let field = |(name, value): &(Cow<'static, str>, Bytes)| {
                (Bytes::copy_from_slice(name.as_bytes()), Some(value.clone()))
            };
            fields.iter().map(field).collect()
        };
        let sealed = seal(
            key,
            &raw(&clear),
            &raw(&hidden),
            record.key.as_ref(),
            Some(&record.value),
            binding,
        )?;
        let mut headers = clear;
        headers.push((Cow::Borrowed(headers::KHP_SEAL_KEY), key.id.clone().into()));
        headers.push((Cow::Borrowed(headers::KHP_SEAL_NONCE), sealed.nonce));
        Ok(Record {
            key: sealed.key,
            value: sealed.value,
            headers,
        })
    }

    /// The record as it was before it was sealed, less what somebody put beside it. One that is not sealed comes back as it is, unless seals
    /// are required.
    ///
    /// # Errors
    /// Nothing of the record is believed.
    pub fn open<'r>(&self, record: &'r RawRecord, binding: Binding<'_>) -> Result<Cow<'r, RawRecord>, SealError> {
        if !is_sealed(record) {
            return match self.require && !self.keys.is_empty() {
                true => Err(SealError::NotSealed),
                false => Ok(Cow::Borrowed(record)),
            };
        }
        let id = own(record, headers::KHP_SEAL_KEY).ok_or(SealError::Broken)?;
        let mut keys = self.keys.iter().filter(|key| key.id.as_bytes() == id).peekable();
        if keys.peek().is_none() {
            return Err(SealError::UnknownKey);
        }
        // A secret may have been changed under the id that it had.
        let opened = keys.find_map(|key| open(key, record, binding));
        opened.map(Cow::Owned).ok_or(SealError::Broken)
    }
}

struct Sealed {
    nonce: Bytes,
    key: Option<Bytes>,
    value: Bytes,
}

fn seal(
    key: &SealingKey,
    clear: &RawFields,
    hidden: &RawFields,
    record_key: Option<&Bytes>,
    value: Option<&Bytes>,
    binding: Binding<'_>,
) -> Result<Sealed, NotSealed> {
    let nonce: [u8; NONCE] = rand::random();
    // Who reads the topic sees which records have the same key, and no key.
    let outer_key = record_key.map(|record_key| key.of_record_key(record_key)).transpose()?;
    let mut head = Vec::with_capacity(256);
    put(&mut head, record_key.map(|record_key| &record_key[..]));
    head.extend_from_slice(&(hidden.len() as u32).to_be_bytes());
    for (name, value) in hidden {
        put(&mut head, Some(name));
        put(&mut head, value.as_deref());
    }
    put_length(&mut head, value.map(|value| &value[..]));
    let (cipher_key, iv) = key.of_record(&nonce)?;
    let aad = authenticated(key.id.as_bytes(), outer_key.as_deref(), clear.iter(), binding);
    let value = encrypt(&cipher_key, iv, &aad, [&head, value.map_or(&[][..], |value| value)])?;
    Ok(Sealed {
        nonce: Bytes::copy_from_slice(&nonce),
        key: outer_key.map(Bytes::from),
        value: value.into(),
    })
}

/// Encrypts the parts as one text, which ends with its tag. A large part is copied nowhere: this runs on the thread of a router.
fn encrypt(key: &[u8; 32], iv: &[u8], aad: &[u8], parts: [&[u8]; 2]) -> Result<Vec<u8>, NotSealed> {
    let mut crypter = Crypter::new(Cipher::aes_256_gcm(), Mode::Encrypt, key, Some(iv))?;
    crypter.aad_update(aad)?;
    let mut sealed = vec![0; parts.iter().map(|part| part.len()).sum::<usize>() + TAG];
    let mut end = 0;
    for part in parts {
        end += crypter.update(part, &mut sealed[end..])?;
    }
    end += crypter.finalize(&mut sealed[end..])?;
    crypter.get_tag(&mut sealed[end..])?;
    Ok(sealed)
}

/// `None`: it does not open.
fn open(key: &SealingKey, record: &RawRecord, binding: Binding<'_>) -> Option<RawRecord> {
    let nonce: [u8; NONCE] = own(record, headers::KHP_SEAL_NONCE)?[..].try_into().ok()?;
    let (cipher_text, tag) = record.value.as_deref()?.split_last_chunk::<TAG>()?;
    let (cipher_key, iv) = key.of_record(&nonce).ok()?;
    let clear = || record.headers.iter().filter(|(name, _)| is_in_clear(name));
    let aad = authenticated(key.id.as_bytes(), record.key.as_deref(), clear(), binding);
    let plain = decrypt_aead(Cipher::aes_256_gcm(), &cipher_key, Some(iv), &aad, cipher_text, tag).ok()?;
    let mut plain = Bytes::from(plain);
    let record_key = take(&mut plain)?;
    let count = take_number(&mut plain)?;
    let mut opened: RawFields = clear().cloned().collect();
    for _ in 0..count {
        let name = take(&mut plain)??;
        opened.push((name, take(&mut plain)?));
    }
    let value = take(&mut plain)?;
    plain.is_empty().then(|| RawRecord {
        key: record_key,
        value,
        headers: opened,
        ..record.clone()
    })
}

/// A header of the seal itself, in the letter case in which it is written.
fn own<'r>(record: &'r RawRecord, name: &str) -> Option<&'r Bytes> {
    let mut named = record.headers.iter().filter(|(given, _)| given == name);
    named.next_back()?.1.as_ref()
}

fn is_in_clear(name: &[u8]) -> bool {
    IN_CLEAR.iter().any(|clear| name.eq_ignore_ascii_case(clear.as_bytes()))
}

/// Everything that is authenticated in clear, each part with its length, so that none can pass for another.
fn authenticated<'a>(
    key_id: &[u8],
    record_key: Option<&[u8]>,
    clear: impl Iterator<Item = &'a (Bytes, Option<Bytes>)>,
    binding: Binding<'_>,
) -> Vec<u8> {
    let mut aad = Vec::with_capacity(256);
    put(&mut aad, Some(b"khp-sealed 1"));
    match binding {
        Binding::Request { request_topic } => {
            put(&mut aad, Some(b"request"));
            put(&mut aad, Some(request_topic.as_bytes()));
            put(&mut aad, None);
        }
        Binding::Reply {
            request_topic,
            reply_topic,
        } => {
            put(&mut aad, Some(b"reply"));
            put(&mut aad, Some(request_topic.as_bytes()));
            put(&mut aad, Some(reply_topic.as_bytes()));
        }
        Binding::Body {
            bodies_topic,
            correlation_id,
            seq,
        } => {
            put(&mut aad, Some(b"body"));
            put(&mut aad, Some(bodies_topic.as_bytes()));
            put(&mut aad, Some(correlation_id));
            put(&mut aad, Some(&seq.to_be_bytes()));
        }
        Binding::Memory {
            topic,
            key,
            fingerprint,
        } => {
            put(&mut aad, Some(b"memory"));
            put(&mut aad, Some(topic.as_bytes()));
            put(&mut aad, Some(key));
            put(&mut aad, Some(fingerprint));
        }
        Binding::Control { topic } => {
            put(&mut aad, Some(b"control"));
            put(&mut aad, Some(topic.as_bytes()));
            put(&mut aad, None);
        }
    }
    put(&mut aad, Some(key_id));
    put(&mut aad, record_key);
    for (name, value) in clear {
        put(&mut aad, Some(name));
        put(&mut aad, value.as_deref());
    }
    aad
}

/// Four bytes of length, big-endian, and the part; of null the length alone.
fn put(to: &mut Vec<u8>, part: Option<&[u8]>) {
    put_length(to, part);
    to.extend_from_slice(part.unwrap_or_default());
}

fn put_length(to: &mut Vec<u8>, part: Option<&[u8]>) {
    let length = part.map_or(NULL, |part| part.len() as u32);
    to.extend_from_slice(&length.to_be_bytes());
}

/// The outer `None`: there is no whole part.
fn take(from: &mut Bytes) -> Option<Option<Bytes>> {
    match take_number(from)? {
        NULL => Some(None),
        length if length as usize <= from.len() => Some(Some(from.split_to(length as usize))),
        _ => None,
    }
}

fn take_number(from: &mut Bytes) -> Option<u32> {
    let number = from.first_chunk::<4>().copied().map(u32::from_be_bytes)?;
    drop(from.split_to(4));
    Some(number)
}

#[cfg(test)]
mod tests;
