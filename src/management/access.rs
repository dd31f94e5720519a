//! Who may use the management API: whoever presents the token, or, where there is none, whoever calls it by an allowed name.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::http::{Uri, header};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwapOption;
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::json;

use crate::management::wrong_tokens::{Attempt, WrongTokens};
use crate::process::progress::monotonic_ms;
use crate::settings::{Management, Secret};

/// The names of a loopback (RFC 6761 6.3).
const LOOPBACK_NAMES: [&str; 2] = ["localhost", "*.localhost"];

/// Why a caller gets no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No token, or a wrong one.
    Unauthorised,
    /// Too many wrong tokens came from its address.
    TooManyAttempts,
    /// It calls this API by a name that is not allowed.
    OtherHost,
}

/// What guards the API.
pub struct Access {
    token: ArcSwapOption<Secret>,
    /// Besides addresses.
    hosts: GlobSet,
    wrong_tokens: WrongTokens,
}

impl Access {
    /// The settings have checked the patterns.
    pub fn new(management: &Management) -> Self {
        let patterns = LOOPBACK_NAMES
            .into_iter()
            .chain(management.allowed_hosts.iter().map(String::as_str));
        let globs = patterns.filter_map(|pattern| Glob::new(pattern).ok());
        let hosts = globs.fold(GlobSetBuilder::new(), |mut hosts, glob| {
            hosts.add(glob);
            hosts
        });
        Access {
            token: ArcSwapOption::new(management.token.clone().map(Arc::new)),
            hosts: hosts.build().unwrap_or_default(),
            wrong_tokens: WrongTokens::default(),
        }
    }

    /// Is there a token? Without one, nothing can be changed.
    pub fn has_token(&self) -> bool {
        self.token.load().is_some()
    }

    /// From now on, this is the token.
    pub fn replace_token(&self, token: Secret) {
        self.token.store(Some(Arc::new(token)));
    }

    /// May the sender of this request use the management API? After many wrong tokens from its address, the answer takes its time.
    ///
    /// # Errors
    /// No; and why not.
    pub async fn admit(&self, request: &HttpRequest) -> Result<(), Refusal> {
        match self.has_token() {
            true => self.admit_token(request).await,
            // A web page can have its own name point to this machine (DNS rebinding), but the browser still names it.
            false if self.names_allowed_host(request) => Ok(()),
            false => Err(Refusal::OtherHost),
        }
    }

    /// As `admit`, on a port that everybody calls by whatever name it has.
    ///
    /// # Errors
    /// There is a token, and the request has another one.
    pub async fn admit_by_any_name(&self, request: &HttpRequest) -> Result<(), Refusal> {
        match self.has_token() {
            true => self.admit_token(request).await,
            false => Ok(()),
        }
    }

    async fn admit_token(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let given = bearer(request);
        // Whoever presents nothing does not guess.
        let Some(given) = given else {
            return Err(Refusal::Unauthorised);
        };
        let is_right = self.token.load().as_ref().is_some_and(|token| is_token(given, token));
        match self.wrong_tokens.attempt(peer(request), is_right, monotonic_ms()) {
            Attempt::Refused => return Err(Refusal::TooManyAttempts),
            // The right one waits too: who waits learns nothing by asking many times at once.
            Attempt::After(wait) if !wait.is_zero() => tokio::time::sleep(wait).await,
            Attempt::After(_) => {}
        }
        match is_right {
            true => Ok(()),
            false => Err(Refusal::Unauthorised),
        }
    }

    /// Each name that the request has for this host must be allowed. HTTP/1.0 needs none, and no browser sends that.
    fn names_allowed_host(&self, request: &HttpRequest) -> bool {
        let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let fields = request.headers().get_all(header::HOST).map(|value| value.as_bytes());
        target
            .into_iter()
            .chain(fields)
            .all(|name| host(name).is_some_and(|host| self.is_allowed(&host)))
    }

    fn is_allowed(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok() || self.hosts.is_match(host.to_ascii_lowercase())
    }
}

impl Refusal {
    /// The answer to such a caller.
    pub fn response(&self) -> HttpResponse {
        match self {
            Refusal::Unauthorised => HttpResponse::Unauthorized()
                .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
                .json(json!({"error": "send the management_token as Authorization: Bearer …"})),
            Refusal::TooManyAttempts => HttpResponse::TooManyRequests()
                .insert_header((header::RETRY_AFTER, "10"))
                .json(json!({"error": "too many wrong tokens from this address"})),
            Refusal::OtherHost => HttpResponse::MisdirectedRequest()
                .json(json!({"error": "this host is not in allowed_hosts, and there is no management_token"})),
        }
    }
}

