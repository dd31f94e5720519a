//! The console's paths.

use crate::console::{letters, openapi, page, peers, reading, trial};
use crate::management::routes::Routes;

/// Registers them.
pub fn all(routes: &mut Routes<'_>) {
    page::routes(routes);
    routes.read("/openapi.json", openapi::document);
    routes.read("/api/process", reading::process);
    routes.read("/api/now", reading::now);
    routes.read("/api/history", reading::history);
    routes.read("/api/topics", reading::topics);
    routes.read("/api/requests", reading::requests);
    routes.read("/api/requests/{id}", reading::request);
    routes.read("/api/events", reading::events);
    routes.read("/api/settings", reading::settings);
    routes.read("/api/live", reading::live);
    routes.read("/api/peers", peers::now);
    routes.read("/api/peers/requests/{id}", peers::request);
    routes.post("/api/try", trial::send);
    routes.read("/api/dead-letters", letters::list);
    routes.read("/api/dead-letters/{place}", letters::open);
    routes.read("/api/redrive", letters::progress);
    routes.post("/api/redrive", letters::redrive);
    routes.order("/api/redrive/stop", letters::stop);
}
