//! Actors that come and go while the others live on: what a reload adds and takes away.

use std::time::{Duration, Instant};

use actix::{AsyncContext, Handler, Message, ResponseFuture};
use tokio::sync::oneshot;

use crate::supervision::arbiter_pool::ThreadId;
use crate::supervision::health_supervisor::{HealthSupervisor, PUMP_LIMIT, Running, Slot};
use crate::supervision::stall::LOOK_EVERY;
use crate::supervision::supervised::{Pump, Supervised};

/// Keeps one more alive. Sent by a reload.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Supervise(pub Box<dyn Supervised>);

/// Lets an actor finish what it has, and end: it takes in nothing more. Answered once its pump has ended. What it has handed on by then
/// may go on until `limit`. Sent by a reload.
#[derive(Message)]
#[rtype(result = "Released")]
pub struct Release {
    pub actor: String,
    pub limit: Duration,
}

/// What became of an actor that was to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It finished what it had, or had nothing.
    Drained,
    /// It was cut off at the limit.
    CutOff,
    /// Its pump has not ended, and another one must not run.
    Stuck,
}

impl Handler<Supervise> for HealthSupervisor {
    type Result = ();
    fn handle(&mut self, Supervise(supervised): Supervise, ctx: &mut Self::Context) {
        let index = self.add(supervised);
        self.launch(index, ctx);
    }
}

impl Handler<Release> for HealthSupervisor {
    type Result = ResponseFuture<Released>;
    fn handle(&mut self, Release { actor, limit }: Release, ctx: &mut Self::Context) -> Self::Result {
        let is_it = |(_, slot): &(&usize, &Slot)| slot.supervised.name() == actor;
        let number = self.slots.iter().find(is_it).map(|(number, _)| *number);
        let Some(mut slot) = number.and_then(|number| self.slots.remove(&number)) else {
            return Box::pin(async { Released::Drained });
        };
        let Some(Running { thread, home, pump, .. }) = slot.running.take() else {
            return Box::pin(left(slot.leaving));
        };
        let (supervisor, until) = (ctx.address(), Instant::now() + limit);
        Box::pin(async move {
            let (released, pump) = match pump {
                Some(pump) => drained(pump, limit).await,
                None => (Released::Drained, None),
            };
            slot.supervised.generation_ended();
            let rest = async move {
                while pump.as_ref().is_some_and(|pump| pump.is_worked_on()) && Instant::now() < until {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                home.over.cancel();
                supervisor.do_send(Left(thread));
            };
            actix::spawn(rest);
            released
        })
    }
}

/// Waits for a generation that is being taken down, if there is one.
async fn left(leaving: Option<oneshot::Receiver<bool>>) -> Released {
    match leaving {
        Some(leaving) => match leaving.await {
            Ok(false) => Released::Stuck,
            // Err: the supervisor's thread ends, and all with it.
            Ok(true) | Err(_) => Released::Drained,
        },
        None => Released::Drained,
    }
}

/// Lets a pump finish what it has, and stops it at the limit; gives it back.
async fn drained(mut pump: Box<dyn Pump>, limit: Duration) -> (Released, Option<Box<dyn Pump>>) {
    let wait = move || {
        pump.drain();
        let released = if pump.join(limit) {
            match pump.is_drained() {
                true => Released::Drained,
                false => Released::CutOff,
            }
        } else {
            pump.stop();
            match pump.join(PUMP_LIMIT) {
                true => Released::CutOff,
                false => Released::Stuck,
            }
        };
        (released, Some(pump))
    };
    // Err: never, `wait` does not panic.
    tokio::task::spawn_blocking(wait)
        .await
        .unwrap_or((Released::Stuck, None))
}

/// An actor that was released has left its thread. Sent by the task of `Release`.
#[derive(Message)]
#[rtype(result = "()")]
struct Left(ThreadId);

impl Handler<Left> for HealthSupervisor {
    type Result = ();
    fn handle(&mut self, Left(thread): Left, _: &mut Self::Context) {
        self.threads.leave(thread);
    }
}
