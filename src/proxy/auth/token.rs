//! What a token (RFC 7519) must be to prove something.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Number, Value};

use crate::error::Unproven;
use crate::proxy::auth::key_set::KeySet;
use crate::proxy::auth::signature;
use crate::settings::{self, Claim};

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 << 10;

/// The claim that a token must have in any case: one that never expires cannot be called back.
const EXPIRES: &str = "exp";

/// The claims of a token that is good.
pub type Claims = Map<String, Value>;

/// What is demanded of tokens.
pub struct TokenRules {
    /// For each algorithm that is allowed.
    allowed: Vec<(Algorithm, Validation)>,
    required: Vec<Claim>,
    principal_claim: String,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// Malformed, signed otherwise, or not for us.
    Bad,
    Expired,
    /// It has no `exp`.
    Endless,
    /// Its `nbf` lies ahead.
    Early,
    /// Nothing else is known to be wrong; new keys may help.
    UnknownSigner,
}

impl From<TokenFault> for Unproven {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Bad => Unproven::BadToken,
            TokenFault::Expired => Unproven::ExpiredToken,
            TokenFault::Endless => Unproven::EndlessToken,
            TokenFault::Early => Unproven::EarlyToken,
            TokenFault::UnknownSigner => Unproven::UnknownSigner,
        }
    }
}

impl TokenRules {
    pub fn new(settings: &settings::Auth) -> Self {
        signature::install();
        let algorithms = algorithms(settings);
        let rules = |algorithm: Algorithm| {
            let mut rules = Validation::new(algorithm);
            rules.leeway = settings.leeway.as_secs();
            rules.validate_nbf = true;
            let mut demanded = vec![EXPIRES];
            rules.validate_aud = !settings.audience.is_empty();
            if rules.validate_aud {
                rules.set_audience(&settings.audience);
                demanded.push("aud");
            }
            if !settings.issuer.is_empty() {
                rules.set_issuer(&settings.issuer);
                demanded.push("iss");
            }
            rules.set_required_spec_claims(&demanded);
            rules
        };
        TokenRules {
            allowed: algorithms.into_iter().map(|one| (one, rules(one))).collect(),
            required: settings.required_claims.clone(),
            principal_claim: settings.principal_claim.clone(),
        }
    }

    /// Checks signature, times, issuer and audience.
    ///
    /// # Errors
    /// The token proves nothing.
    pub fn verify(&self, token: &[u8], keys: &KeySet) -> Result<Claims, TokenFault> {
        if token.len() > MAX_TOKEN {
            return Err(TokenFault::Bad);
        }
        let header = decode_header(token).map_err(|_| TokenFault::Bad)?;
        let rules = self.allowed.iter().find(|(algorithm, _)| *algorithm == header.alg);
        let (algorithm, rules) = rules.ok_or(TokenFault::Bad)?;
        // An extension that must be understood, and is not (RFC 7515 4.1.11).
        if header.crit.is_some() {
            return Err(TokenFault::Bad);
        }
        let mut fault = TokenFault::UnknownSigner;
        for key in keys.candidates(header.kid.as_deref(), *algorithm) {
            match decode::<Claims>(token, key, rules) {
                Ok(token) => return Ok(token.claims),
                Err(error) => match error.kind() {
                    // The next one may be its key.
                    ErrorKind::InvalidSignature if header.kid.is_none() => {}
                    ErrorKind::ExpiredSignature => return Err(TokenFault::Expired),
                    ErrorKind::ImmatureSignature => return Err(TokenFault::Early),
                    ErrorKind::MissingRequiredClaim(name) if name == EXPIRES => return Err(TokenFault::Endless),
                    _ => fault = TokenFault::Bad,
                },
            }
        }
        Err(fault)
    }

    /// The name of the client; `None`: a claim is missing.
    pub fn principal(&self, token: &Claims, of_route: &[Claim]) -> Option<String> {
        let mut required = self.required.iter().chain(of_route);
        let name = token.get(&self.principal_claim)?.as_str()?;
        required.all(|claim| has(token, claim)).then(|| name.to_owned())
    }
}

/// The algorithms that the settings allow.
pub fn algorithms(settings: &settings::Auth) -> Vec<Algorithm> {
    let names = settings.algorithms.iter();
    names.filter_map(|name| name.parse().ok()).collect()
}

/// A value is there if the claim is it, is a list with it, or is words with it (RFC 8693 4.2, `scope`).
fn has(token: &Claims, claim: &Claim) -> bool {
    let Some(found) = token.get(&claim.name).filter(|found| !found.is_null()) else {
        return false;
    };
    let Some(wanted) = &claim.value else {
        return true;
    };
    let is_wanted = |value: &Value| match value {
        Value::String(text) => text == wanted,
        Value::Bool(value) => wanted.parse() == Ok(*value),
        Value::Number(number) => wanted.parse().is_ok_and(|wanted: Number| wanted == *number),
        _ => false,
    };
    match found {
        Value::Array(items) => items.iter().any(is_wanted),
        Value::String(text) => text == wanted || text.split(' ').any(|word| word == wanted),
        other => is_wanted(other),
    }
}
