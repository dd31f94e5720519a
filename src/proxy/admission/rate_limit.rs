//! How often one client may ask: a smooth limit (GCRA), in a fixed amount of memory, however many clients there are.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use actix_web::HttpRequest;
use governor::RateLimiter;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};

use crate::error::RequestError;
use crate::process::rate::{network, per_second};
use crate::proxy::trust::Origin;
use crate::settings::{ClientKey, ClientRate};
use crate::wire::headers::is_about_client;

/// Limits that are kept, 8 bytes each. Two clients that fall into the same cell share its limit.
const CELLS: usize = 1 << 16;

/// The limit of every client.
pub struct ClientLimit {
    limiter: RateLimiter<u64, Cells, DefaultClock, NoOpMiddleware<<DefaultClock as Clock>::Instant>>,
    /// Random per process: nobody can aim at another's cell.
    hasher: RandomState,
    key: ClientKey,
}

impl ClientLimit {
    /// `None`: the rate is too high or too low to be limited.
    pub fn new(rate: &ClientRate) -> Option<Self> {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let quota = per_second(rate.per_second, burst)?;
        let cells = match rate.key {
            ClientKey::Everybody => 1,
            ClientKey::Address | ClientKey::Header(_) => CELLS,
        };
        let cells = Cells(std::iter::repeat_with(InMemoryState::default).take(cells).collect());
        Some(ClientLimit {
            limiter: RateLimiter::new(quota, cells, DefaultClock::default()),
            hasher: RandomState::new(),
            key: rate.key.clone(),
        })
    }

    /// Counts a request from `origin`.
    ///
    /// # Errors
    /// `RateLimited`: its client asks too often.
    pub fn check(&self, request: &HttpRequest, origin: &Origin) -> Result<(), RequestError> {
        self.limiter
            .check_key(&self.client(request, origin))
            .map_err(|not_until| {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                RequestError::RateLimited {
                    retry_after: u32::try_from(whole.max(1)).unwrap_or(u32::MAX),
                }
            })
    }

    /// A number for the client that a request comes from. A request without the header that names its client counts for its address, and
    /// so does one whose client writes its own `X-Real-IP`.
    fn client(&self, request: &HttpRequest, origin: &Origin) -> u64 {
        let named = |name: &String| {
            let counts = origin.is_trusted || !is_about_client(name);
            request.headers().get(name).filter(|_| counts)
        };
        match &self.key {
            ClientKey::Everybody => 0,
            ClientKey::Address => self.address(origin),
            ClientKey::Header(name) => match named(name) {
                Some(value) => self.hasher.hash_one(value.as_bytes()),
                None => self.address(origin),
            },
        }
    }

    fn address(&self, origin: &Origin) -> u64 {
        self.hasher.hash_one(origin.client.map(network))
    }
}

/// A fixed number of limits; a key's is found by its remainder.
struct Cells(Box<[InMemoryState]>);

impl StateStore for Cells {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let cell = (*key % self.0.len() as u64) as usize;
        self.0[cell].measure_and_replace(&NotKeyed::NonKey, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::trust::TrustedProxies;
    use actix_web::test::TestRequest;

    fn limit(key: ClientKey) -> ClientLimit {
        ClientLimit::new(&ClientRate {
            per_second: 0.1,
            burst: 3,
            key,
        })
        .unwrap()
    }

    fn from(address: &str, api_key: &str) -> HttpRequest {
        TestRequest::default()
            .peer_addr(address.parse().unwrap())
            .insert_header(("x-api-key", api_key))
            .to_http_request()
    }

    /// Of nobody whom the proxy trusts.
    fn check(limit: &ClientLimit, request: &HttpRequest) -> Result<(), RequestError> {
        limit.check(request, &TrustedProxies::new(&[]).origin(request))
    }

    fn taken(limit: &ClientLimit, request: &HttpRequest) -> usize {
        (0..10).filter(|_| check(limit, request).is_ok()).count()
    }

    #[test]
    fn a_client_has_its_burst_and_then_waits() {
        let limit = limit(ClientKey::Address);
        assert_eq!(taken(&limit, &from("10.0.0.1:1", "")), 3);
        assert_eq!(
            taken(&limit, &from("10.0.0.1:2", "")),
            0,
            "another connection is no other client"
        );
        assert_eq!(taken(&limit, &from("10.0.0.2:1", "")), 3, "another client has its own");
        let refused = check(&limit, &from("10.0.0.1:3", ""));
        let Err(RequestError::RateLimited { retry_after }) = refused else {
            panic!("{refused:?}");
        };
        assert!((9..=10).contains(&retry_after), "one each ten seconds: {retry_after}");
    }

    #[test]
    fn an_ipv6_client_has_a_whole_network() {
        let limit = limit(ClientKey::Address);
        assert_eq!(taken(&limit, &from("[2001:db8::1]:1", "")), 3);
        assert_eq!(taken(&limit, &from("[2001:db8::2]:1", "")), 0);
        assert_eq!(taken(&limit, &from("[2001:db8:0:1::2]:1", "")), 3);
        assert_eq!(taken(&limit, &from("[::ffff:10.0.0.1]:1", "")), 3);
        assert_eq!(taken(&limit, &from("10.0.0.1:1", "")), 0);
    }

    #[test]
    fn a_header_tells_clients_behind_one_address_apart() {
        let limit = limit(ClientKey::Header("x-api-key".into()));
        assert_eq!(taken(&limit, &from("10.0.0.1:1", "a")), 3);
        assert_eq!(taken(&limit, &from("10.0.0.1:1", "b")), 3);
        assert_eq!(taken(&limit, &from("10.0.0.2:1", "a")), 0);
        let without = TestRequest::default()
            .peer_addr("10.0.0.1:1".parse().unwrap())
            .to_http_request();
        assert_eq!(taken(&limit, &without), 3);
    }

    #[test]
    fn everybody_shares_one_limit() {
        let limit = limit(ClientKey::Everybody);
        assert_eq!(taken(&limit, &from("10.0.0.1:1", "a")), 3);
        assert_eq!(taken(&limit, &from("10.0.0.2:1", "b")), 0);
    }

    #[test]
    fn only_a_trusted_proxy_names_the_client() {
        let trusted = TrustedProxies::new(&["10.0.0.0/8".parse().unwrap()]);
        for key in [ClientKey::Address, ClientKey::Header("x-real-ip".into())] {
            let limit = limit(key);
            let taken = |peer: &str| {
                let allowed = |last: u8| {
                    let request = TestRequest::default()
                        .peer_addr(peer.parse().unwrap())
                        .insert_header(("x-real-ip", format!("192.0.2.{last}")))
                        .to_http_request();
                    limit.check(&request, &trusted.origin(&request)).is_ok()
                };
                (0..10).filter(|last| allowed(*last)).count()
            };
            assert_eq!(taken("203.0.113.1:1"), 3, "ten names of its own make no ten clients");
            assert_eq!(taken("10.0.0.1:1"), 10);
        }
    }
}
