//! Keeps the other actors alive: hears how each ended, and replaces it with a fresh one from its factory after a growing wait.
//!
//! Owns: the threads that actors live on; one slot per supervised actor, with its pump, its generation and its restart count. Sent to by: the watchers of
//! `spawn_watched` (`Exited`), the management API (`Survey`), reloads (`Supervise`, `Release`), shutdown (`Retire`). Death: the process exits 70, so that whatever runs
//! it starts it again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actix::{Actor, Arbiter, AsyncContext, Context, Handler, Message, MessageResult};
use prometheus::{IntCounterVec, Opts, Registry};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::metrics::register;
use crate::supervision::arbiter_pool::{ArbiterPool, ThreadId};
use crate::supervision::backoff::restart_wait;
use crate::supervision::exit_reason::ExitReason;
use crate::supervision::stall::{LOOK_EVERY, Looks, Watched};
use crate::supervision::supervised::{ExitNotice, Home, Pump, Supervised};

/// A stopped pump must have ended after this: leaving a group can take a session timeout while brokers are away.
pub(super) const PUMP_LIMIT: Duration = Duration::from_secs(20);
/// An actor that lived this long starts its restart waits anew.
const PROVEN_AFTER: Duration = Duration::from_secs(60);

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

/// Ends supervision: from now on nothing is restarted. Returns what still runs, for the shutdown to drain. Sent by the shutdown.
#[derive(Message)]
#[rtype(result = "Retired")]
pub struct Retire;

/// What still runs, handed over to the shutdown.
#[derive(Default)]
pub struct Retired {
    /// The pumps of running actors, each with its actor's name.
    pub pumps: Vec<(String, Box<dyn Pump>)>,
    /// The threads that actors live on.
    pub arbiters: Vec<Arbiter>,
}

/// The actor.
pub struct HealthSupervisor {
    /// By their numbers.
    pub(super) slots: BTreeMap<usize, Slot>,
    /// The number of the next slot.
    next: usize,
    pub(super) threads: ArbiterPool,
    restarts: IntCounterVec,
    /// Ends the process with exit code 70, and logs the reason it is called with.
    give_up: Box<dyn Fn(String)>,
    /// Called at each look: proof that this thread turns.
    on_look: Box<dyn Fn()>,
    /// Set by `Retire`: nothing is launched or replaced any more.
    retiring: bool,
}

/// One supervised actor, through all its generations.
pub(super) struct Slot {
    pub(super) supervised: Box<dyn Supervised>,
    /// `None` between a generation's end and the launch of the next.
    pub(super) running: Option<Running>,
    /// Hears of the end of the generation that was taken down last: true once its pump has ended, false if it does not.
    pub(super) leaving: Option<oneshot::Receiver<bool>>,
    /// The number of the last generation that was launched; the first is 1.
    generation: u64,
    /// Ends and failed launches in a row: the next launch waits longer with each. A generation that lived for `PROVEN_AFTER` resets it.
    failures: u32,
    /// Generations that ended and were replaced, as `/status` shows it.
    restarts: u64,
    /// How the last generation ended, as `/status` shows it.
    last_exit: Option<String>,
}

/// The present generation of an actor.
pub(super) struct Running {
    pub(super) thread: ThreadId,
    pub(super) home: Home,
    watched: Vec<Watched>,
    pub(super) pump: Option<Box<dyn Pump>>,
    /// When it was launched.
    since: Instant,
}

/// Registers what counts replaced actors.
///
/// # Errors
/// The metric's name is taken.
pub fn restarts(registry: &Registry) -> prometheus::Result<IntCounterVec> {
    let options = Opts::new(
        "actor_restarts_total",
        "Actors replaced after a panic, an end or a stall",
    );
    register(registry, IntCounterVec::new(options, &["actor", "reason"])?)
}

impl HealthSupervisor {
    /// Supervises these, and counts in `restarts`. `give_up` is called when one cannot be replaced safely.
    pub fn new(
        supervised: Vec<Box<dyn Supervised>>,
        restarts: IntCounterVec,
        give_up: impl Fn(String) + 'static,
    ) -> Self {
        let mut supervisor = HealthSupervisor {
            slots: BTreeMap::new(),
            next: 0,
            threads: ArbiterPool::default(),
            restarts,
            give_up: Box::new(give_up),
            on_look: Box::new(|| {}),
            retiring: false,
        };
        for each in supervised {
            supervisor.add(each);
        }
        supervisor
    }

    /// A slot for one more; returns its number.
    pub(super) fn add(&mut self, supervised: Box<dyn Supervised>) -> usize {
        // Shown from the start: a counter that first appears at 1 raises no alert on its increase.
        for reason in ExitReason::LABELS {
            self.restarts.with_label_values(&[supervised.name(), reason]);
        }
        let slot = Slot {
            supervised,
            running: None,
            leaving: None,
            generation: 0,
            failures: 0,
            restarts: 0,
            last_exit: None,
        };
        let number = self.next;
        self.next += 1;
        self.slots.insert(number, slot);
        number
    }

    /// The same, calling `on_look` about once a second for as long as the supervisor turns.
    pub fn with_watchdog(mut self, on_look: impl Fn() + 'static) -> Self {
        self.on_look = Box::new(on_look);
        self
    }