/// The address that a request comes from. A test's request has none.
pub fn peer(request: &HttpRequest) -> IpAddr {
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// The token that a request presents. The scheme's case does not count (RFC 9110 11.1).
fn bearer(request: &HttpRequest) -> Option<&[u8]> {
    let value = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let blank = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(blank);
    scheme.eq_ignore_ascii_case(b"Bearer").then(|| token.trim_ascii())
}

/// Compares in a time that does not depend on how much of `given` is right.
fn is_token(given: &[u8], token: &Secret) -> bool {
    let token = token.reveal().as_bytes();
    given.len() == token.len() && openssl::memcmp::eq(given, token)
}

/// The host of `host[:port]`.
fn host(authority: &[u8]) -> Option<String> {
    let uri: Uri = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query("/")
        .build()
        .ok()?;
    uri.host().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    const TOKEN: &str = "0123456789abcdef";

    fn access(token: Option<&str>, hosts: &[&str]) -> Access {
        Access::new(&Management {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 1,
            token: token.map(|token| Secret::new(token.to_owned())),
            allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            peers: Vec::new(),
        })
    }

    fn from(peer: &str, field: (&str, &str)) -> HttpRequest {
        let peer = format!("{peer}:1").parse().unwrap();
        TestRequest::default()
            .peer_addr(peer)
            .insert_header(field)
            .to_http_request()
    }

    #[actix_web::test]
    async fn without_a_token_the_name_decides() {
        let access = access(None, &["*.ops.example"]);
        for (host, allowed) in [
            ("localhost:8081", true),
            ("LOCALHOST", true),
            ("a.localhost", true),
            ("127.0.0.1:8081", true),
            ("10.1.2.3", true),
            ("[::1]:8081", true),
            ("khp.ops.example:8081", true),
            ("KHP.Ops.Example", true),
            ("evil.example", false),
            ("ops.example", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost@evil.example", false),
            ("", false),
        ] {
            let admitted = access.admit(&from("127.0.0.1", ("host", host))).await;
            assert_eq!(admitted.is_ok(), allowed, "{host:?} {admitted:?}");
        }
        let absolute = TestRequest::with_uri("http://evil.example/status").insert_header(("host", "localhost"));
        assert_eq!(access.admit(&absolute.to_http_request()).await, Err(Refusal::OtherHost));
        let named_twice = TestRequest::default()
            .append_header(("host", "localhost"))
            .append_header(("host", "evil.example"));
        assert_eq!(
            access.admit(&named_twice.to_http_request()).await,
            Err(Refusal::OtherHost)
        );
        assert_eq!(access.admit(&TestRequest::default().to_http_request()).await, Ok(()));
        assert_eq!(
            access
                .admit_by_any_name(&from("127.0.0.1", ("host", "evil.example")))
                .await,
            Ok(())
        );
    }

    #[actix_web::test]
    async fn with_a_token_the_token_decides() {
        let access = access(Some(TOKEN), &[]);
        for (field, right) in [
            (format!("Bearer {TOKEN}"), true),
            (format!("bearer {TOKEN}"), true),
            (format!("BEARER   {TOKEN}"), true),
            (format!("Basic {TOKEN}"), false),
            (format!("Bearer{TOKEN}"), false),
            ("Bearer 0123456789abcdeg".to_owned(), false),
            (format!("Bearer {TOKEN}x"), false),
        ] {
            let request = from("127.0.0.1", ("authorization", &field));
            assert_eq!(access.admit(&request).await.is_ok(), right, "{field}");
        }
        let named = TestRequest::default()
            .insert_header(("host", "any.example"))
            .insert_header(("authorization", format!("Bearer {TOKEN}")));
        assert_eq!(access.admit(&named.to_http_request()).await, Ok(()));
        access.replace_token(Secret::new("another-one-of-16".to_owned()));
        let replaced = from("127.0.0.1", ("authorization", "Bearer another-one-of-16"));
        assert_eq!(access.admit(&replaced).await, Ok(()));
        let old = from("127.0.0.1", ("authorization", &format!("Bearer {TOKEN}")));
        assert_eq!(access.admit(&old).await, Err(Refusal::Unauthorised));
    }

    #[actix_web::test]
    async fn guessing_costs_a_second_each_and_nobody_else_pays() {
        let access = access(Some(TOKEN), &[]);
        let took = async |peer: &str, token: &str| {
            let request = from(peer, ("authorization", &format!("Bearer {token}")));
            let began = std::time::Instant::now();
            let admitted = access.admit(&request).await;
            (admitted, began.elapsed())
        };
        for _ in 0..10 {
            let (refused, waited) = took("10.0.0.1", "wrong").await;
            assert_eq!(refused, Err(Refusal::Unauthorised));
            assert!(waited < Duration::from_millis(500), "{waited:?}");
        }
        let (refused, waited) = took("10.0.0.1", "wrong").await;
        assert_eq!(refused, Err(Refusal::Unauthorised));
        assert!(waited > Duration::from_millis(700), "{waited:?}");
        let (admitted, waited) = took("10.0.0.2", TOKEN).await;
        assert_eq!(admitted, Ok(()));
        assert!(waited < Duration::from_millis(500), "{waited:?}");
    }
}
