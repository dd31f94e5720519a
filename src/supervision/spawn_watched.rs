//! Starts an actor so that its end is always reported.
//!
//! `actix::Supervisor` restarts an actor that stopped, never one that panicked, and a panic is otherwise silent (actix
//! `supervisor.rs:154`, `context.rs:145`): so each actor's task is awaited here, and its end reported to whoever started it.

use std::any::Any;

use actix::dev::channel::channel;
use actix::{Actor, Addr, Context};

use crate::supervision::exit_reason::ExitReason;
use crate::supervision::supervised::Home;

/// Slots of an actor's mailbox. It does not bound our queues, since actix lets every clone of an address in: permits and windows do.
const MAILBOX: usize = 1024;

/// The text of a panic's payload.
pub fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| text.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".to_string())
}

/// Starts an actor and reports how its task ended, a panic in `make` included. The actor ends with `home.over`. `None`: the Arbiter's
/// thread is gone, and `exited` is never called.
pub fn spawn_watched<A>(
    home: &Home,
    make: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
    exited: impl FnOnce(ExitReason) + Send + 'static,
) -> Option<Addr<A>>
where
    A: Actor<Context = Context<A>>,
{
    let (sender, receiver) = channel(MAILBOX);
    let over = home.over.clone();
    let spawned = home.arbiter.spawn_fn(move || {
        let life = actix::spawn(over.run_until_cancelled_owned(async move {
            let mut context = Context::with_receiver(receiver);
            let actor = make(&mut context);
            context.into_future(actor).await
        }));
        actix::spawn(async move {
            exited(match life.await {
                Ok(_) => ExitReason::Stopped,
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => ExitReason::Panicked(panic_message(&*payload)),
                    Err(_cancelled) => ExitReason::Stopped,
                },
            });
        });
    });
    spawned.then(|| Addr::new(sender))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Arbiter, AsyncContext, Handler, MailboxError, Message, System};
    use tokio::sync::oneshot;

    struct Fragile;
    impl Actor for Fragile {
        type Context = Context<Self>;
    }
    #[derive(Message)]
    #[rtype(result = "u8")]
    struct Work(bool);
    impl Handler<Work> for Fragile {
        type Result = u8;
        fn handle(&mut self, work: Work, _: &mut Context<Self>) -> u8 {
            assert!(!work.0, "asked to panic");
            7
        }
    }

    fn watched(
        make: impl FnOnce(&mut Context<Fragile>) -> Fragile + Send + 'static,
    ) -> (Addr<Fragile>, oneshot::Receiver<ExitReason>, Arbiter) {
        let arbiter = Arbiter::new();
        let (tx, rx) = oneshot::channel();
        let addr = spawn_watched(&Home::new(arbiter.handle()), make, move |reason| {
            tx.send(reason).unwrap()
        })
        .unwrap();
        (addr, rx, arbiter)
    }

    #[test]
    fn a_panic_in_a_handler_is_told_with_its_message() {
        System::new().block_on(async {
            let (addr, exited, arbiter) = watched(|_| Fragile);
            assert_eq!(addr.send(Work(false)).await, Ok(7));
            assert_eq!(addr.send(Work(true)).await, Err(MailboxError::Closed));
            assert_eq!(exited.await.unwrap(), ExitReason::Panicked("asked to panic".into()));
            arbiter.stop();
        });
    }

    #[test]
    fn a_panic_in_the_factory_is_told() {
        System::new().block_on(async {
            let (addr, exited, arbiter) = watched(|_| panic!("no {}", "parts"));
            assert_eq!(exited.await.unwrap(), ExitReason::Panicked("no parts".into()));
            assert!(!addr.connected());
            arbiter.stop();
        });
    }

    #[test]
    fn a_panic_in_a_timer_is_told() {
        System::new().block_on(async {
            let (_addr, exited, arbiter) = watched(|ctx| {
                ctx.run_later(std::time::Duration::from_millis(1), |_, _| panic!("late"));
                Fragile
            });
            assert_eq!(exited.await.unwrap(), ExitReason::Panicked("late".into()));
            arbiter.stop();
        });
    }

    #[test]
    fn a_dead_arbiter_is_told_at_once() {
        System::new().block_on(async {
            let arbiter = Arbiter::new();
            let handle = arbiter.handle();
            arbiter.stop();
            tokio::task::spawn_blocking(move || arbiter.join())
                .await
                .unwrap()
                .unwrap();
            assert!(spawn_watched(&Home::new(handle), |_| Fragile, |_| ()).is_none());
        });
    }
}
