//! A processor, as a script: it takes in what its partitions have, and calls its backend for so many at once.

use std::collections::VecDeque;

use super::agenda::Letter;

/// One processor.
#[derive(Default)]
pub struct Processor {
    /// Taken in, not begun.
    pub queue: VecDeque<Letter>,
    /// Calls under way.
    pub calls: Vec<Letter>,
    /// Ends, once its calls are done.
    pub stops: bool,
    /// Counts its lives: a call of an earlier one ended with it.
    pub life: u64,
}

impl Processor {
    /// What it had when it ended, in order: it was not committed, and the next owner begins it anew.
    pub fn give_up(&mut self) -> Vec<Letter> {
        self.life += 1;
        self.stops = false;
        self.calls.drain(..).chain(self.queue.drain(..)).collect()
    }

    /// What it has not begun.
    pub fn give_back(&mut self) -> Vec<Letter> {
        self.queue.drain(..).collect()
    }
}
