//! Who may ask, and what proves it.

use std::path::PathBuf;
use std::time::Duration;

/// What proves who asks. Any one of the methods of a route is enough.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// Those of routes that name none themselves. Never empty.
    pub methods: Vec<AuthMethod>,
    pub api_keys: Vec<ApiKey>,
    /// The header that a key is sent in, in lower case.
    pub api_key_header: String,
    /// Where the keys of tokens come from.
    pub jwks: Option<JwksSource>,
    /// How often they are fetched.
    pub jwks_refresh: Duration,
    /// Who may have issued a token; empty = anybody whose key is known.
    pub issuer: Vec<String>,
    /// Whom a token must be meant for, one of them; empty = anybody.
    pub audience: Vec<String>,
    /// What the tokens of every route must claim.
    pub required_claims: Vec<Claim>,
    /// How tokens may be signed: names of RFC 7518.
    pub algorithms: Vec<String>,
    /// How far the clocks of issuer and proxy may disagree.
    pub leeway: Duration,
    /// The claim that names the client.
    pub principal_claim: String,
    /// Globs of the subjects of client certificates that may ask.
    pub client_subjects: Vec<String>,
    /// The header in which the backend gets the proven name, in lower case.
    pub principal_header: Option<String>,
    /// Keys and tokens that were checked here go on to the backend.
    pub pass_credentials: bool,
}

/// One way to prove who asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthMethod {
    /// Nobody is asked. Stands alone.
    #[default]
    None,
    ApiKey,
    Jwt,
    ClientCertificate,
}

impl AuthMethod {
    /// Its name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthMethod::None => "none",
            AuthMethod::ApiKey => "api-key",
            AuthMethod::Jwt => "jwt",
            AuthMethod::ClientCertificate => "client-certificate",
        }
    }
}

/// A key that may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKey {
    /// Who has it; several keys may have one name.
    pub name: String,
    /// SHA-256 of the key.
    pub sha256: [u8; 32],
}

/// Where the keys of tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    File(PathBuf),
    /// `http://` or `https://`.
    Url(String),
}

/// What a token must claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claim {
    pub name: String,
    /// `None`: any value.
    pub value: Option<String>,
}
