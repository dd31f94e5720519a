//! Who asks, and what proves it. Asked once the route is known, and before anything else is done for the request.
//!
//! - [`api_keys`]: keys that the configuration knows.
//! - [`token`]: what a token must be to prove something.
//! - [`key_set`]: the keys that tokens are signed with.
//! - [`jwks`]: where they come from, again and again.
//! - [`fetch`]: over HTTP.
//! - [`signature`]: whether a token is signed with such a key.
//! - [`challenge`]: what a client that proves nothing is told.

pub mod api_keys;
pub mod challenge;
pub mod fetch;
pub mod jwks;
pub mod key_set;
pub mod signature;
pub mod token;

use actix_web::HttpRequest;
use actix_web::http::header;
use bytes::Bytes;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{RequestError, Unproven};
use crate::proxy::auth::api_keys::ApiKeys;
use crate::proxy::auth::jwks::Jwks;
use crate::proxy::auth::token::{TokenFault, TokenRules};
use crate::proxy::connection::peer::Peer;
use crate::settings::{self, AuthMethod, Claim};
use crate::wire::{self, headers};

/// The longest name of a client, in bytes.
const MAX_PRINCIPAL: usize = 512;

/// Everything that a proof is checked with.
pub struct Auth {
    api_keys: ApiKeys,
    api_key_header: String,
    /// `None`: tokens prove nothing.
    tokens: Option<Tokens>,
    /// Empty: any subject may ask.
    client_subjects: GlobSet,
    principal_header: Option<String>,
    pass_credentials: bool,
}

struct Tokens {
    rules: TokenRules,
    keys: Jwks,
}

/// What a route demands.
#[derive(PartialEq, Eq)]
pub struct Demands {
    methods: Vec<AuthMethod>,
    /// Of its tokens, besides those of all.
    claims: Vec<Claim>,
}

impl Demands {
    pub fn new(methods: &[AuthMethod], claims: &[Claim]) -> Self {
        Demands {
            methods: methods.to_vec(),
            claims: claims.to_vec(),
        }
    }

    fn take(&self, method: AuthMethod) -> bool {
        self.methods.contains(&method)
    }
}

/// Who asks, and what of its request does not go on.
#[derive(Debug, Default)]
pub struct Caller {
    /// The proven name; `None`: nobody was asked.
    pub principal: Option<String>,
    /// In lower case.
    dropped: Vec<String>,
    /// `Authorization` does not go on, if it holds a token.
    drops_token: bool,
    /// The header that names the principal to the backend.
    principal_header: Option<String>,
}

impl Caller {
    /// Says in a request who sends it, and takes out what is not for the backend.
    pub fn mark(&self, request: &mut wire::Request) {
        if !self.dropped.is_empty() || self.drops_token {
            request.headers.retain(|(name, value)| !self.hides(name, value));
        }
        if let (Some(name), Some(principal)) = (&self.principal_header, &self.principal) {
            let value = Bytes::copy_from_slice(principal.as_bytes());
            request.headers.push((name.clone().into(), value));
        }
        request.principal.clone_from(&self.principal);
    }

    fn hides(&self, name: &str, value: &[u8]) -> bool {
        let is_token = || self.drops_token && name == "authorization" && bearer(value).is_some();
        let passes = |dropped: &String| headers::passes_for(name.as_bytes(), dropped);
        self.dropped.iter().any(passes) || is_token()
    }
}

impl Auth {
    /// Tokens can be checked once `keys` are there; `None`: they are not configured.
    pub fn new(settings: &settings::Auth, keys: Option<Jwks>) -> Self {
        let mut subjects = GlobSetBuilder::new();
        for glob in &settings.client_subjects {
            // A backslash is part of a subject. Err: the settings let none through.
            if let Ok(glob) = GlobBuilder::new(glob).backslash_escape(false).build() {
                subjects.add(glob);
            }
        }
        Auth {
            api_keys: ApiKeys::new(&settings.api_keys),
            api_key_header: settings.api_key_header.clone(),
            tokens: keys.map(|keys| Tokens {
                rules: TokenRules::new(settings),
                keys,
            }),
            client_subjects: subjects.build().unwrap_or_default(),
            principal_header: settings.principal_header.clone(),
            pass_credentials: settings.pass_credentials,
        }
    }

    /// Where the keys of tokens come from; `None`: they prove nothing.
    pub fn keys(&self) -> Option<&Jwks> {
        self.tokens.as_ref().map(|tokens| &tokens.keys)
    }

