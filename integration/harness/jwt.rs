//! An issuer of tokens.

use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

/// Signs tokens with a P-256 key of its own.
pub struct Issuer {
    id: String,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    /// `id`: the key's.
    pub fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
        Issuer {
            id: id.to_owned(),
            key,
            random,
        }
    }

    /// A JWKS with its key.
    pub fn jwks(&self) -> String {
        let point = self.key.public_key().as_ref();
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
        let key = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": x, "y": y});
        json!({ "keys": [key] }).to_string()
    }

    /// A token of `orders` for `shop` that expires in a minute, with these claims over its own.
    pub fn token(&self, over: &Value) -> String {
        let now = UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
        let mut claims = json!({"sub": "orders", "iss": "https://login", "aud": "shop", "exp": now + 60});
        for (name, value) in over.as_object().expect("a mapping") {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.id});
        let message = [header, claims].map(|part| BASE64.encode(part.to_string())).join(".");
        let signature = self.key.sign(&self.random, message.as_bytes()).expect("a signature");
        format!("{message}.{}", BASE64.encode(signature))
    }

    /// The same, as the value of `Authorization`.
    pub fn bearer(&self, over: &Value) -> String {
        format!("Bearer {}", self.token(over))
    }
}
