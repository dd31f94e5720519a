//! The keys that tokens are signed with, read from a JWKS (RFC 7517).

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// The most bytes of a JWKS.
pub const MAX_JWKS: usize = 1 << 20;
/// The most keys that are kept of one. Without a key id, each that fits is tried.
const MAX_KEYS: usize = 100;

/// Keys that can be used.
#[derive(Debug)]
pub struct KeySet(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The one that it is for; `None`: any of its family.
    algorithm: Option<String>,
    key: DecodingKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a JWKS. Keys of other kinds, of other uses, and those that are malformed are passed over.
    ///
    /// # Errors
    /// It is no JWKS, or holds no key that can be used. The text names nothing that it holds.
    pub fn parse(json: &[u8], allowed: &[Algorithm]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(json).map_err(|_| "is no JWKS".to_owned())?;
        let keys = document.keys.into_iter().filter_map(|value| Key::read(value, allowed));
        let keys: Vec<Key> = keys.take(MAX_KEYS).collect();
        match keys.is_empty() {
            true => Err("holds no key that can be used".to_owned()),
            false => Ok(KeySet(keys)),
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that a token may be signed with: those of its key id, or all if it names none.
    pub fn candidates<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let name = format!("{algorithm:?}");
        self.0
            .iter()
            .filter(move |key| id.is_none_or(|id| key.id.as_deref() == Some(id)))
            .filter(move |key| key.key.family() == algorithm.family())
            .filter(move |key| key.algorithm.as_ref().is_none_or(|own| *own == name))
            .map(|key| &key.key)
    }
}

impl Key {
    fn read(value: serde_json::Value, allowed: &[Algorithm]) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let is_for_signatures = !matches!(&jwk.common.public_key_use, Some(kind) if *kind != PublicKeyUse::Signature);
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let is_allowed = allowed.iter().any(|algorithm| algorithm.family() == key.family());
        (is_for_signatures && is_allowed).then(|| Key {
            id: jwk.common.key_id.clone(),
            algorithm: jwk.common.key_algorithm.map(|algorithm| algorithm.to_string()),
            key,
        })
    }
}