    /// Who sends a request. Any one proof is enough.
    ///
    /// # Errors
    /// `Unauthenticated`: nothing proves it. `Forbidden`: it is known, and may not ask. `KeysUnavailable`: tokens cannot be checked yet.
    pub async fn check(&self, request: &HttpRequest, demands: &Demands) -> Result<Caller, RequestError> {
        let mut caller = Caller {
            dropped: self.principal_header.clone().into_iter().collect(),
            principal_header: self.principal_header.clone(),
            ..Caller::default()
        };
        if demands.take(AuthMethod::None) {
            return Ok(caller);
        }
        if !self.pass_credentials {
            if demands.take(AuthMethod::ApiKey) {
                caller.dropped.push(self.api_key_header.clone());
            }
            caller.drops_token = demands.take(AuthMethod::Jwt);
        }
        caller.principal = Some(self.principal(request, demands).await?);
        Ok(caller)
    }

    async fn principal(&self, request: &HttpRequest, demands: &Demands) -> Result<String, RequestError> {
        let mut refused = None;
        if demands.take(AuthMethod::ClientCertificate) {
            match self.by_certificate(request) {
                Some(Ok(subject)) => return Ok(subject),
                Some(Err(error)) => refused = Some(error),
                None => {}
            }
        }
        if demands.take(AuthMethod::ApiKey) {
            match self.by_api_key(request) {
                Some(Ok(name)) => return Ok(name),
                Some(Err(error)) => refused = refused.or(Some(error)),
                None => {}
            }
        }
        if demands.take(AuthMethod::Jwt) {
            match self.by_token(request, demands).await {
                Some(Ok(name)) => return Ok(name),
                Some(Err(error)) => refused = refused.or(Some(error)),
                None => {}
            }
        }
        Err(refused.unwrap_or(RequestError::Unauthenticated(Unproven::NoCredentials)))
    }

    /// `None`: there is no certificate.
    fn by_certificate(&self, request: &HttpRequest) -> Option<Result<String, RequestError>> {
        let peer = Peer::of(request)?;
        let subject = &peer.certificate.as_ref()?.subject;
        let may_ask = self.client_subjects.is_empty() || self.client_subjects.is_match(subject);
        let sound = may_ask && is_sound(subject);
        Some(sound.then(|| subject.clone()).ok_or(RequestError::Forbidden))
    }

    /// `None`: there is no key.
    fn by_api_key(&self, request: &HttpRequest) -> Option<Result<String, RequestError>> {
        let mut sent = request.headers().get_all(&*self.api_key_header);
        let key = sent.next()?;
        // Two keys would be two clients.
        let known = sent.next().is_none().then(|| self.api_keys.owner(key.as_bytes()));
        let unknown = RequestError::Unauthenticated(Unproven::UnknownKey);
        Some(known.flatten().ok_or(unknown))
    }

    /// `None`: there is no token.
    async fn by_token(&self, request: &HttpRequest, demands: &Demands) -> Option<Result<String, RequestError>> {
        let mut sent = request.headers().get_all(header::AUTHORIZATION);
        let value = sent.next()?;
        let token = bearer(value.as_bytes())?;
        if sent.next().is_some() {
            return Some(Err(RequestError::Unauthenticated(Unproven::BadToken)));
        }
        let tokens = self.tokens.as_ref()?;
        Some(tokens.principal(token, &demands.claims).await)
    }
}

impl Tokens {
    async fn principal(&self, token: &[u8], claims: &[Claim]) -> Result<String, RequestError> {
        let keys = self.keys.current().ok_or(RequestError::KeysUnavailable)?;
        let mut verified = self.rules.verify(token, &keys);
        if verified.as_ref().err() == Some(&TokenFault::UnknownSigner) && self.keys.refreshed().await {
            let keys = self.keys.current().ok_or(RequestError::KeysUnavailable)?;
            verified = self.rules.verify(token, &keys);
        }
        let token = verified.map_err(|fault| RequestError::Unauthenticated(fault.into()))?;
        let name = self.rules.principal(&token, claims).ok_or(RequestError::Forbidden)?;
        is_sound(&name)
            .then_some(name)
            .ok_or(RequestError::Unauthenticated(Unproven::BadToken))
    }
}

/// A name that a header can carry as it is.
fn is_sound(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_PRINCIPAL && name.trim() == name && headers::value_is_legal(name.as_bytes())
}

/// The token of an `Authorization` (RFC 6750 2.1); `None`: it is of another scheme.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let scheme = value.get(..SCHEME.len())?;
    scheme
        .eq_ignore_ascii_case(SCHEME)
        .then(|| value[SCHEME.len()..].trim_ascii())
}

#[cfg(test)]
mod tests;
