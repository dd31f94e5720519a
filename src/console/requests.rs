//! The requests that are remembered: the last, the slowest and the failed ones, of each role.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::exchange::{Exchange, Role};

/// The last requests that are kept of each role.
pub const LAST: usize = 1000;
/// The slowest, of the last quarter of an hour.
pub const SLOWEST: usize = 100;
/// The last failed ones.
pub const FAILED: usize = 200;
/// How long a slow one is remembered.
const SLOW_FOR: Duration = Duration::from_secs(15 * 60);

/// A request that ended.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// Counts from 1 in each process.
    pub number: u64,
    pub exchange: Arc<Exchange>,
}

/// Which of them are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ring {
    /// The newest first.
    #[default]
    Last,
    /// The slowest first.
    Slowest,
    /// The newest first.
    Failed,
}

/// All that are remembered.
#[derive(Debug, Default)]
pub struct Requests {
    count: u64,
    proxy: Rings,
    processor: Rings,
}

#[derive(Debug, Default)]
struct Rings {
    last: VecDeque<Remembered>,
    /// The slowest first.
    slowest: Vec<Remembered>,
    failed: VecDeque<Remembered>,
}

impl Requests {
    /// Takes one in.
    pub fn push(&mut self, exchange: Arc<Exchange>) {
        self.count += 1;
        let request = Remembered {
            number: self.count,
            exchange,
        };
        self.rings_mut(request.exchange.role).push(request);
    }

    /// Forgets the slow ones that are too old. Called once a second.
    pub fn forget_old(&mut self, now: Instant) {
        let is_recent = |slow: &Remembered| now.saturating_duration_since(slow.exchange.began) < SLOW_FOR;
        for rings in [&mut self.proxy, &mut self.processor] {
            rings.slowest.retain(is_recent);
        }
    }

    /// How many were taken in so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Those of a ring, in its order.
    pub fn of(&self, role: Role, ring: Ring) -> Vec<Remembered> {
        let rings = self.rings(role);
        match ring {
            Ring::Last => rings.last.iter().rev().cloned().collect(),
            Ring::Slowest => rings.slowest.clone(),
            Ring::Failed => rings.failed.iter().rev().cloned().collect(),
        }
    }

    /// Those that came after this number, the oldest first, `most` of them at most.
    pub fn after(&self, number: u64, most: usize) -> Vec<Remembered> {
        let newest = [&self.proxy, &self.processor].into_iter().flat_map(|rings| {
            let last = rings.last.iter().rev();
            last.take_while(move |request| request.number > number).take(most)
        });
        let mut found: Vec<_> = newest.cloned().collect();
        found.sort_by_key(|request| request.number);
        let passed_over = found.len().saturating_sub(most);
        found.drain(..passed_over);
        found
    }

    /// Those with this correlation id, request id or trace id; each once, the proxy's first.
    pub fn find(&self, id: &str) -> Vec<Remembered> {
        let mut found: Vec<Remembered> = Vec::new();
        for rings in [&self.proxy, &self.processor] {
            let all = rings.last.iter().chain(&rings.failed).chain(&rings.slowest);
            for request in all.filter(|request| request.is_called(id)) {
                if found.iter().all(|known| known.number != request.number) {
                    found.push(request.clone());
                }
            }
        }
        found
    }

    fn rings(&self, role: Role) -> &Rings {
        match role {
            Role::Proxy => &self.proxy,
            Role::Processor => &self.processor,
        }
    }

    fn rings_mut(&mut self, role: Role) -> &mut Rings {
        match role {
            Role::Proxy => &mut self.proxy,
            Role::Processor => &mut self.processor,
        }
    }
}

impl Rings {
    fn push(&mut self, request: Remembered) {
        if request.exchange.ending.is_failure() {
            push_bounded(&mut self.failed, request.clone(), FAILED);
        }
        let took = request.exchange.took;
        let at = self.slowest.partition_point(|slow| slow.exchange.took >= took);
        if at < SLOWEST {
            self.slowest.insert(at, request.clone());
            self.slowest.truncate(SLOWEST);
        }
        push_bounded(&mut self.last, request, LAST);
    }
}

