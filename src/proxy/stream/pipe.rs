//! The bytes of one answer, from the router's thread to the thread of the client's connection.
//!
//! The bytes are bounded by window and credit. So are the pieces: a few are on their way as they came, and those behind them wait with the
//! router, small ones joined. Otherwise each byte of a window could cost the memory of a record.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use prometheus::IntGauge;
use tokio::sync::mpsc;

use crate::proxy::admission::bytes::ByteBudget;
use crate::proxy::stream::outcome::Outcome;

/// Pieces on their way as they came.
const UNDER_WAY: usize = 4;
/// A piece that waits and is smaller than this is joined with others: its record would take as much memory again.
const SMALL: usize = 4 << 10;
/// Joined pieces are not made larger than this.
const JOINED: usize = 16 << 10;

/// What comes out.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The next bytes; never empty.
    Bytes(Bytes),
    /// No more come.
    End(Outcome),
}

/// What both ends know.
struct Flow {
    /// Bytes that have come out.
    taken: AtomicU64,
    /// Bytes that have come in, and not out.
    held: AtomicUsize,
    /// Something waits with the router until there is room.
    waits: AtomicBool,
    gauge: IntGauge,
    budget: ByteBudget,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.give_back(self.held.load(Ordering::Relaxed));
    }
}

impl Flow {
    fn give_back(&self, bytes: usize) {
        self.gauge.sub(bytes as i64);
        self.budget.give_back(bytes);
    }
}

/// The router's end.
pub struct Inlet {
    events: mpsc::Sender<Event>,
    waiting: VecDeque<Bytes>,
    /// Small pieces, joined; behind `waiting`.
    small: BytesMut,
    /// Behind both.
    end: Option<Outcome>,
    flow: Arc<Flow>,
}

/// The body's end.
pub struct Outlet {
    events: mpsc::Receiver<Event>,
    flow: Arc<Flow>,
}

/// A pipe. `gauge` and `budget` show the bytes in it.
pub fn pipe(gauge: &IntGauge, budget: &ByteBudget) -> (Inlet, Outlet) {
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let flow = Arc::new(Flow {
        taken: AtomicU64::new(0),
        held: AtomicUsize::new(0),
        waits: AtomicBool::new(false),
        gauge: gauge.clone(),
        budget: budget.clone(),
    });
    let inlet = Inlet {
        events: sender,
        waiting: VecDeque::new(),
        small: BytesMut::new(),
        end: None,
        flow: flow.clone(),
    };
    let outlet = Outlet { events: receiver, flow };
    (inlet, outlet)
}

impl Inlet {
    /// The next bytes.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.flow.held.fetch_add(bytes.len(), Ordering::Relaxed);
        self.flow.gauge.add(bytes.len() as i64);
        self.flow.budget.hold(bytes.len());
        if self.nothing_waits() {
            match self.events.try_send(Event::Bytes(bytes)) {
                Err(mpsc::error::TrySendError::Full(Event::Bytes(bytes))) => self.keep(bytes),
                // Closed: nobody reads on, as `is_left` tells.
                Ok(()) | Err(_) => return,
            }
        } else {
            self.keep(bytes);
        }
        self.flush();
    }

    /// No more bytes come.
    pub fn end(&mut self, outcome: Outcome) {
        self.end.get_or_insert(outcome);
        self.flush();
    }

    /// Hands over what waits, as far as there is room. True: nothing waits any more.
    pub fn flush(&mut self) -> bool {
        if self.hand_over() {
            return true;
        }
        // The body looks at this after it has made room. With the fences, either it sees this, or its room is seen here.
        self.flow.waits.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.hand_over()
    }

    fn hand_over(&mut self) -> bool {
        loop {
            if self.nothing_waits() && self.end.is_none() {
                return true;
            }
            let Ok(room) = self.events.try_reserve() else {
                return self.is_left();
            };
            let next = match self.waiting.pop_front() {
                Some(bytes) => Event::Bytes(bytes),
                None if !self.small.is_empty() => Event::Bytes(self.small.split().freeze()),
                None => match self.end.take() {
                    Some(outcome) => Event::End(outcome),
                    None => return true,
                },
            };
            room.send(next);
        }
    }

    fn keep(&mut self, bytes: Bytes) {
        if bytes.len() < SMALL {
            self.small.extend_from_slice(&bytes);
        }
        if bytes.len() >= SMALL || self.small.len() >= JOINED {
            if !self.small.is_empty() {
                self.waiting.push_back(std::mem::take(&mut self.small).freeze());
            }
            if bytes.len() >= SMALL {
                self.waiting.push_back(bytes);
            }
        }
    }

    fn nothing_waits(&self) -> bool {
        self.waiting.is_empty() && self.small.is_empty()
    }

    /// Bytes that the client has taken.
    pub fn taken(&self) -> u64 {
        self.flow.taken.load(Ordering::Acquire)
    }

    /// The client has taken all that came.
    pub fn is_empty(&self) -> bool {
        self.flow.held.load(Ordering::Relaxed) == 0
    }

    /// Nobody reads on.
    pub fn is_left(&self) -> bool {
        self.events.is_closed()
    }
}

