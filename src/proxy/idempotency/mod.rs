//! Requests that run once for each `Idempotency-Key`: which of a route's they are, and what their records say. What came of them, the
//! processors remember.
//!
//! - [`field`]: the grammar of `Idempotency-Key`.

pub mod field;

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;
use bytes::Bytes;

use crate::error::RequestError;
use crate::proxy::connection::peer::Peer;
use crate::settings::{self, IdempotencyMode};
use crate::wire::idempotency::identity::{BodyDigest, Owner, record_key};
use crate::wire::idempotency::{Idempotency, Store};
use crate::wire::{self, headers};

/// What a route asks for.
pub struct Terms {
    mode: IdempotencyMode,
    ttl: Duration,
    store: Store,
    /// What keys belong to whose owner is not known: the same on every proxy with the same routes.
    route: String,
}

/// A request that runs once for its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The key of its record.
    pub record_key: Bytes,
    ttl: Duration,
    store: Store,
}

impl Terms {
    /// `path`: the route's pattern, empty where there are no routes.
    pub fn new(of: &settings::Idempotency, path: &str) -> Self {
        Terms {
            mode: of.mode,
            ttl: of.ttl,
            store: of.store,
            route: path.to_owned(),
        }
    }

    /// Whether a request runs once. A safe method (RFC 9110 9.2.1) may run as often as it likes.
    ///
    /// # Errors
    /// `IdempotencyKeyMissing`: it must have a key. `IdempotencyKeyInvalid`: what it has is none.
    pub fn keyed(&self, request: &HttpRequest, principal: Option<&str>) -> Result<Option<Keyed>, RequestError> {
        if self.mode == IdempotencyMode::Off || request.method().is_safe() {
            return Ok(None);
        }
        let fields = request.headers().get_all(headers::IDEMPOTENCY_KEY);
        let key = match field::parse(fields.map(HeaderValue::as_bytes))? {
            Some(key) => key,
            None if self.mode == IdempotencyMode::Required => return Err(RequestError::IdempotencyKeyMissing),
            None => return Ok(None),
        };
        let peer = Peer::of(request);
        let certificate = peer.as_deref().and_then(|peer| peer.certificate.as_ref());
        let owner = match (principal, certificate) {
            (Some(name), _) => Owner::Principal(name),
            (None, Some(certificate)) => Owner::Certificate(&certificate.subject),
            (None, None) => Owner::Route(&self.route),
        };
        Ok(Some(Keyed {
            record_key: record_key(owner, &key),
            ttl: self.ttl,
            store: self.store,
        }))
    }
}

impl Keyed {
    /// Says in a request that it runs once. `body`: the digest of its body.
    pub fn mark(self, request: &mut wire::Request, body: BodyDigest) {
        request.idempotency = Some(Idempotency {
            fingerprint: body.fingerprint(&request.method, &request.path),
            ttl_ms: self.ttl.as_millis() as u64,
            store: self.store,
        });
        request.key = Some(self.record_key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::Method;
    use actix_web::test::TestRequest;

    fn terms(mode: IdempotencyMode, path: &str) -> Terms {
        let of = settings::Idempotency {
            mode,
            ttl: Duration::from_secs(60),
            store: Store::Success,
        };
        Terms::new(&of, path)
    }

    fn keyed(
        terms: &Terms,
        method: Method,
        key: Option<&str>,
        principal: Option<&str>,
    ) -> Result<Option<Bytes>, RequestError> {
        let mut request = TestRequest::default().method(method);
        if let Some(key) = key {
            request = request.insert_header((headers::IDEMPOTENCY_KEY, key));
        }
        let found = terms.keyed(&request.to_http_request(), principal)?;
        Ok(found.map(|keyed| keyed.record_key))
    }

    #[test]
    fn which_requests_run_once() {
        use IdempotencyMode::{Honour, Off, Required};
        use RequestError::{IdempotencyKeyInvalid, IdempotencyKeyMissing};
        for (mode, method, key, expected) in [
            (Off, Method::POST, Some("k"), Ok(false)),
            (Off, Method::POST, Some("a, b"), Ok(false)),
            (Honour, Method::POST, Some("k"), Ok(true)),
            (Honour, Method::DELETE, Some("\"k\""), Ok(true)),
            (Honour, Method::POST, None, Ok(false)),
            (Honour, Method::POST, Some("a, b"), Err(IdempotencyKeyInvalid)),
            (Honour, Method::GET, Some("k"), Ok(false)),
            (Required, Method::POST, Some("k"), Ok(true)),
            (Required, Method::PATCH, None, Err(IdempotencyKeyMissing)),
            (Required, Method::HEAD, None, Ok(false)),
        ] {
            let found = keyed(&terms(mode, "/a"), method.clone(), key, None);
            assert_eq!(found.map(|key| key.is_some()), expected, "{mode:?} {method} {key:?}");
        }
    }

    #[test]
    fn a_key_belongs_to_its_principal_else_to_its_route() {
        let (one, other) = (
            terms(IdempotencyMode::Honour, "/a"),
            terms(IdempotencyMode::Honour, "/b"),
        );
        let key = |terms: &Terms, principal| keyed(terms, Method::POST, Some("k"), principal).unwrap().unwrap();
        assert_eq!(key(&one, None), key(&one, None));
        assert_ne!(key(&one, None), key(&other, None));
        assert_eq!(key(&one, Some("alice")), key(&other, Some("alice")));
        assert_ne!(key(&one, Some("alice")), key(&one, Some("bob")));
        assert_ne!(key(&one, Some("/a")), key(&one, None), "a name is no route");
    }
}
