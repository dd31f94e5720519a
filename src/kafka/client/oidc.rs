//! The token endpoint of an OpenID Connect provider, asked with the client's own credentials (RFC 6749 4.4). librdkafka can do this with
//! libcurl alone, which a build would need then; so its properties for it are taken here, under their own names.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use crate::process::causes::causes;
use crate::process::https::{self, Tls};
use crate::wire::now_ms;

const METHOD: &str = "sasl.oauthbearer.method";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const SCOPE: &str = "sasl.oauthbearer.scope";
const CA: &str = "https.ca.location";
/// Each with its other name.
const CLIENT_ID: [&str; 2] = [
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.credentials.client.id",
];
const CLIENT_SECRET: [&str; 2] = [
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
];

/// The endpoint must have answered by then.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Of an answer that is none, as much goes into the log.
const ANSWER_LOGGED: usize = 200;

/// Where a token is had, and by whom.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCredentials {
    endpoint: Uri,
    pub client_id: String,
    secret: String,
    scope: Option<String>,
    /// A file of certificates that are trusted instead of the system's.
    ca: Option<String>,
}

/// A token.
#[derive(Clone)]
pub struct Token {
    pub value: String,
    /// Unix time in ms.
    pub expires_ms: i64,
}

/// Does `kafka.properties` ask for this? Then these properties are not librdkafka's to read.
pub fn is_wanted(properties: &BTreeMap<String, String>) -> bool {
    properties
        .get(METHOD)
        .is_some_and(|method| method.eq_ignore_ascii_case("oidc"))
}

/// Is this property taken here?
pub fn takes(name: &str) -> bool {
    [METHOD, ENDPOINT, SCOPE, CA]
        .iter()
        .chain(&CLIENT_ID)
        .chain(&CLIENT_SECRET)
        .any(|own| *own == name)
}

impl ClientCredentials {
    /// What `kafka.properties` say.
    ///
    /// # Errors
    /// The property that is missing or wrong, and why.
    pub fn of(properties: &BTreeMap<String, String>) -> Result<Self, (&'static str, &'static str)> {
        let any = |names: [&'static str; 2]| {
            let found = names.iter().find_map(|name| properties.get(*name)).cloned();
            found.ok_or((names[0], "is required for sasl.oauthbearer.method oidc"))
        };
        let endpoint = properties.get(ENDPOINT);
        let endpoint = endpoint.ok_or((ENDPOINT, "is required for sasl.oauthbearer.method oidc"))?;
        let uri: Option<Uri> = endpoint.parse().ok();
        let uri = uri.filter(is_safe).ok_or((
            ENDPOINT,
            "is not an https:// URL without user info (http:// goes to this machine alone: the secret is sent there)",
        ))?;
        Ok(ClientCredentials {
            endpoint: uri,
            client_id: any(CLIENT_ID)?,
            secret: any(CLIENT_SECRET)?,
            scope: properties.get(SCOPE).cloned(),
            ca: properties.get(CA).cloned(),
        })
    }

    /// Where the token is had, for the log.
    pub fn endpoint(&self) -> String {
        let host = self.endpoint.authority().map_or("", |authority| authority.as_str());
        format!("{host}{}", self.endpoint.path())
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// There is none; why, without a secret.
    pub async fn fetch(&self) -> Result<Token, String> {
        let asked = tokio::time::timeout(TIMEOUT, self.ask()).await;
        let (status, body) = asked.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))??;
        if status != 200 {
            return Err(format!("status {status}: {}", refusal(&body)));
        }
        token(&body, now_ms())
    }

    async fn ask(&self) -> Result<(u16, Bytes), String> {
        let connector = https::connector(&Tls {
            ca: self.ca.clone(),
            ..Tls::default()
        })?;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let request = hyper::Request::post(self.endpoint.clone())
            .header("authorization", format!("Basic {}", self.basic()))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(Full::new(Bytes::from(self.form())))
            .map_err(|error| error.to_string())?;
        let answer = client.request(request).await.map_err(|error| causes(&error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(|error| causes(&*error))?.to_bytes()))
    }

    fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.scope {
            form.append_pair("scope", scope);
        }
        form.finish()
    }

    /// Name and password, each encoded as in a form (RFC 6749 2.3.1).
    fn basic(&self) -> String {
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        STANDARD.encode(format!("{}:{}", encoded(&self.client_id), encoded(&self.secret)))
    }
}

