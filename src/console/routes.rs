//! The console's paths.

use crate::console::{letters, openapi, page, peers, reading, trial};
use crate::management::routes::Routes;

/// Registers them.
pub fn all(routes: &mut Routes<'_>) {
    page::routes(routes);
    routes.read("/openapi.json", openapi::document);
    routes.guarded("/api/process", reading::process);
    routes.guarded("/api/now", reading::now);
    routes.guarded("/api/history", reading::history);
    routes.guarded("/api/topics", reading::topics);
    routes.guarded("/api/requests", reading::requests);
    routes.guarded("/api/requests/{id}", reading::request);
    routes.guarded("/api/events", reading::events);
    routes.guarded("/api/settings", reading::settings);
    routes.guarded("/api/live", reading::live);
    routes.guarded("/api/peers", peers::now);
    routes.guarded("/api/peers/requests/{id}", peers::request);
    routes.post("/api/try", trial::send);
    routes.guarded("/api/dead-letters", letters::list);
    routes.guarded("/api/dead-letters/{place}", letters::open);
    routes.guarded("/api/redrive", letters::progress);
    routes.post("/api/redrive", letters::redrive);
    routes.order("/api/redrive/stop", letters::stop);
}
