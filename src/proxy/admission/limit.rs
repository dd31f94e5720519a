//! A limit of requests in flight that finds out by itself what a topic carries. Pure; time is given, in ticks.
//!
//! Only requests that time out bring it down, and not before those have left that were let in under another limit. As long as too few
//! do, and requests are refused, it is raised by a step at a time. If answers then take longer, there is a queue, and the step is taken
//! back. If they do not, the topic carries more, and the next step is twice as large.

use std::time::Duration;

use crate::proxy::admission::span::{Seen, Span};

/// The first requests of a topic in flight are always admitted. They are no queue, and their answers end a refusal. A limit below that
/// would limit nothing.
pub const ALWAYS_ADMITTED: usize = 16;
/// An answer within this share of the timeout means that there is no standing queue.
pub const QUICK: f64 = 0.5;
/// A queue is suspected from this share of the timeout on. It is no limit: a topic may need all of its timeout.
pub const SUSPICIOUS: f64 = 0.9;
/// What requests that time out leave of the limit at least, when fewer are answered than it admits.
const DEEPEST_CUT: f64 = 0.5;
/// What they leave of it at most.
pub const CUT: f64 = 0.85;
/// So many requests that time out for each that is answered do not bring the limit down.
const BEARABLE: f64 = 0.05;
/// Answers that take this much longer do not show a queue.
const NOISE: f64 = 0.05;
/// By which share the limit is raised at first: as far as a queue would bear it, within these.
const LEAST_STEP: f64 = 0.03;
const FIRST_STEP: f64 = 0.125;
/// The largest step, after others that were not taken back.
const LARGEST_STEP: f64 = 1.0;
/// Steps that were taken back make the next one wait, up to this many timeouts.
const LONGEST_PAUSE: u32 = 8;

/// Requests that may be in flight, and how the limit came about.
#[derive(Debug)]
pub struct Limit {
    /// Requests in flight, at most.
    pub most: f64,
    /// No answer has come within a timeout, and requests time out. Then none is admitted but those that always are.
    pub stalled: bool,
    /// Ticks since it was stalled.
    since_stall: u32,
    /// Ticks since no answer came for the latest part of a timeout.
    since_silence: u32,
    /// Ticks since the limit was changed and what is in flight is within it.
    age: u32,
    /// Ticks since a request was refused, or too many waited in vain.
    pub calm: u32,
    /// By which share it is raised next.
    step: f64,
    /// The limit before it was raised, and the quickest answer then; `None`: it was not raised.
    raised_from: Option<(f64, Duration)>,
    /// Timeouts to wait before it is raised.
    pause: u32,
}

/// What a limit is judged by.
pub struct View {
    pub seen: Seen,
    /// Requests in flight.
    pub pending: usize,
    /// The latest part of a timeout.
    pub latest: Span,
    /// No answer has come within a timeout, and requests time out.
    pub stalls: bool,
    /// The quickest of its answers shows that there is no standing queue.
    pub is_quick: bool,
    /// Requests answered within the last timeout.
    pub carried: f64,
    /// In ticks.
    pub timeout: u32,
}

impl Limit {
    pub fn new(most: f64, stalled: bool) -> Self {
        Limit {
            most: most.max(ALWAYS_ADMITTED as f64),
            stalled,
            since_silence: 0,
            since_stall: if stalled { 0 } else { u32::MAX / 2 },
            age: 0,
            calm: 0,
            step: FIRST_STEP,
            raised_from: None,
            pause: 1,
        }
    }

    /// Takes in whether a stall begins or ends. A stall that comes soon after another was brought about by a limit that is too high: all
    /// that is let in waits too long.
    fn stall(&mut self, view: &View) {
        self.since_stall += 1;
        let ends = self.stalled && view.seen.answered > 0;
        if view.stalls && !self.stalled && self.since_stall < 3 * view.timeout {
            self.lower(DEEPEST_CUT * self.most);
        } else if ends {
            // It may have begun before anything was known.
            self.most = self.most.max(view.carried);
        }
        self.stalled = view.stalls || self.stalled && !ends;
        if self.stalled {
            self.since_stall = 0;
        }
    }

    /// Takes in a tick.
    pub fn tick(&mut self, view: &View) {
        self.stall(view);
        // What is in flight beyond the limit was let in before it.
        self.age = if view.pending as f64 > self.most {
            0
        } else {
            self.age + 1
        };
        self.since_silence = if view.latest.seen.answered == 0 {
            0
        } else {
            self.since_silence + 1
        };
        let latest = &view.latest.seen;
        let in_vain =
            view.seen.in_vain > 0 && !view.is_quick && latest.in_vain as f64 > BEARABLE * latest.answered as f64;
        self.calm = if in_vain || view.seen.refused > 0 {
            0
        } else {
            self.calm + 1
        };
        // Before that, requests time out that were let in under another limit.
        let is_settled = self.age > view.timeout;
        match self.raised_from {
            Some((before, _)) if in_vain => self.lower(CUT * before),
            None if in_vain && is_settled && self.since_silence > view.timeout => {
                let (least, most) = (DEEPEST_CUT * self.most, CUT * self.most);
                self.lower(view.carried.clamp(least, most));
            }
            _ if in_vain => {}
            Some((before, quickest)) if self.age > view.timeout + view.latest.ticks => {
                let bearable = quickest.mul_f64(1.0 + (self.step / 2.0).max(NOISE));
                match view.latest.seen.quickest {
                    Some(now) if now > bearable => self.lower(before),
                    Some(_) => {
                        self.step = (2.0 * self.step).min(LARGEST_STEP);
                        self.pause = 1;
                        self.raised_from = None;
                        self.raise(view);
                    }
                    None => {}
                }
            }
            // The queue is short, and twice as much would still be in time.
            _ if view.is_quick && self.age >= view.latest.ticks && self.most < QUICK * view.carried => {
                self.raise(view);
                self.raised_from = None;
            }
            None if self.age >= self.pause * view.timeout => {
                // At first no further than the queue would bear.
                self.step = (SUSPICIOUS * view.carried / self.most - 1.0).clamp(LEAST_STEP, FIRST_STEP);
                self.raise(view);
            }
            _ => {}
        }
    }

    /// Raises the limit, unless nobody was refused: then it does not limit.
    fn raise(&mut self, view: &View) {
        if let (Some(quickest), 1..) = (view.latest.seen.quickest, view.latest.seen.refused) {
            self.raised_from = Some((self.most, quickest));
            self.most *= 1.0 + self.step;
            self.age = 0;
        }
    }

    fn lower(&mut self, most: f64) {
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        self.step = FIRST_STEP;
        self.raised_from = None;
        self.most = most.max(ALWAYS_ADMITTED as f64);
        self.age = 0;
    }
}