/// The secret goes there: it must be encrypted, or stay on this machine.
fn is_safe(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let has_user = uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    let scheme = uri.scheme_str();
    !host.is_empty() && !has_user && (scheme == Some("https") || (scheme == Some("http") && is_local))
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<f64>,
}

/// The token in an answer that came at `now_ms`.
fn token(body: &[u8], now_ms: i64) -> Result<Token, String> {
    // serde's error would quote the answer, which holds the token.
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "the answer holds no access_token".to_owned())?;
    let expires_ms = match answer.expires_in {
        Some(seconds) => now_ms.saturating_add((seconds * 1000.0) as i64),
        None => expiry(&answer.access_token).ok_or("neither the answer nor the token says when it expires")?,
    };
    match expires_ms > now_ms {
        true => Ok(Token {
            value: answer.access_token,
            expires_ms,
        }),
        false => Err("the token has expired already".into()),
    }
}

/// When a JSON Web Token expires, in ms: its claim `exp` (RFC 7519 4.1.4).
fn expiry(token: &str) -> Option<i64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some((claims.get("exp")?.as_f64()? * 1000.0) as i64)
}

/// What an answer says that is no token: the members of RFC 6749 5.2, or its beginning.
fn refusal(body: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| json.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let said = match (member("error"), member("error_description")) {
        (Some(error), Some(description)) => format!("{error}: {description}"),
        (Some(error), None) => error,
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    said.chars().filter(|c| !c.is_control()).take(ANSWER_LOGGED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(endpoint: &str) -> BTreeMap<String, String> {
        let pairs = [
            ("sasl.oauthbearer.method", "oidc"),
            ("sasl.oauthbearer.client.id", "orders proxy"),
            ("sasl.oauthbearer.client.secret", "s3cret:/+"),
            ("sasl.oauthbearer.scope", "kafka a"),
            ("sasl.oauthbearer.token.endpoint.url", endpoint),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn the_secret_goes_nowhere_in_clear() {
        for (endpoint, taken) in [
            ("https://idp.example/token", true),
            ("http://localhost:8080/token", true),
            ("http://127.0.0.1/token", true),
            ("http://[::1]:1/token", true),
            ("http://idp.example/token", false),
            ("https://user:s3cret@idp.example/token", false),
            ("ftp://localhost/", false),
            ("/token", false),
            ("", false),
        ] {
            let read = ClientCredentials::of(&properties(endpoint));
            assert_eq!(read.is_ok(), taken, "{endpoint}");
            if let Err((name, problem)) = read {
                assert!(name == ENDPOINT && !problem.contains("s3cret"));
            }
        }
        let mut missing = properties("https://a/");
        missing.remove("sasl.oauthbearer.client.secret");
        assert_eq!(ClientCredentials::of(&missing).err().unwrap().0, CLIENT_SECRET[0]);
    }

    #[test]
    fn the_request_is_that_of_the_rfc() {
        let credentials = ClientCredentials::of(&properties("https://a/")).ok().unwrap();
        assert_eq!(credentials.form(), "grant_type=client_credentials&scope=kafka+a");
        let basic = STANDARD.decode(credentials.basic()).unwrap();
        assert_eq!(basic, b"orders+proxy:s3cret%3A%2F%2B");
    }

    #[test]
    fn a_token_expires_when_the_answer_or_it_itself_says() {
        let read = |body: &str| token(body.as_bytes(), 1_000_000);
        assert_eq!(
            read(r#"{"access_token":"a","expires_in":60}"#).ok().unwrap().expires_ms,
            1_060_000
        );
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp":2000}"#);
        let own = format!(r#"{{"access_token":"h.{claims}.s"}}"#);
        assert_eq!(read(&own).ok().unwrap().expires_ms, 2_000_000);
        for bad in [
            r#"{"access_token":"s3cret"}"#,
            r#"{"access_token":"s3cret","expires_in":0}"#,
            r#"{"access_token":7,"x":"s3cret"}"#,
            "s3cret",
        ] {
            let error = read(bad).err().unwrap();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_providers_words() {
        let body = br#"{"error":"invalid_client","error_description":"unknown\nclient"}"#;
        assert_eq!(refusal(body), "invalid_client: unknownclient");
        assert_eq!(refusal(b"<html>"), "<html>");
        assert_eq!(refusal("x".repeat(1000).as_bytes()).len(), 200);
    }
}
