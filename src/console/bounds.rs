//! What is bounded, and how much of each bound is used.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::console::sample::Reading;
use crate::management::board::Board;
use crate::metrics::name;
use crate::settings::Settings;

/// One bound.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bound {
    /// The setting that raises it, or the metric that it is.
    pub name: Cow<'static, str>,
    /// What is bounded, in words.
    pub what: Cow<'static, str>,
    pub used: f64,
    pub of: f64,
}

/// Those of the roles of this process.
pub fn bounds(board: &Board, settings: &Settings, reading: &Reading) -> Vec<Bound> {
    let mut bounds = Vec::new();
    let mut bound = |name: &'static str, what: &'static str, gauge, of: f64| {
        bounds.push(Bound {
            name: name.into(),
            what: what.into(),
            used: reading.gauge(gauge),
            of,
        });
    };
    if board.proxy.is_some() {
        let own = &settings.proxy;
        bound(
            "max_pending",
            "requests in flight",
            name::PROXY_PENDING,
            own.max_pending as f64,
        );
        let bytes = own.max_pending_bytes as f64;
        bound(
            "max_pending_bytes",
            "bytes of bodies and answers",
            name::PROXY_PENDING_BYTES,
            bytes,
        );
        bound(
            "max_connections",
            "connections of clients",
            name::PROXY_CONNECTIONS,
            own.max_connections as f64,
        );
    }
    if board.processor.is_some() {
        bound(
            "max_concurrent_requests",
            "backend calls",
            name::CALLS,
            settings.processor.max_concurrent_requests as f64,
        );
    }
    bounds
}
