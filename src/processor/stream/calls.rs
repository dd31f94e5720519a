//! The calls of one worker whose requesters take streams: each can be cancelled, is given credit, and ends when its requester is gone.
//!
//! All of it lives on the worker's Arbiter. Every worker of a request topic hears the whole control topic, since nobody knows which of them
//! gets a request.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::Notify;

use crate::processor::record::reply_topics::Destination;
use crate::processor::stream::early_cancels::EarlyCancels;
use crate::wire::beside::{InstanceId, StreamOffer};
use crate::wire::control::Control;
use crate::wire::stream::StreamId;

/// A requester that was silent for so long, while Kafka was well, is gone. It writes every 5 s.
pub const SILENT_FOR: Duration = Duration::from_secs(20);

/// What calls hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A record of the control topic.
    Control(Control),
    /// The control topic was read to its end, and this requester is still silent.
    Silent(InstanceId),
    /// The control topic is not read, or not to its end: silence means nothing.
    Behind,
}

/// Why a call ends before its answer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody reads the answer any more.
    Cancelled,
    /// Whoever asked is gone.
    RequesterGone,
}

/// One call, from the decoding of its request to the end of its answer.
pub struct Call {
    /// A copy: the request's own bytes are not held for as long as its answer streams.
    pub correlation_id: Bytes,
    pub offer: StreamOffer,
    since: Instant,
    /// Bytes that may have been sent so far, by the credit that came.
    credit: Cell<u64>,
    /// Set when its answer begins to stream.
    stream: RefCell<Option<Streamed>>,
    ending: Cell<Option<Ending>>,
    changed: Notify,
}

/// Where an answer is streamed to.
#[derive(Clone)]
pub struct Streamed {
    pub id: StreamId,
    pub destination: Destination,
    /// Of each piece; keeps them together where no partition is named.
    pub key: Option<Bytes>,
    /// The request was sealed, and so is what answers it.
    pub is_sealed: bool,
}

impl Call {
    /// Comes when the call has to end. Cancel safe.
    pub async fn ended(&self) -> Ending {
        loop {
            let changed = self.changed.notified();
            if let Some(ending) = self.ending.get() {
                return ending;
            }
            changed.await;
        }
    }

    /// Comes when `credit` or `ending` may have changed. One task waits at a time. Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    pub fn credit(&self) -> u64 {
        self.credit.get()
    }

    /// The answer streams from now on.
    pub fn streams(&self, streamed: Streamed) {
        *self.stream.borrow_mut() = Some(streamed);
    }

    fn is_stream(&self, id: StreamId) -> bool {
        self.stream.borrow().as_ref().is_some_and(|stream| stream.id == id)
    }

    fn end(&self, ending: Ending) -> bool {
        let is_first = self.ending.get().is_none();
        if is_first {
            self.ending.set(Some(ending));
            self.changed.notify_one();
        }
        is_first
    }
}

/// All open calls of a worker. Clones share them.
#[derive(Clone)]
pub struct Calls(Rc<RefCell<State>>);

struct State {
    /// The same request may be under way twice: after a rebalance, or because it was written twice.
    open: HashMap<Bytes, Vec<Rc<Call>>>,
    requesters: HashMap<InstanceId, Requester>,
    early: EarlyCancels,
    /// When silence last meant nothing.
    trouble: Instant,
    /// When `tick` was last called.
    ticked: Instant,
    heeded: IntCounter,
}

/// A process that has calls open here.
struct Requester {
    heard: Instant,
    calls: usize,
}

/// A call that is open until this is dropped.
pub struct OpenCall {
    call: Rc<Call>,
    calls: Calls,
}

impl std::ops::Deref for OpenCall {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut state = self.calls.0.borrow_mut();
        if let Some(calls) = state.open.get_mut(&self.call.correlation_id) {
            calls.retain(|call| !Rc::ptr_eq(call, &self.call));
            if calls.is_empty() {
                state.open.remove(&self.call.correlation_id);
            }
        }
        let instance = self.call.offer.instance;
        // None: the answer is kept.
        if let Some(requester) = state.requesters.get_mut(&instance) {
            requester.calls -= 1;
            if requester.calls == 0 {
                state.requesters.remove(&instance);
            }
        }
    }
}

impl Calls {
    /// `heeded` counts calls that are ended; `early` cancels whose request is not there yet.
    pub fn new(heeded: IntCounter, early: IntGauge) -> Self {
        let now = Instant::now();
        Calls(Rc::new(RefCell::new(State {
            open: HashMap::new(),
            requesters: HashMap::new(),
            early: EarlyCancels::new(early),
            trouble: now,
            ticked: now,
            heeded,
        })))
    }

