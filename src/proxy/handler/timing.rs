//! `Server-Timing` (W3C): where a request's time went, told to clients that may know it.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::exchange::{Role, UnderWay};

const SERVER_TIMING: &str = "server-timing";

/// The clients that are told.
pub struct Timing(Vec<IpNet>);

impl Timing {
    /// Those of these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Timing(networks.to_vec())
    }

    /// Adds the phases that a request has gone through, in ms, beside what its backend has told. The last one, the writing, is still to come.
    pub fn tell(&self, response: &mut HttpResponse, seen: &UnderWay) {
        let is_told = |client: &IpAddr| self.0.iter().any(|network| network.contains(client));
        if !seen.client.as_ref().is_some_and(is_told) {
            return;
        }
        let phases = seen.phases.of(Role::Proxy);
        let phases = phases.map(|(phase, took)| format!("{};dur={:.3}", phase.as_str(), took.as_secs_f64() * 1e3));
        let phases = phases.collect::<Vec<_>>().join(", ");
        // Err: never, it is ASCII.
        if let Ok(value) = HeaderValue::from_str(&phases)
            && !phases.is_empty()
        {
            response
                .headers_mut()
                .append(HeaderName::from_static(SERVER_TIMING), value);
        }
    }
}
