//! The end of the process: each step has a limit, and logs what it left behind.
//!
//! The order: readiness fails and requests are still served → the listener closes, requests in flight finish → the router answers
//! those that still wait → pumps drain and leave their groups → producers flush → Arbiters stop. Replies come in until the listener is
//! closed, so the router must live that long; offsets are committed by the pumps, after the last reply is acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use actix_web::dev::ServerHandle;
use futures_util::future::join_all;

use crate::process::listener::{self, ListenerGuard};
use crate::proxy::handler::Proxy;
use crate::supervision::supervised::Pump;

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
    pub fn left_to_finish(self) -> Duration {
        self.left().max(Duration::from_millis(500))
    }
}

/// Kept back of the budget for what follows the listener: leftovers get their answer, pumps commit, producers flush.
const RESERVE: Duration = Duration::from_secs(2);
/// actix-server looks once a second whether its connections are gone.
const LAST_ANSWERS: Duration = Duration::from_millis(1500);
/// How long an actor has to answer at the end; one that is well does so in microseconds.
const ANSWER_IN: Duration = Duration::from_secs(1);
/// What the steps behind the drain limit may take in all: last answers, last commits, and threads that are stuck.
pub const LAST_STEPS: Duration = Duration::from_secs(3);
/// How long a pump that was cut off has to commit what it can, and its worker to log and count what is lost.
const LAST_COMMITS: Duration = Duration::from_millis(300);

/// A server's own limit to a graceful stop, in the whole seconds that actix-server knows. When it expires actix-server drops its handlers
/// and clients hear nothing, so it must outlast `close_listener`, which answers whoever still waits. The process ends before it.
pub fn server_limit(drain_timeout: Duration) -> u64 {
    drain_timeout.as_secs().saturating_add(LAST_STEPS.as_secs())
}

/// What the drain limit cut off at a listener.
struct CutOff {
    /// Requests that still waited; `end_waiting` answered them.
    waiting: usize,
    /// Connections were open even after that: a client sends, or reads, too slowly.
    connections: bool,
}

/// Serves requests for `pre_stop` more, then closes the listener and lets what is in flight finish. True: nothing was cut off.
pub async fn close_proxy(
    http: ServerHandle,
    guard: ListenerGuard,
    proxy: Option<Arc<Proxy>>,
    pre_stop: Duration,
    budget: Budget,
) -> bool {
    tokio::time::sleep(pre_stop.min(budget.left())).await;
    guard.stop_new_connections();
    tokio::time::sleep(listener::SETTLE.min(budget.left())).await;
    // The socket is open while the guard is.
    drop(guard);
    let end_waiting = async {
        let Some(proxy) = proxy else { return 0 };
        let router = proxy.router.borrow().clone();
        match router {
            Some(router) => match answer_of("reply_router", router.drain()).await {
                Some(ended) => ended,
                // It answers nobody: whoever waits is cut off.
                None => proxy.metrics.pending.get().max(1) as usize,
            },
            None => 0,
        }
    };
    let cut_off = close_listener(http, budget, end_waiting).await;
    if cut_off.waiting > 0 {
        tracing::error!(
            lost = cut_off.waiting,
            "requests still waited for their replies at the drain limit; raise drain_timeout"
        );
    }
    if cut_off.connections {
        tracing::error!(
            "requests or answers were still under way to or from clients at the drain limit and are cut off; raise drain_timeout"
        );
    }
    cut_off.waiting == 0 && !cut_off.connections
}

/// Closes a listener and lets its requests finish. At the limit `end_waiting` answers what still waits, and these answers get a moment to
/// go out: a server that stops gracefully cannot be told to hurry, only the end of the process cuts its connections.
async fn close_listener(server: ServerHandle, budget: Budget, end_waiting: impl Future<Output = usize>) -> CutOff {
    let mut stopped = Box::pin(server.stop(true));
    let patience = budget.left().saturating_sub(RESERVE.min(budget.left() / 2));
    let in_time = tokio::time::timeout(patience, &mut stopped).await.is_ok();
    let waiting = end_waiting.await;
    let connections = !in_time && tokio::time::timeout(LAST_ANSWERS, &mut stopped).await.is_err();
    CutOff { waiting, connections }
}

/// What an actor answers, or `None` where it is stuck: it must not hold up the end of the others.
pub async fn answer_of<T>(actor: &str, answer: impl Future<Output = T>) -> Option<T> {
    let answer = tokio::time::timeout(ANSWER_IN, answer).await.ok();
    if answer.is_none() {
        tracing::error!(actor, "the actor does not answer at the end, and is cut off");
    }
    answer
}

/// Drains all pumps side by side, then waits for their threads; false when one was cut off.
pub async fn drain_pumps(pumps: Vec<(String, Box<dyn Pump>)>, budget: Budget) -> bool {
    pumps.iter().for_each(|(_, pump)| pump.drain());
    let mut all = true;
    // They end side by side: what is left for one is left for all of them together.
    let until = Instant::now() + budget.left_to_finish();
    for (name, mut pump) in pumps {
        let wait = move || {
            let drained = pump.join(until.saturating_duration_since(Instant::now())) && pump.is_drained();
            if !drained {
                pump.stop();
            }
            drained
        };
        // Err: never, `wait` does not panic.
        if !tokio::task::spawn_blocking(wait).await.unwrap_or(false) {
            tracing::error!(
                actor = name,
                "the worker did not drain: records were under way at the limit (raise drain_timeout) or their offsets not committed; they run again"
            );
            all = false;
        }
    }
    if !all {
        tokio::time::sleep(LAST_COMMITS).await;
    }
    all
}

/// Stops the actors' threads and waits for them for a moment: nothing of value runs there any more.
pub async fn stop_arbiters(arbiters: Vec<Arbiter>) {
    let joins = arbiters.into_iter().map(|arbiter| {
        arbiter.stop();
        tokio::task::spawn_blocking(move || arbiter.join())
    });
    // Err: one is stuck, and ends with the process.
    let _ = tokio::time::timeout(ANSWER_IN, join_all(joins)).await;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix::prelude::*;

    struct Toy;

    impl Actor for Toy {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "usize")]
    struct Ask;

    impl Handler<Ask> for Toy {
        type Result = usize;

        fn handle(&mut self, Ask: Ask, _: &mut Self::Context) -> usize {
            7
        }
    }

    #[actix::test]
    async fn an_actor_that_is_stuck_has_a_limit() {
        let arbiter = Arbiter::new();
        let toy = Toy::start_in_arbiter(&arbiter.handle(), |_| Toy);
        assert_eq!(answer_of("toy", toy.send(Ask)).await.unwrap().unwrap(), 7);
        let (stuck, begins) = tokio::sync::oneshot::channel();
        arbiter.spawn_fn(move || {
            stuck.send(()).unwrap();
            std::thread::sleep(Duration::from_secs(10));
        });
        begins.await.unwrap();
        let began = Instant::now();
        assert!(answer_of("toy", toy.send(Ask)).await.is_none());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
