//! What proves who asks, and what does not.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::Algorithm;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::Signer;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::Caller;
use super::key_set::KeySet;
use super::token::{TokenFault, TokenRules, algorithms};
use crate::settings::{self, Claim, Mode, load};

/// An issuer with a P-256 key.
struct Issuer {
    id: &'static str,
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Issuer { id, key, random }
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": x, "y": y})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.key.sign(&self.random, message.as_bytes()).unwrap();
        format!("{message}.{}", BASE64.encode(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": self.id}), claims)
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Seconds from now, as Unix time.
fn in_seconds(seconds: i64) -> i64 {
    crate::wire::now_ms() / 1000 + seconds
}

/// Claims of a good token, with others over them.
fn claims(over: &Value) -> Value {
    let mut claims = json!({"sub": "orders", "iss": "https://login", "aud": "shop", "exp": in_seconds(60)});
    for (name, value) in over.as_object().unwrap() {
        match value.is_null() {
            true => drop(claims.as_object_mut().unwrap().remove(name)),
            false => claims[name] = value.clone(),
        }
    }
    claims
}

/// The settings of `auth`, over good ones.
fn auth(yaml: &str) -> settings::Auth {
    let file = std::env::temp_dir().join(format!("khp-auth-{:x}.yaml", rand::random::<u64>()));
    let text = format!("auth: {{jwks: 'https://login/jwks', issuer: 'https://login', audience: [shop, other]{yaml}}}");
    std::fs::write(&file, text).unwrap();
    let loaded = load(Mode::Proxy, std::slice::from_ref(&file), &Default::default());
    std::fs::remove_file(&file).unwrap();
    loaded.unwrap_or_else(|error| panic!("{error}")).settings.proxy.auth
}

fn key_set(keys: &[Value], auth: &settings::Auth) -> Result<KeySet, String> {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), &algorithms(auth))
}

fn verified(rules: &TokenRules, token: &str, keys: &KeySet) -> Result<Value, TokenFault> {
    rules.verify(token.as_bytes(), keys).map(Value::from)
}

#[test]
fn a_token_proves_its_claims_if_everything_about_it_is_right() {
    let settings = auth("");
    let (issuer, stranger) = (Issuer::new("one"), Issuer::new("one"));
    let keys = key_set(&[issuer.jwk()], &settings).unwrap();
    let rules = TokenRules::new(&settings);
    let good = claims(&json!({}));
    assert_eq!(verified(&rules, &issuer.token(&good), &keys), Ok(good.clone()));
    let list = claims(&json!({"aud": ["else", "other"]}));
    assert_eq!(verified(&rules, &issuer.token(&list), &keys), Ok(list));
    let without_id = issuer.sign(&json!({"alg": "ES256"}), &good);
    assert_eq!(verified(&rules, &without_id, &keys), Ok(good.clone()));

    let bad = TokenFault::Bad;
    for (over, fault) in [
        (json!({"exp": in_seconds(-31)}), TokenFault::Expired),
        (json!({"exp": null}), TokenFault::Endless),
        (json!({"exp": "soon"}), TokenFault::Endless),
        (json!({"nbf": in_seconds(60)}), TokenFault::Early),
        (json!({"nbf": "never"}), bad),
        (json!({"iss": "https://other"}), bad),
        (json!({"iss": null}), bad),
        (json!({"aud": "else"}), bad),
        (json!({"aud": null}), bad),
    ] {
        let found = verified(&rules, &issuer.token(&claims(&over)), &keys);
        assert_eq!(found, Err(fault), "{over}");
    }
    let within_leeway = claims(&json!({"exp": in_seconds(-20)}));
    assert!(verified(&rules, &issuer.token(&within_leeway), &keys).is_ok());
    let header = |more: Value| {
        let mut header = json!({"alg": "ES256", "kid": "one"});
        header
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        header
    };
    for (token, fault) in [
        (stranger.token(&good), bad),
        (
            issuer.sign(&header(json!({"kid": "two"})), &good),
            TokenFault::UnknownSigner,
        ),
        (issuer.sign(&header(json!({"alg": "none"})), &good), bad),
        (issuer.sign(&header(json!({"alg": "HS256"})), &good), bad),
        (issuer.sign(&header(json!({"crit": ["exp"]})), &good), bad),
        (format!("{}.", message(&json!({"alg": "none"}), &good)), bad),
        (String::new(), bad),
        ("a.b.c".to_owned(), bad),
        ("x".repeat(20_000), bad),
    ] {
        assert_eq!(verified(&rules, &token, &keys), Err(fault), "{token}");
    }
}

#[test]
fn rsa_keys_are_known_and_short_ones_prove_nothing() {
    let settings = auth("");
    let rules = TokenRules::new(&settings);
    for (bits, is_good) in [(2048, true), (1024, false)] {
        let rsa = Rsa::generate(bits).unwrap();
        let (n, e) = (BASE64.encode(rsa.n().to_vec()), BASE64.encode(rsa.e().to_vec()));
        let jwk = json!({"kty": "RSA", "kid": "r", "n": n, "e": e});
        let keys = key_set(&[jwk], &settings).unwrap();
        let key = PKey::from_rsa(rsa).unwrap();
        for (algorithm, padding) in [("RS256", Padding::PKCS1), ("PS256", Padding::PKCS1_PSS)] {
            let token = rsa_token(&key, algorithm, padding);
            assert_eq!(verified(&rules, &token, &keys).is_ok(), is_good, "{bits} {algorithm}");
        }
    }
}

fn rsa_token(key: &PKey<Private>, algorithm: &str, padding: Padding) -> String {
    let message = message(&json!({"alg": algorithm, "kid": "r"}), &claims(&json!({})));
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    signer.set_rsa_padding(padding).unwrap();
    if padding == Padding::PKCS1_PSS {
        signer
            .set_rsa_pss_saltlen(openssl::sign::RsaPssSaltlen::DIGEST_LENGTH)
            .unwrap();
    }
    signer.update(message.as_bytes()).unwrap();
    format!("{message}.{}", BASE64.encode(signer.sign_to_vec().unwrap()))
}

#[test]
fn shared_secrets_count_only_where_they_are_allowed() {
    let secret = b"0123456789abcdef0123456789abcdef";
    let jwk = json!({"kty": "oct", "kid": "s", "k": BASE64.encode(secret)});
    let message = message(&json!({"alg": "HS256", "kid": "s"}), &claims(&json!({})));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let token = format!(
        "{message}.{}",
        BASE64.encode(ring::hmac::sign(&key, message.as_bytes()))
    );
    let by_default = auth("");
    assert!(key_set(std::slice::from_ref(&jwk), &by_default).is_err());
    let allowed = auth(", algorithms: [HS256]");
    let keys = key_set(&[jwk], &allowed).unwrap();
    assert!(verified(&TokenRules::new(&allowed), &token, &keys).is_ok());
    assert!(verified(&TokenRules::new(&by_default), &token, &keys).is_err());
}

#[test]
fn keys_of_other_kinds_are_passed_over() {
    let settings = auth("");
    let issuer = Issuer::new("one");
    let for_encryption = {
        let mut jwk = issuer.jwk();
        jwk["use"] = json!("enc");
        jwk
    };
    let of_another = {
        let mut jwk = issuer.jwk();
        jwk["alg"] = json!("ES384");
        jwk
    };
    let unknown = json!({"kty": "XYZ", "kid": "one"});
    let keys = key_set(
        &[unknown.clone(), json!(7), for_encryption.clone(), issuer.jwk()],
        &settings,
    )
    .unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        key_set(&[of_another], &settings)
            .unwrap()
            .candidates(None, Algorithm::ES256)
            .count(),
        0
    );
    assert!(key_set(&[unknown, for_encryption], &settings).is_err());
    for text in ["", "[]", "{}", r#"{"keys": 1}"#, "\u{7}"] {
        assert!(
            KeySet::parse(text.as_bytes(), &algorithms(&settings)).is_err(),
            "{text}"
        );
    }
}

