//! Who may ask, from the merged tree.

use crate::settings::keys::{route, top};
use crate::settings::model::{Auth, AuthMethod, Claim};
use crate::settings::parse::{auth, name, value};
use crate::settings::read::reader::Reader;

/// Signatures that need no shared secret.
const ASYMMETRIC: &str = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA";

/// The proxy's own. Without a word about methods, those that are configured.
pub fn auth(reader: &mut Reader<'_>) -> Auth {
    let api_keys = reader.list(&top::AUTH_API_KEYS, "", auth::api_key);
    let jwks = reader.optional(&top::AUTH_JWKS, auth::jwks);
    let client_subjects = reader.list(&top::AUTH_CLIENT_SUBJECTS, "", name::glob);
    let configured = [
        (!api_keys.is_empty()).then_some(AuthMethod::ApiKey),
        jwks.is_some().then_some(AuthMethod::Jwt),
        (!client_subjects.is_empty()).then_some(AuthMethod::ClientCertificate),
    ];
    let configured: Vec<AuthMethod> = configured.into_iter().flatten().collect();
    let default = match &configured[..] {
        [] => joined(&[AuthMethod::None]),
        some => joined(some),
    };
    Auth {
        methods: reader.list(&top::AUTH_METHODS, &default, auth::method),
        api_keys,
        api_key_header: reader.required(&top::AUTH_API_KEY_HEADER, auth::header),
        jwks,
        jwks_refresh: reader.required(&top::AUTH_JWKS_REFRESH, value::positive_duration),
        issuer: reader.list(&top::AUTH_ISSUER, "", value::text),
        audience: reader.list(&top::AUTH_AUDIENCE, "", value::text),
        required_claims: reader.list(&top::AUTH_REQUIRED_CLAIMS, "", auth::claim),
        algorithms: reader.list(&top::AUTH_ALGORITHMS, ASYMMETRIC, auth::algorithm),
        leeway: reader.required(&top::AUTH_LEEWAY, value::duration),
        principal_claim: reader.required(&top::AUTH_PRINCIPAL_CLAIM, value::text),
        client_subjects,
        principal_header: reader.optional(&top::AUTH_PRINCIPAL_HEADER, auth::header),
        pass_credentials: reader.required(&top::AUTH_PASS_CREDENTIALS, value::flag),
    }
}

/// A route's methods and claims; `default`: the proxy's own methods.
pub fn of_route(item: &mut Reader<'_>, default: &[AuthMethod]) -> (Vec<AuthMethod>, Vec<Claim>) {
    (
        item.list(&route::AUTH, &joined(default), auth::method),
        item.list(&route::REQUIRED_CLAIMS, "", auth::claim),
    )
}

/// As a list is written in the environment.
fn joined(methods: &[AuthMethod]) -> String {
    let names: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    names.join(", ")
}
