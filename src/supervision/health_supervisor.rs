//! Keeps the other actors alive: hears how each ended, and replaces it with a fresh one from its factory after a growing wait.
//!
//! Owns: one slot per supervised actor, with its Arbiter, its pump, its generation and its restart count; the health checks of the
//! backends. Sent to by: the watchers of
//! `spawn_watched` (`Exited`), the management API (`Survey`), shutdown (`Retire`). Death: the process exits 70, so that whatever runs
//! it starts it again.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter, ArbiterHandle, AsyncContext, Context, Handler, Message, MessageResult};
use prometheus::{IntCounterVec, Opts, Registry};
use serde::Serialize;

use crate::kafka::group_pump::intake::{Command, PumpHandle};
use crate::process::progress::Progress;
use crate::processor::backend::health::{BackendCheck, BackendChecks};
use crate::supervision::backoff::restart_wait;
use crate::supervision::spawn_watched::ExitReason;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// An actor or pump without a sign of life for this long is given up.
pub const STALLED_AFTER: Duration = if cfg!(test) {
    Duration::from_secs(8)
} else {
    Duration::from_secs(15)
};
/// A pump that was told to stop has this long: leaving a group can take a session timeout when brokers are away.
const PUMP_LIMIT: Duration = Duration::from_secs(20);
/// An actor that lived this long starts its restart waits anew.
const PROVEN_AFTER: Duration = Duration::from_secs(60);

/// Tells the supervisor how an actor's generation ended.
pub type ExitNotice = Box<dyn FnOnce(ExitReason) + Send>;

/// What the supervisor can start, and start again.
pub trait Supervised: Send {
    /// Names it in logs, metrics and `/status`.
    fn name(&self) -> &str;
    /// Starts a new generation on `arbiter`.
    ///
    /// # Errors
    /// In words; the supervisor tries again after a wait.
    fn launch(&mut self, generation: u64, arbiter: &ArbiterHandle, exited: ExitNotice) -> Result<Life, String>;
    /// The last generation is over; nobody may be sent to it any more.
    fn fell(&mut self) {}
}

/// What there is to one generation of an actor besides its Arbiter.
pub struct Life {
    /// All of these must show progress.
    pub progress: Vec<Progress>,
    pub pump: Option<Pump>,
}

/// A pump thread, to be told to end and waited for.
pub struct Pump {
    pub handle: PumpHandle,
    pub thread: JoinHandle<()>,
}

impl Pump {
    /// Waits for the thread's end; false when `limit` passed first. Blocks.
    pub fn join(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Err: it panicked, and the panic hook has logged it.
        let _ = self.thread.join();
        true
    }
}

/// An actor's generation ended. Sent by its watcher.
#[derive(Message)]
#[rtype(result = "()")]
struct Exited {
    slot: usize,
    generation: u64,
    reason: ExitReason,
}

/// Asks how all actors are. Sent by the management API.
#[derive(Message)]
#[rtype(result = "Vec<ActorReport>")]
pub struct Survey;

/// One actor, as `/status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ActorReport {
    pub actor: String,
    pub running: bool,
    pub generation: u64,
    pub restarts: u64,
    pub last_exit: Option<String>,
}

/// Ends supervision: from now on nothing is restarted. Returns what still runs, for the shutdown to drain.
#[derive(Message)]
#[rtype(result = "Vec<Retired>")]
pub struct Retire;

/// A running actor, handed over to the shutdown.
pub struct Retired {
    pub name: String,
    pub arbiter: Arbiter,
    pub life: Life,
}

/// The actor.
pub struct HealthSupervisor {
    slots: Vec<Slot>,
    restarts: IntCounterVec,
    backends: Backends,
    /// Ends the process with exit code 70, saying why.
    give_up: Box<dyn Fn(String)>,
    retiring: bool,
}

/// The backends to look at, and how often.
pub struct Backends {
    pub checks: Vec<BackendCheck>,
    /// Zero = never.
    pub every: Duration,
}

struct Slot {
    supervised: Box<dyn Supervised>,
    running: Option<Running>,
    generation: u64,
    /// In a row, for the wait.
    failures: u32,
    restarts: u64,
    last_exit: Option<String>,
}

struct Running {
    arbiter: Arbiter,
    life: Life,
    since: Instant,
}

impl HealthSupervisor {
    /// Supervises these. `give_up` is called when one cannot be replaced safely.
    ///
    /// # Errors
    /// The metric's name is taken.
    pub fn new(
        supervised: Vec<Box<dyn Supervised>>,
        backends: Backends,
        registry: &Registry,
        give_up: impl Fn(String) + 'static,
    ) -> prometheus::Result<Self> {
        let restarts = IntCounterVec::new(
            Opts::new(
                "actor_restarts_total",
                "Actors replaced after a panic, an end or a stall",
            ),
            &["actor", "reason"],
        )?;
        registry.register(Box::new(restarts.clone()))?;
        for actor in &supervised {
            // Shown from the start: a counter that first appears at 1 raises no alert on its increase.
            for reason in ExitReason::LABELS {
                restarts.with_label_values(&[actor.name(), reason]);
            }
        }
        let slots = supervised
            .into_iter()
            .map(|supervised| Slot {
                supervised,
                running: None,
                generation: 0,
                failures: 0,
                restarts: 0,
                last_exit: None,
            })
            .collect();
        Ok(HealthSupervisor {
            slots,
            restarts,
            backends,
            give_up: Box::new(give_up),
            retiring: false,
        })
    }

