//! An OpenID Connect provider: its token endpoint, and the keys that brokers check its tokens with.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::backend::{Answer, Backend, Received};
use super::temp_dir::TempDir;

/// How long its tokens live. librdkafka looks once a second whether 80 % of that have passed, and logs in again after 90 %.
pub const LIFE_SECONDS: u64 = 15;

/// Gives tokens to one client.
pub struct TokenProvider {
    endpoint: Backend,
    keys: String,
    dir: TempDir,
}

impl TokenProvider {
    /// The client's name is its tokens' subject.
    pub async fn start(client_id: &str, secret: &str) -> Self {
        let rsa = Rsa::generate(2048).expect("a key");
        let number = |number: &openssl::bn::BigNumRef| URL_SAFE_NO_PAD.encode(number.to_vec());
        let key =
            json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": number(rsa.n()), "e": number(rsa.e())});
        let keys = json!({ "keys": [key] }).to_string();
        let key = Arc::new(PKey::from_rsa(rsa).expect("a key"));
        let (basic, subject) = (
            format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}"))),
            client_id.to_owned(),
        );
        let endpoint = Backend::start(move |request: &Received| answer(request, &basic, &subject, &key)).await;
        let dir = TempDir::new();
        dir.write("keys.json", &keys);
        TokenProvider { endpoint, keys, dir }
    }

    /// The URL of its token endpoint.
    pub fn url(&self) -> String {
        format!("{}/token", self.endpoint.url())
    }

    /// The file of its public keys, for brokers.
    pub fn keys_file(&self) -> String {
        self.dir.write("keys.json", &self.keys).display().to_string()
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.endpoint.received().len()
    }
}

fn answer(request: &Received, basic: &str, subject: &str, key: &PKey<Private>) -> Answer {
    let is_sound = request.method == "POST"
        && request.target == "/token"
        && request.text() == "grant_type=client_credentials&scope=kafka"
        && request.header("content-type").as_deref() == Some("application/x-www-form-urlencoded");
    if !is_sound {
        return Answer::status(400);
    }
    if request.header("authorization").as_deref() != Some(basic) {
        let refusal = json!({"error": "invalid_client", "error_description": "no such client, or a wrong secret"});
        return Answer::Respond {
            status: 401,
            headers: Vec::new(),
            body: refusal.to_string().into(),
        };
    }
    let answer = json!({"access_token": token(subject, key), "token_type": "Bearer", "expires_in": LIFE_SECONDS});
    Answer::body(answer.to_string()).header("Content-Type", "application/json")
}

fn token(subject: &str, key: &PKey<Private>) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_secs();
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"sub": subject, "iat": now, "exp": now + LIFE_SECONDS, "scope": "kafka"});
    let text = format!(
        "{}.{}",
        part(json!({"alg": "RS256", "typ": "JWT", "kid": "1"})),
        part(claims)
    );
    let mut signer = Signer::new(MessageDigest::sha256(), key).expect("a signer");
    let signature = signer.sign_oneshot_to_vec(text.as_bytes()).expect("a signature");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
