//! A simulated queue in front of some servers, behind the admission that the estimate makes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::IntGauge;

use crate::proxy::admission::in_flight::{Admission, Permit, TopicLoad};
use crate::proxy::admission::pace::Pace;

/// From one arrival of requests to the next.
pub const STEP: Duration = Duration::from_millis(100);

/// A request that was admitted.
pub struct Admitted {
    pub arrived: Duration,
    pub timeout: Duration,
    pub permit: Permit,
}

/// What became of the requests of one timeout.
#[derive(Default)]
pub struct Counts {
    pub answered: u64,
    pub in_vain: u64,
    pub refused: u64,
}

pub struct Sim {
    pub admission: Admission,
    pub load: Arc<TopicLoad>,
    pub paces: Vec<Pace>,
    /// Of the requests that arrive.
    pub timeout: Duration,
    /// Requests that can be worked on at once, and how long each that is begun takes.
    pub servers: usize,
    pub service: Duration,
    pub now: Duration,
    /// Not begun.
    pub queue: Vec<Admitted>,
    /// Begun, with when each will be done.
    pub at_work: Vec<(Duration, Admitted)>,
    /// Never begun by anybody, and holding no server: a backend path that hangs.
    pub hung: Vec<Admitted>,
    /// Whoever carries the requests stands still: none is begun, and none is answered.
    pub stands_still: bool,
    /// When that was last so.
    pub resumed: Duration,
    pub counts: HashMap<Duration, Counts>,
}

impl Sim {
    pub fn new(timeout: Duration, servers: usize, service: Duration) -> Self {
        Sim {
            admission: Admission::new(usize::MAX, usize::MAX, IntGauge::new("g", "g").unwrap()),
            load: Arc::default(),
            paces: Vec::new(),
            timeout,
            servers,
            // In whole steps, or a server would idle from its end to the next.
            service: STEP * service.as_millis().div_ceil(STEP.as_millis()) as u32,
            now: Duration::ZERO,
            queue: Vec::new(),
            at_work: Vec::new(),
            hung: Vec::new(),
            stands_still: false,
            resumed: Duration::ZERO,
            counts: HashMap::new(),
        }
    }

    /// What the servers can do in a step.
    pub fn capacity(&self) -> f64 {
        self.servers as f64 * STEP.as_secs_f64() / self.service.as_secs_f64()
    }

    pub fn arrive(&mut self, hangs: bool) {
        let Some(permit) = self.admission.admit(&self.load, self.timeout) else {
            self.counts.entry(self.timeout).or_default().refused += 1;
            return;
        };
        let line = if hangs { &mut self.hung } else { &mut self.queue };
        line.push(Admitted {
            arrived: self.now,
            timeout: self.timeout,
            permit,
        });
    }

    pub fn end(&mut self, request: Admitted, done: Option<Duration>) {
        let counts = self.counts.entry(request.timeout).or_default();
        match done.map(|done| done - request.arrived) {
            Some(took) if took <= request.timeout => {
                counts.answered += 1;
                request.permit.queue().answered(took);
            }
            _ => {
                counts.in_vain += 1;
                request.permit.queue().waited_in_vain();
            }
        }
    }

    /// One step, with this many requests arriving.
    pub fn step(&mut self, arrivals: usize) {
        let before = self.now;
        self.now += STEP;
        (0..arrivals).for_each(|_| self.arrive(false));
        let now = self.now;
        let is_expired = |request: &mut Admitted| request.arrived + request.timeout <= now;
        let mut expired: Vec<_> = self.queue.extract_if(.., is_expired).collect();
        expired.extend(self.hung.extract_if(.., is_expired));
        expired.into_iter().for_each(|request| self.end(request, None));
        if self.stands_still {
            self.resumed = now;
            return self.tick(before);
        }
        let done: Vec<_> = self.at_work.extract_if(.., |(done, _)| *done <= now).collect();
        done.into_iter()
            .for_each(|(done, request)| self.end(request, Some(done.max(self.resumed))));
        let free = self.servers.saturating_sub(self.at_work.len()).min(self.queue.len());
        let begun = self.queue.drain(..free).map(|request| (now + self.service, request));
        self.at_work.extend(begun);
        self.tick(before);
    }

    pub fn tick(&mut self, before: Duration) {
        if before.as_secs() != self.now.as_secs() {
            self.load.tick(&mut self.paces);
        }
    }

    /// Steps through `time` with this many requests a second.
    pub fn run_at(&mut self, time: Duration, rate: f64) {
        self.run(time, rate * STEP.as_secs_f64() / self.capacity());
    }

    /// Steps through `time` at a share of capacity, fractions carried over.
    pub fn run(&mut self, time: Duration, share: f64) {
        let mut due = 0.0;
        let end = self.now + time;
        while self.now < end {
            due += share * self.capacity();
            let arrivals = due as usize;
            due -= arrivals as f64;
            self.step(arrivals);
        }
    }

    /// Of the requests of the present timeout, since it was last asked: answered, in vain, refused.
    pub fn counts(&mut self) -> (u64, u64, u64) {
        let counts = self.counts.remove(&self.timeout).unwrap_or_default();
        (counts.answered, counts.in_vain, counts.refused)
    }
}
