#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use actix_khp_fuzz::key_set::KeySet;
use actix_khp_fuzz::settings::{Auth, AuthMethod};
use actix_khp_fuzz::token::{TokenRules, algorithms};

/// A key of each family. The secret one is `secret-of-the-fuzzer-secret-of-the-fuzzer`, and signed the corpus' good token.
const KEYS: &[u8] = include_bytes!("../jwks.json");
/// What the good token claims.
const GOOD: &str = r#"{"aud":"fuzz","exp":4102444800,"sub":"orders"}"#;

static RULES: LazyLock<(TokenRules, KeySet, Vec<jsonwebtoken::Algorithm>)> = LazyLock::new(|| {
    let settings = Auth {
        audience: vec!["fuzz".into()],
        algorithms: ["RS256", "PS256", "ES256", "EdDSA", "HS256"].map(str::to_owned).to_vec(),
        principal_claim: "sub".into(),
        methods: vec![AuthMethod::Jwt],
        api_keys: Vec::new(),
        api_key_header: String::new(),
        jwks: None,
        jwks_refresh: Duration::ZERO,
        issuer: Vec::new(),
        required_claims: Vec::new(),
        leeway: Duration::ZERO,
        client_subjects: Vec::new(),
        principal_header: None,
        pass_credentials: false,
    };
    let allowed = algorithms(&settings);
    let keys = KeySet::parse(KEYS, &allowed).expect("a JWKS");
    (TokenRules::new(&settings), keys, allowed)
});

// Whatever is sent as a token, it is the good one or proves nothing; whatever a JWKS holds, it is read or refused.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (rules, keys, allowed) = &*RULES;
    if let Ok(claims) = rules.verify(input, keys) {
        assert_eq!(serde_json::to_string(&claims).expect("JSON"), GOOD);
        assert_eq!(rules.principal(&claims, &[]).as_deref(), Some("orders"));
    }
    if let Ok(keys) = KeySet::parse(input, allowed) {
        assert!(!keys.is_empty());
        let _ = rules.verify(input, &keys);
    }
});
