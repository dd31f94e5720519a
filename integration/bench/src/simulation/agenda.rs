//! What happens when. Events of one moment happen in the order in which they were noted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use actix_khp::wire::CorrelationId;

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub struct Letter {
    pub id: CorrelationId,
    /// The proxy that asks.
    pub proxy: usize,
    /// Where its request says that the reply is awaited.
    pub reply_partition: i32,
    /// Of its request topic.
    pub partition: usize,
    pub deadline: Duration,
}

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// The next request of a client.
    Arrives,
    /// A record is in its partition.
    Requested(Letter),
    /// A call of a processor is done. The number tells its lives apart.
    Called(usize, u64, Letter),
    /// A reply was read by whoever reads its partition.
    Replied(Letter),
    /// A second has passed.
    Tick,
    /// A processor is to end: it takes in nothing more.
    ProcessorStops(usize),
    ProcessorIsKilled(usize),
    ProcessorStarts(usize),
    /// The group has noticed who is there.
    Rebalanced,
    /// A proxy says that it is not ready.
    ProxyStops(usize),
    /// No load balancer sends it requests any more.
    ProxyIsTakenOut(usize),
    /// It takes no connections any more.
    ProxyCloses(usize),
    ProxyStarts(usize),
    BrokerIsLost,
    End,
}

/// The events to come.
#[derive(Default)]
pub struct Agenda {
    heap: BinaryHeap<Reverse<(Duration, u64)>>,
    events: std::collections::HashMap<u64, Event>,
    next: u64,
}

impl Agenda {
    /// In whole milliseconds, as tokio's timers are.
    pub fn note(&mut self, at: Duration, event: Event) {
        let at = Duration::from_millis(at.as_micros().div_ceil(1000) as u64);
        self.heap.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
        self.next += 1;
    }

    pub fn next(&mut self) -> Option<(Duration, Event)> {
        let Reverse((at, number)) = self.heap.pop()?;
        self.events.remove(&number).map(|event| (at, event))
    }
}
