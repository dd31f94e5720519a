//! The end of the process, in one place: each step bounded, and logged with what it left behind.
//!
//! Order (README, "Stopping"): readiness fails and requests are still served → the listener closes, what is pending finishes → the
//! router's leftovers get their answer → pumps drain and leave their groups → producers flush → Arbiters stop.

use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;

use crate::kafka::group_pump::intake::Command;
use crate::supervision::health_supervisor::Retired;

/// How much time is left for the whole shutdown.
#[derive(Clone, Copy)]
pub struct Budget(Instant);

impl Budget {
    pub fn new(limit: Duration) -> Self {
        Budget(Instant::now() + limit)
    }

    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The same, but long enough to end in order what is idle.
    fn left_to_finish(self) -> Duration {
        self.left().max(Duration::from_millis(500))
    }
}

/// Kept back of the budget for what follows the listener: leftovers get their answer, pumps commit, producers flush.
const RESERVE: Duration = Duration::from_secs(2);
/// actix-server looks once a second whether its connections are gone.
const LAST_ANSWERS: Duration = Duration::from_millis(1500);
/// How long a pump that was cut off has to end what is committed, and its worker to log and count that loss.
const TELLS_IN: Duration = Duration::from_millis(300);

/// A server's own limit to a graceful stop, in the whole seconds that actix-server knows. Its end drops the handlers, and their clients
/// would hear nothing: it is later than `close_listener` needs in any case, which answers them. The end of the process comes before it.
pub fn server_limit(drain_timeout: Duration) -> u64 {
    drain_timeout.as_secs().saturating_add(3)
}

/// What the drain limit cut off at a listener.
pub struct CutOff {
    /// Requests that still waited, and were answered by `end_waiting`.
    pub waiting: usize,
    /// Connections were open even then: a client sends, or reads, too slowly.
    pub connections: bool,
}

/// Closes a listener and lets its requests finish; at the limit `end_waiting` answers what still waits, and these answers go out
/// before connections are cut, which the end of the process does: a server that stops gracefully hears of nothing else.
pub async fn close_listener(server: ServerHandle, budget: Budget, end_waiting: impl Future<Output = usize>) -> CutOff {
    let mut stopped = Box::pin(server.stop(true));
    let patience = budget.left().saturating_sub(RESERVE.min(budget.left() / 2));
    let in_time = tokio::time::timeout(patience, &mut stopped).await.is_ok();
    let waiting = end_waiting.await;
    let connections = !in_time && tokio::time::timeout(LAST_ANSWERS, &mut stopped).await.is_err();
    CutOff { waiting, connections }
}

/// Drains all pumps side by side, then waits for their threads; false when one was cut off.
pub async fn drain_pumps(retired: &mut [Retired], budget: Budget) -> bool {
    let pumps: Vec<_> = retired
        .iter_mut()
        .filter_map(|actor| Some((actor.name.clone(), actor.life.pump.take()?)))
        .collect();
    pumps.iter().for_each(|(_, pump)| pump.handle.command(Command::Drain));
    let mut all = true;
    for (name, pump) in pumps {
        let handle = pump.handle.clone();
        let ended = tokio::task::spawn_blocking(move || pump.join(budget.left_to_finish()))
            .await
            .unwrap_or(false);
        if !(ended && handle.status().is_drained()) {
            handle.command(Command::Stop);
            tracing::error!(
                actor = name,
                "the worker did not drain: records were under way at the limit (raise drain_timeout) or their offsets not committed; they run again"
            );
            all = false;
        }
    }
    if !all {
        tokio::time::sleep(TELLS_IN).await;
    }
    all
}

/// Stops the actors' threads and waits for them for a moment: nothing of value runs there any more.
pub async fn stop_arbiters(retired: Vec<Retired>) {
    for Retired { arbiter, .. } in retired {
        arbiter.stop();
        let joined = tokio::task::spawn_blocking(move || arbiter.join());
        // Err: it is stuck, and ends with the process.
        let _ = tokio::time::timeout(Duration::from_secs(1), joined).await;
    }
}
