//! What the supervisor can start, and start again.

use std::time::Duration;

use actix::ArbiterHandle;
use tokio_util::sync::CancellationToken;

use crate::process::progress::Progress;
use crate::supervision::exit_reason::ExitReason;

/// Tells the supervisor how an actor's generation ended.
pub type ExitNotice = Box<dyn FnOnce(ExitReason) + Send>;

/// An actor that can be started any number of times.
pub trait Supervised: Send {
    /// Names the actor in logs, metrics and `/status`.
    fn name(&self) -> &str;

    /// The actor shares its thread with no other: what others do must not delay it.
    fn needs_own_thread(&self) -> bool {
        false
    }

    /// Starts a new generation; `exited` is to be called when it ends.
    ///
    /// # Errors
    /// Why it cannot start, as a sentence for the log; the supervisor tries again after a wait.
    fn launch(&mut self, generation: u64, home: &Home, exited: ExitNotice) -> Result<Life, String>;

    /// The last generation ended: nothing may be sent to it from now on, even where its thread is frozen and still holds its inputs.
    fn generation_ended(&mut self) {}
}

/// Where one generation of an actor lives. Clones are the same place.
#[derive(Clone)]
pub struct Home {
    /// Its thread. Others may live on it, too.
    pub arbiter: ArbiterHandle,
    /// Cancelled by the supervisor when the generation is over: then all its tasks must end.
    pub over: CancellationToken,
}

impl Home {
    pub fn new(arbiter: ArbiterHandle) -> Self {
        Home {
            arbiter,
            over: CancellationToken::new(),
        }
    }
}

/// What one generation of an actor consists of, besides its home.
pub struct Life {
    /// Each part of the generation touches its own; one that stands still for too long ends the generation.
    pub progress: Vec<Progress>,
    /// The thread that feeds the actor, where it has one. It must end before the next generation begins.
    pub pump: Option<Box<dyn Pump>>,
}

/// A thread that feeds an actor with records. Whoever holds this owns the thread.
pub trait Pump: Send {
    /// The thread takes in nothing more, finishes what is under way, and ends.
    fn drain(&self);

    /// The thread ends as soon as it can.
    fn stop(&self);

    /// The thread finished all that was under way before it ended.
    fn is_drained(&self) -> bool;

    /// Something that it handed over is still worked on, though it has ended itself.
    fn is_worked_on(&self) -> bool {
        false
    }

    /// Waits for the thread's end; false when `limit` passed first. Blocks.
    fn join(&mut self, limit: Duration) -> bool;
}