fn push_bounded(ring: &mut VecDeque<Remembered>, request: Remembered, most: usize) {
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(request);
}

impl Remembered {
    fn is_called(&self, id: &str) -> bool {
        let exchange = &self.exchange;
        exchange.request_id.as_deref() == Some(id)
            || exchange.correlation_id.to_string() == id
            || self.trace_id().as_deref() == Some(id)
    }

    /// The trace it belongs to, as `traceparent` writes it.
    pub fn trace_id(&self) -> Option<String> {
        let trace = self.exchange.trace.as_ref()?;
        Some(format!("{:032x}", trace.context.trace))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Ending;
    use crate::exchange::Id;

    fn exchange(role: Role, id: &str, ms: u64, status: u16) -> Arc<Exchange> {
        let mut exchange = Exchange::begin(role);
        exchange.correlation_id = Id::Others(id.as_bytes().to_vec().into());
        exchange.took = Duration::from_millis(ms);
        exchange.ending = Ending::answered(status);
        Arc::new(exchange)
    }

    fn ids(requests: &[Remembered]) -> Vec<String> {
        let ids = requests
            .iter()
            .map(|request| request.exchange.correlation_id.to_string());
        ids.collect()
    }

    #[test]
    fn each_ring_is_bounded_and_has_its_order() {
        let mut requests = Requests::default();
        for number in 0..3 * LAST as u64 {
            let status = if number % 2 == 0 { 200 } else { 502 };
            requests.push(exchange(Role::Proxy, &number.to_string(), number % 500, status));
        }
        let last = requests.of(Role::Proxy, Ring::Last);
        assert_eq!((last.len(), &*ids(&last)[0]), (LAST, "2999"));
        let failed = requests.of(Role::Proxy, Ring::Failed);
        assert_eq!((failed.len(), &*ids(&failed)[1]), (FAILED, "2997"));
        let slowest = requests.of(Role::Proxy, Ring::Slowest);
        let times: Vec<_> = slowest.iter().map(|slow| slow.exchange.took).collect();
        assert!(times.len() == SLOWEST && times.is_sorted_by(|one, next| one >= next));
        assert_eq!(times[0], Duration::from_millis(499));
        assert!(requests.of(Role::Processor, Ring::Last).is_empty());
    }

    #[test]
    fn a_slow_one_is_forgotten_after_its_time() {
        let mut requests = Requests::default();
        requests.push(exchange(Role::Proxy, "slow", 60_000, 200));
        let began = requests.proxy.slowest[0].exchange.began;
        requests.forget_old(began + SLOW_FOR - Duration::from_millis(1));
        assert_eq!(ids(&requests.of(Role::Proxy, Ring::Slowest)), ["slow"]);
        requests.forget_old(began + SLOW_FOR);
        assert!(requests.of(Role::Proxy, Ring::Slowest).is_empty());
        assert_eq!(ids(&requests.of(Role::Proxy, Ring::Last)), ["slow"]);
    }

    #[test]
    fn a_request_is_found_by_its_ids_as_both_roles_saw_it() {
        let mut requests = Requests::default();
        requests.push(exchange(Role::Processor, "a", 1, 502));
        requests.push(exchange(Role::Proxy, "a", 2, 502));
        requests.push(exchange(Role::Proxy, "b", 2, 200));
        let mut called = Exchange::begin(Role::Proxy);
        called.called(b"order-7");
        requests.push(Arc::new(called));
        let found = requests.find("a");
        let roles: Vec<_> = found.iter().map(|request| request.exchange.role).collect();
        assert_eq!(roles, [Role::Proxy, Role::Processor]);
        assert_eq!(requests.find("order-7").len(), 1);
        assert!(requests.find("c").is_empty());
    }

    #[test]
    fn what_is_new_is_told_in_order_and_bounded() {
        let mut requests = Requests::default();
        for number in 0..10 {
            let role = if number % 2 == 0 { Role::Proxy } else { Role::Processor };
            requests.push(exchange(role, &number.to_string(), 1, 200));
        }
        assert_eq!(ids(&requests.after(7, 100)), ["7", "8", "9"]);
        assert_eq!(ids(&requests.after(0, 2)), ["8", "9"]);
        assert!(requests.after(10, 100).is_empty());
    }
}