    /// A request is begun. `None`: it was cancelled before it came.
    pub fn begin(&self, correlation_id: &[u8], offer: StreamOffer) -> Option<OpenCall> {
        let mut state = self.0.borrow_mut();
        if state.early.remove(correlation_id, Instant::now()) {
            state.heeded.inc();
            return None;
        }
        drop(state);
        Some(self.begin_in_any_case(correlation_id, offer))
    }

    /// The same of a request that runs once it has come, whoever has left.
    pub fn begin_in_any_case(&self, correlation_id: &[u8], offer: StreamOffer) -> OpenCall {
        let now = Instant::now();
        let mut state = self.0.borrow_mut();
        let call = Rc::new(Call {
            correlation_id: Bytes::copy_from_slice(correlation_id),
            offer,
            since: now,
            credit: Cell::new(offer.window),
            stream: RefCell::new(None),
            ending: Cell::new(None),
            changed: Notify::new(),
        });
        state
            .open
            .entry(call.correlation_id.clone())
            .or_default()
            .push(call.clone());
        if !offer.is_stored() {
            let requester = state.requesters.entry(offer.instance);
            requester.or_insert(Requester { heard: now, calls: 0 }).calls += 1;
        }
        drop(state);
        OpenCall {
            call,
            calls: self.clone(),
        }
    }

    /// Takes in what happened.
    pub fn hear(&self, event: &Event) {
        let now = Instant::now();
        let mut state = self.0.borrow_mut();
        match event {
            Event::Control(Control::Cancel { correlation_id, stream }) => state.cancel(correlation_id, *stream, now),
            Event::Control(Control::Credit {
                correlation_id,
                stream,
                total,
            }) => {
                let calls = state.open.get(correlation_id).into_iter().flatten();
                for call in calls.filter(|call| call.is_stream(*stream)) {
                    call.credit.set(call.credit.get().max(*total));
                    call.changed.notify_one();
                }
            }
            Event::Control(Control::Alive { instance }) => {
                if let Some(requester) = state.requesters.get_mut(instance) {
                    requester.heard = now;
                }
            }
            Event::Silent(instance) => state.end_calls_of(*instance, now),
            Event::Behind => state.trouble = now,
        }
    }

    /// Called once a second; returns the requesters that seem to be gone. `well`: Kafka answers.
    pub fn tick(&self, well: bool) -> Vec<InstanceId> {
        let now = Instant::now();
        let mut state = self.0.borrow_mut();
        // This process stood still, or its thread did.
        let stood_still = now.duration_since(state.ticked) > SILENT_FOR / 4;
        if !well || stood_still {
            state.trouble = now;
        }
        state.ticked = now;
        let silent = state.requesters.iter().filter(|(_, it)| state.is_silent(it, now));
        silent.map(|(instance, _)| *instance).collect()
    }

    /// Where answers are streamed to now, and somebody reads them as they come.
    pub fn streams(&self) -> Vec<Streamed> {
        let state = self.0.borrow();
        let calls = state.open.values().flatten();
        let awaited = calls.filter(|call| !call.offer.is_stored());
        awaited.filter_map(|call| call.stream.borrow().clone()).collect()
    }
}

impl State {
    fn cancel(&mut self, correlation_id: &Bytes, stream: Option<StreamId>, now: Instant) {
        match (self.open.get(correlation_id), stream) {
            (Some(calls), _) => {
                let named = |call: &&Rc<Call>| stream.is_none_or(|stream| call.is_stream(stream));
                let ended = calls.iter().filter(named).filter(|call| call.end(Ending::Cancelled));
                self.heeded.inc_by(ended.count() as u64);
            }
            (None, None) => self.early.insert(correlation_id, now),
            // Of a call that is over.
            (None, Some(_)) => {}
        }
    }

    fn is_silent(&self, requester: &Requester, now: Instant) -> bool {
        now.duration_since(requester.heard.max(self.trouble)) >= SILENT_FOR
    }

    fn end_calls_of(&self, instance: InstanceId, now: Instant) {
        let requester = self.requesters.get(&instance);
        if !requester.is_some_and(|requester| self.is_silent(requester, now)) {
            return;
        }
        let of_it = |call: &&Rc<Call>| call.offer.instance == instance && now.duration_since(call.since) >= SILENT_FOR;
        let ended = self.open.values().flatten().filter(of_it);
        let ended = ended.filter(|call| call.end(Ending::RequesterGone)).count();
        if ended > 0 {
            tracing::warn!(
                calls = ended,
                seconds = SILENT_FOR.as_secs(),
                "a requester was not heard for so long while Kafka was well: its calls end"
            );
        }
    }
}

#[cfg(test)]
mod tests;
