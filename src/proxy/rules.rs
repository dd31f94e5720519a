//! What requests are treated by, and what a reload replaces as a whole: a request has one set of rules from its head to its answer.

use std::sync::Arc;

use crate::proxy::admission::rate_limit::ClientLimit;
use crate::proxy::auth::Auth;
use crate::proxy::auth::jwks::Jwks;
use crate::proxy::handler::body::BodyLimits;
use crate::proxy::handler::timing::Timing;
use crate::proxy::routing::routes::Routes;
use crate::proxy::trust::TrustedProxies;
use crate::settings;

/// The rules of one configuration.
pub struct Rules {
    pub trusted: TrustedProxies,
    pub routes: Routes,
    /// Clients may name topics.
    pub topic_headers: bool,
    pub body: BodyLimits,
    /// `None`: a client may ask as often as it likes.
    pub client_limit: Option<Arc<ClientLimit>>,
    /// Who is told how long it took.
    pub timing: Timing,
    /// Who asks.
    pub auth: Auth,
}

impl Rules {
    pub fn new(
        own: &settings::Proxy,
        routes: Routes,
        client_limit: Option<Arc<ClientLimit>>,
        keys: Option<Jwks>,
    ) -> Self {
        Rules {
            trusted: TrustedProxies::new(&own.trusted_proxies),
            routes,
            topic_headers: own.topic_headers,
            body: BodyLimits {
                size: own.largest_body(),
                rate: own.min_body_rate,
            },
            client_limit,
            timing: Timing::new(&own.server_timing),
            auth: Auth::new(&own.auth, keys),
        }
    }
}