    fn launch(&mut self, index: usize, ctx: &mut Context<Self>) {
        if self.retiring {
            return;
        }
        let slot = &mut self.slots[index];
        slot.generation += 1;
        let generation = slot.generation;
        let supervisor = ctx.address();
        let exited: ExitNotice = Box::new(move |reason| {
            supervisor.do_send(Exited {
                slot: index,
                generation,
                reason,
            })
        });
        let arbiter = Arbiter::new();
        match slot.supervised.launch(generation, &arbiter.handle(), exited) {
            Ok(life) => {
                slot.running = Some(Running {
                    arbiter,
                    life,
                    since: Instant::now(),
                })
            }
            Err(error) => {
                tracing::error!(
                    actor = slot.supervised.name(),
                    error,
                    "actor cannot be started; trying again"
                );
                arbiter.stop();
                self.launch_later(index, ctx);
            }
        }
    }

    fn launch_later(&mut self, index: usize, ctx: &mut Context<Self>) {
        let slot = &mut self.slots[index];
        slot.failures = slot.failures.saturating_add(1);
        ctx.run_later(restart_wait(slot.failures), move |supervisor, ctx| {
            supervisor.launch(index, ctx)
        });
    }

    /// Takes down what is left of a generation, then starts the next: its pump first, so that no two are in the group for one worker.
    fn replace(&mut self, index: usize, reason: ExitReason, ctx: &mut Context<Self>) {
        let slot = &mut self.slots[index];
        let Some(Running { arbiter, life, since }) = slot.running.take() else {
            return;
        };
        let name = slot.supervised.name().to_string();
        tracing::error!(actor = name, generation = slot.generation, %reason, "actor ended; a fresh one takes over");
        self.restarts.with_label_values(&[name.as_str(), reason.label()]).inc();
        slot.supervised.fell();
        slot.restarts += 1;
        slot.last_exit = Some(reason.to_string());
        if since.elapsed() > PROVEN_AFTER {
            slot.failures = 0;
        }
        let supervisor = ctx.address();
        actix::spawn(async move {
            let mut ended = true;
            if let Some(pump) = life.pump {
                pump.handle.command(Command::Stop);
                ended = tokio::task::spawn_blocking(move || pump.join(PUMP_LIMIT))
                    .await
                    .unwrap_or(false);
            }
            // Calls of the old generation end with its runtime. A stalled thread never gets here; it is abandoned.
            arbiter.stop();
            supervisor.do_send(TakenDown {
                slot: index,
                pump_ended: ended,
            });
        });
    }
}

/// Nothing of the old generation is left (or its pump would not end).
#[derive(Message)]
#[rtype(result = "()")]
struct TakenDown {
    slot: usize,
    pump_ended: bool,
}

impl Actor for HealthSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        (0..self.slots.len()).for_each(|index| self.launch(index, ctx));
        if !self.backends.every.is_zero() && !self.backends.checks.is_empty() {
            let checks = BackendChecks::new(std::mem::take(&mut self.backends.checks));
            checks.start_round();
            ctx.run_interval(self.backends.every, move |_, _| checks.start_round());
        }
        let mut last_look = Instant::now();
        ctx.run_interval(LOOK_EVERY, move |supervisor, ctx| {
            // Late ourselves: the whole process stood still (SIGSTOP, a paused machine), and the others may not have had their turn.
            let stood_still = std::mem::replace(&mut last_look, Instant::now()).elapsed() > LOOK_EVERY * 3;
            if stood_still {
                return;
            }
            for index in 0..supervisor.slots.len() {
                let stalled = |running: &Running| {
                    running
                        .life
                        .progress
                        .iter()
                        .any(|progress| progress.idle() > STALLED_AFTER)
                };
                if supervisor.slots[index].running.as_ref().is_some_and(stalled) {
                    supervisor.replace(index, ExitReason::Stalled, ctx);
                }
            }
        });
    }
}

impl Handler<Exited> for HealthSupervisor {
    type Result = ();
    fn handle(&mut self, exited: Exited, ctx: &mut Self::Context) {
        if !self.retiring && self.slots[exited.slot].generation == exited.generation {
            self.replace(exited.slot, exited.reason, ctx);
        }
    }
}

impl Handler<TakenDown> for HealthSupervisor {
    type Result = ();
    fn handle(&mut self, down: TakenDown, ctx: &mut Self::Context) {
        if down.pump_ended {
            self.launch_later(down.slot, ctx);
        } else {
            let name = self.slots[down.slot].supervised.name();
            (self.give_up)(format!(
                "the pump of {name} does not end, and two for one worker must not run"
            ));
        }
    }
}

impl Handler<Survey> for HealthSupervisor {
    type Result = MessageResult<Survey>;
    fn handle(&mut self, _: Survey, _: &mut Self::Context) -> Self::Result {
        let report = |slot: &Slot| ActorReport {
            actor: slot.supervised.name().to_string(),
            running: slot.running.is_some(),
            generation: slot.generation,
            restarts: slot.restarts,
            last_exit: slot.last_exit.clone(),
        };
        MessageResult(self.slots.iter().map(report).collect())
    }
}

impl Handler<Retire> for HealthSupervisor {
    type Result = MessageResult<Retire>;
    fn handle(&mut self, _: Retire, _: &mut Self::Context) -> Self::Result {
        self.retiring = true;
        let retired = self.slots.iter_mut().filter_map(|slot| {
            let Running { arbiter, life, .. } = slot.running.take()?;
            Some(Retired {
                name: slot.supervised.name().to_string(),
                arbiter,
                life,
            })
        });
        MessageResult(retired.collect())
    }
}

#[cfg(test)]
impl Handler<crate::proxy::reply_router::Fault> for HealthSupervisor {
    type Result = ();
    fn handle(&mut self, _: crate::proxy::reply_router::Fault, _: &mut Self::Context) {
        panic!("asked to panic");
    }
}