    pub(super) fn launch(&mut self, index: usize, ctx: &mut Context<Self>) {
        if self.retiring {
            return;
        }
        // None: it was released.
        let Some(slot) = self.slots.get_mut(&index) else { return };
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
        let (thread, arbiter) = self.threads.enter(slot.supervised.needs_own_thread());
        let home = Home::new(arbiter);
        match slot.supervised.launch(generation, &home, exited) {
            Ok(life) => {
                slot.running = Some(Running {
                    thread,
                    home,
                    watched: life.progress.into_iter().map(Watched::new).collect(),
                    pump: life.pump,
                    since: Instant::now(),
                })
            }
            Err(error) => {
                tracing::error!(
                    actor = slot.supervised.name(),
                    error,
                    "actor cannot be started; trying again"
                );
                home.over.cancel();
                self.threads.leave(thread);
                self.launch_later(index, ctx);
            }
        }
    }

    fn launch_later(&mut self, index: usize, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        slot.failures = slot.failures.saturating_add(1);
        ctx.run_later(restart_wait(slot.failures), move |supervisor, ctx| {
            supervisor.launch(index, ctx)
        });
    }

    /// Looks at all threads, actors and pumps, `passed` after the last look, and replaces those that stand still.
    fn replace_stalled(&mut self, passed: Duration, ctx: &mut Context<Self>) {
        let frozen = self.threads.stalled(passed);
        frozen.iter().for_each(|thread| self.threads.give_up(*thread));
        for index in self.slots.keys().copied().collect::<Vec<_>>() {
            let is_stalled = |running: &mut Running| {
                let watched = running.watched.iter_mut();
                // No short cut: each is to be looked at, whatever the others show.
                let any = watched.fold(false, |any, watched| watched.is_stalled(passed) | any);
                frozen.contains(&running.thread) || (any && self.threads.turns(running.thread))
            };
            let running = self.slots.get_mut(&index).and_then(|slot| slot.running.as_mut());
            if running.is_some_and(is_stalled) {
                self.replace(index, ExitReason::Stalled, ctx);
            }
        }
    }

    /// Takes down what is left of a generation, then starts the next: its pump first, so that no two are in the group for one worker.
    fn replace(&mut self, index: usize, reason: ExitReason, ctx: &mut Context<Self>) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let Some(running) = slot.running.take() else { return };
        let name = slot.supervised.name().to_string();
        tracing::error!(event = "restart", actor = name, generation = slot.generation, %reason, "actor ended; a fresh one takes over");
        self.restarts.with_label_values(&[name.as_str(), reason.label()]).inc();
        slot.supervised.generation_ended();
        slot.restarts += 1;
        slot.last_exit = Some(reason.to_string());
        if running.since.elapsed() > PROVEN_AFTER {
            slot.failures = 0;
        }
        let (left, leaving) = oneshot::channel();
        slot.leaving = Some(leaving);
        let supervisor = ctx.address();
        actix::spawn(async move {
            let mut ended = true;
            if let Some(mut pump) = running.pump {
                pump.stop();
                ended = tokio::task::spawn_blocking(move || pump.join(PUMP_LIMIT))
                    .await
                    .unwrap_or(false);
            }
            // The calls of the old generation end. On a frozen thread they do so if it ever turns again.
            running.home.over.cancel();
            // Err: nobody waits for it.
            let _ = left.send(ended);
            supervisor.do_send(TakenDown {
                slot: index,
                thread: running.thread,
                pump_ended: ended,
            });
        });
    }
}

/// The old generation is taken down. Sent by the task of `replace`.
#[derive(Message)]
#[rtype(result = "()")]
struct TakenDown {
    slot: usize,
    thread: ThreadId,
    /// False: the pump's thread did not end within `PUMP_LIMIT`.
    pump_ended: bool,
}

impl Actor for HealthSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let all: Vec<_> = self.slots.keys().copied().collect();
        all.into_iter().for_each(|index| self.launch(index, ctx));
        let mut looks = Looks::new(Instant::now());
        ctx.run_interval(LOOK_EVERY, move |supervisor, ctx| {
            let passed = looks.look(Instant::now());
            supervisor.replace_stalled(passed, ctx);
            (supervisor.on_look)();
        });
    }
}

impl Handler<Exited> for HealthSupervisor {
    type Result = ();
    fn handle(&mut self, exited: Exited, ctx: &mut Self::Context) {
        let is_present = |slot: &Slot| slot.generation == exited.generation;
        if !self.retiring && self.slots.get(&exited.slot).is_some_and(is_present) {
            self.replace(exited.slot, exited.reason, ctx);
        }
    }
}

impl Handler<TakenDown> for HealthSupervisor {
    type Result = ();
    fn handle(&mut self, down: TakenDown, ctx: &mut Self::Context) {
        self.threads.leave(down.thread);
        if down.pump_ended {
            self.launch_later(down.slot, ctx);
        } else {
            let slot = self.slots.get(&down.slot);
            let name = slot.map_or("a released actor", |slot| slot.supervised.name());
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
        MessageResult(self.slots.values().map(report).collect())
    }
}

impl Handler<Retire> for HealthSupervisor {
    type Result = MessageResult<Retire>;
    fn handle(&mut self, _: Retire, _: &mut Self::Context) -> Self::Result {
        self.retiring = true;
        let pumps = self.slots.values_mut().filter_map(|slot| {
            let pump = slot.running.take()?.pump?;
            Some((slot.supervised.name().to_string(), pump))
        });
        MessageResult(Retired {
            pumps: pumps.collect(),
            arbiters: std::mem::take(&mut self.threads).into_arbiters(),
        })
    }
}
