//! What attempts are made of: the right to one, and what one came to.

use std::time::Duration;

use crate::kafka::group_pump::intake::Lease;
use crate::processor::backend::breaker::Probe;
use crate::processor::backend::call_pool::CallPlace;
use crate::processor::backend::outcome::{Answer, BackendError};
use crate::processor::bodies::readers::ReaderPlace;
use crate::processor::record::deadline::Deadline;

/// Whether the record may begin: its turn has come, and the rate limit has let it in. A record enters once, whatever its attempts.
#[derive(PartialEq)]
pub(super) enum Entry {
    Waits,
    Entered,
}

/// The right to one attempt.
pub(super) struct Right<'a> {
    /// Its result decides what the breaker does next.
    pub(super) probe: Option<Probe>,
    pub(super) place: CallPlace<'a>,
    /// For a body that lies elsewhere.
    pub(super) reader: Option<ReaderPlace>,
}

/// Why there is no right to an attempt.
pub(super) enum Refused {
    DeadlinePassed,
    /// The round is over.
    TimeIsUp,
    Revoked,
    BreakerOpen,
}

/// Waits for `future` as long as the record is ours and somebody waits for it.
pub(super) async fn unless_refused<T>(
    lease: &Lease,
    deadline: &Deadline,
    future: impl Future<Output = T>,
) -> Result<T, Refused> {
    tokio::select! {
        biased;
        () = lease.revoked() => Err(Refused::Revoked),
        () = deadline.passed() => Err(Refused::DeadlinePassed),
        done = future => Ok(done),
    }
}

/// The attempts that were made.
pub(super) struct Made {
    pub(super) count: u32,
    /// What stands if no further attempt is made.
    pub(super) outcome: Result<Answer, BackendError>,
    /// When the last one began (monotonic ms).
    pub(super) asked: u64,
}

impl Made {
    /// Ends the reading of a body that the backend answered before it had taken all of it. Its answer may break off then; it counts only
    /// where no later one comes.
    pub(super) fn give_back_reader(&mut self) {
        if let Ok(Answer { rest: Some(rest), .. }) = &mut self.outcome {
            rest.reading = None;
        }
    }
}

/// What one attempt says of the backend.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Works,
    Fails,
    /// Nothing: it was cut short, since nobody waits longer.
    CutShort,
    /// Nothing: the request could not even be sent.
    Unsent,
}

/// What follows an attempt.
pub(super) enum Next {
    /// Its outcome stands.
    Stands,
    /// Another one of the same round, after a wait.
    Repeat(Duration),
    /// The first of a new round, after a wait: the backend is out, which is not the record's fault.
    NewRound(Duration),
}
