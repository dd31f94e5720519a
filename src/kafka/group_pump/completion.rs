//! A record's end, on its way from the worker back to the pump.

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do for it: its offset may be committed.
    Done,
    /// The worker gave it back without an answer: the partition's next owner has to run it.
    Released,
}

/// One record's end.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    pub partition: i32,
    /// The epoch of the record's `Intake`.
    pub epoch: u32,
    pub offset: i64,
    pub outcome: Outcome,
}