#[test]
fn what_a_route_demands_must_be_claimed() {
    let rules = TokenRules::new(&auth(", required_claims: [tenant]"));
    let claim = |name: &str, value: Option<&str>| Claim {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let of = |over: &Value, demanded: &[Claim]| {
        let token = claims(over).as_object().unwrap().clone();
        rules.principal(&token, demanded)
    };
    assert_eq!(of(&json!({}), &[]), None, "what all tokens must claim");
    assert_eq!(of(&json!({"tenant": 1, "sub": null}), &[]), None);
    assert_eq!(of(&json!({"tenant": 1, "sub": 7}), &[]), None);
    assert_eq!(of(&json!({"tenant": 1}), &[]).as_deref(), Some("orders"));
    let read = [claim("scope", Some("orders.read"))];
    for (scope, is_there) in [
        (json!("orders.read"), true),
        (json!("a orders.read b"), true),
        (json!(["a", "orders.read"]), true),
        (json!("orders.reader"), false),
        (json!(["a orders.read"]), false),
        (json!({"orders.read": true}), false),
        (json!(null), false),
    ] {
        let found = of(&json!({"tenant": 1, "scope": scope}), &read).is_some();
        assert_eq!(found, is_there, "{scope}");
    }
    assert!(of(&json!({"tenant": 1, "admin": true}), &[claim("admin", Some("true"))]).is_some());
}

proptest! {
    /// Whatever is sent as a token ends in a fault.
    #[test]
    fn nothing_made_up_proves_anything(token in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[A-Za-z0-9_-]{0,60}[.][A-Za-z0-9_-]{0,60}[.][A-Za-z0-9_-]{0,60}".prop_map(String::into_bytes),
    ]) {
        let settings = auth("");
        let keys = key_set(&[Issuer::new("one").jwk()], &settings).unwrap();
        prop_assert!(TokenRules::new(&settings).verify(&token, &keys).is_err());
    }

    /// One byte of a good token that is another one.
    #[test]
    fn a_changed_token_proves_nothing(at in any::<prop::sample::Index>(), other in any::<u8>()) {
        let settings = auth("");
        let issuer = Issuer::new("one");
        let keys = key_set(&[issuer.jwk()], &settings).unwrap();
        let mut token = issuer.token(&claims(&json!({}))).into_bytes();
        let place = at.index(token.len());
        prop_assume!(token[place] != other);
        token[place] = other;
        prop_assert!(TokenRules::new(&settings).verify(&token, &keys).is_err());
    }

    /// A JWKS that is no JWKS is refused, whatever it is.
    #[test]
    fn any_bytes_are_read_as_a_jwks(json in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = KeySet::parse(&json, &algorithms(&auth("")));
    }
}

#[test]
fn nobody_names_itself_however_the_header_is_spelt() {
    let mut request = crate::wire::Request::default();
    for name in ["x-principal", "X-Principal", "x_principal", "x-principals"] {
        request.headers.push((name.into(), bytes::Bytes::from_static(b"root")));
    }
    let caller = Caller {
        principal: Some("alice".into()),
        dropped: vec!["x-principal".into()],
        principal_header: Some("x-principal".into()),
        ..Caller::default()
    };
    caller.mark(&mut request);
    let fields: Vec<(&str, &[u8])> = request
        .headers
        .iter()
        .map(|(name, value)| (&**name, &value[..]))
        .collect();
    assert_eq!(fields, [("x-principals", &b"root"[..]), ("x-principal", b"alice")]);
}
