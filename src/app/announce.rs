//! Tells the service manager when the process is ready, and when it is not.

use std::time::Duration;

use actix_web::web;

use crate::management::board::Board;
use crate::process::service_manager::ServiceManager;

/// How soon a change is told.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Tells of the first readiness, and from then on what the process waits for. Never ends by itself.
pub async fn announce(manager: ServiceManager, board: web::Data<Board>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut was_ready, mut told) = (false, String::new());
    loop {
        looks.tick().await;
        let reasons = board.not_ready();
        if reasons.is_empty() && !was_ready {
            was_ready = true;
            manager.ready();
        }
        let status = match reasons.as_slice() {
            [] => "ready".to_owned(),
            reasons => format!("not ready: {}", reasons.join("; ")),
        };
        if status != told {
            manager.status(&status);
            told = status;
        }
    }
}