impl Outlet {
    /// The next event. The end comes once; a router that is gone ends it as well.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let event = self.events.poll_recv(cx);
        event.map(|event| event.unwrap_or(Event::End(Outcome::RepliesLost)))
    }

    /// These bytes of what came out were taken; returns how many those are in all.
    pub fn took(&self, bytes: usize) -> u64 {
        self.flow.held.fetch_sub(bytes, Ordering::Relaxed);
        self.flow.give_back(bytes);
        self.flow.taken.fetch_add(bytes as u64, Ordering::AcqRel) + bytes as u64
    }

    /// Something waits with the router, and there is room now. Asked after each event; true once.
    pub fn makes_room(&self) -> bool {
        fence(Ordering::SeqCst);
        self.flow.waits.load(Ordering::Relaxed) && self.flow.waits.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn made() -> (Inlet, Outlet, IntGauge, IntGauge) {
        let (gauge, bytes) = (IntGauge::new("g", "g").unwrap(), IntGauge::new("b", "b").unwrap());
        let (inlet, outlet) = pipe(&gauge, &ByteBudget::new(0, bytes.clone()));
        (inlet, outlet, gauge, bytes)
    }

    #[test]
    fn many_small_pieces_take_little_more_than_their_bytes() {
        let (mut inlet, outlet, gauge, bytes) = made();
        let record = Bytes::from(vec![b'x'; 300]);
        for _ in 0..100_000 {
            inlet.push(record.slice(..1));
        }
        inlet.push(Bytes::new());
        assert!(inlet.waiting.len() <= 100_000 / JOINED + 1);
        assert!(inlet.small.capacity() <= 2 * JOINED);
        assert_eq!((gauge.get(), bytes.get(), inlet.is_empty()), (100_000, 100_000, false));
        drop(inlet);
        drop(outlet);
        assert_eq!((gauge.get(), bytes.get()), (0, 0));
    }

    /// Two threads: a reader that waits for the router's answer to `makes_room` must never be forgotten.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn all_bytes_come_out_in_order_however_the_ends_run() {
        let (mut inlet, mut outlet, gauge, _) = made();
        let (refill, mut refills) = mpsc::unbounded_channel::<()>();
        let router = tokio::spawn(async move {
            for number in 0..200_000_u32 {
                inlet.push(Bytes::copy_from_slice(&number.to_be_bytes()));
                while refills.try_recv().is_ok() {
                    inlet.flush();
                }
                if number % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            inlet.end(Outcome::Complete);
            while refills.recv().await.is_some() {
                inlet.flush();
            }
        });
        let mut got = Vec::new();
        let outcome = loop {
            let next = tokio::time::timeout(std::time::Duration::from_secs(20), poll_fn(|cx| outlet.poll(cx)));
            match next.await.expect("something comes") {
                Event::Bytes(bytes) => {
                    got.extend_from_slice(&bytes);
                    assert_eq!(outlet.took(bytes.len()), got.len() as u64);
                }
                Event::End(outcome) => break outcome,
            }
            if outlet.makes_room() {
                refill.send(()).unwrap();
            }
        };
        drop(refill);
        router.await.unwrap();
        let expected: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
        assert!(outcome == Outcome::Complete && got == expected);
        assert_eq!(gauge.get(), 0);
    }
}
