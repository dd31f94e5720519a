//! A simulated queue in front of some servers, behind the admission that the estimate makes.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::IntGauge;
use proptest::prelude::*;

use super::*;
use crate::proxy::admission::in_flight::{Admission, Permit, TopicLoad};

/// From one arrival of requests to the next.
const STEP: Duration = Duration::from_millis(100);

/// A request that was admitted.
struct Admitted {
    arrived: Duration,
    timeout: Duration,
    permit: Permit,
}

/// What became of the requests of one timeout.
#[derive(Default)]
struct Counts {
    answered: u64,
    in_vain: u64,
    refused: u64,
}

struct Sim {
    admission: Admission,
    load: Arc<TopicLoad>,
    paces: Vec<Pace>,
    /// Of the requests that arrive.
    timeout: Duration,
    /// Requests that can be worked on at once, and how long each that is begun takes.
    servers: usize,
    service: Duration,
    now: Duration,
    /// Not begun.
    queue: Vec<Admitted>,
    /// Begun, with when each will be done.
    at_work: Vec<(Duration, Admitted)>,
    /// Never begun by anybody, and holding no server: a backend path that hangs.
    hung: Vec<Admitted>,
    counts: HashMap<Duration, Counts>,
}

impl Sim {
    fn new(timeout: Duration, servers: usize, service: Duration) -> Self {
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
            counts: HashMap::new(),
        }
    }

    /// What the servers can do in a step.
    fn capacity(&self) -> f64 {
        self.servers as f64 * STEP.as_secs_f64() / self.service.as_secs_f64()
    }

    fn arrive(&mut self, hangs: bool) {
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

    fn end(&mut self, request: Admitted, done: Option<Duration>) {
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
    fn step(&mut self, arrivals: usize) {
        let before = self.now;
        self.now += STEP;
        (0..arrivals).for_each(|_| self.arrive(false));
        let now = self.now;
        let is_expired = |request: &mut Admitted| request.arrived + request.timeout <= now;
        let mut expired: Vec<_> = self.queue.extract_if(.., is_expired).collect();
        expired.extend(self.hung.extract_if(.., is_expired));
        expired.into_iter().for_each(|request| self.end(request, None));
        let done: Vec<_> = self.at_work.extract_if(.., |(done, _)| *done <= now).collect();
        done.into_iter()
            .for_each(|(done, request)| self.end(request, Some(done)));
        let free = self.servers.saturating_sub(self.at_work.len()).min(self.queue.len());
        let begun = self.queue.drain(..free).map(|request| (now + self.service, request));
        self.at_work.extend(begun);
        if before.as_secs() != now.as_secs() {
            self.load.tick(&mut self.paces);
        }
    }

    /// Steps through `time` at a share of capacity, fractions carried over.
    fn run(&mut self, time: Duration, share: f64) {
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
    fn counts(&mut self) -> (u64, u64, u64) {
        let counts = self.counts.remove(&self.timeout).unwrap_or_default();
        (counts.answered, counts.in_vain, counts.refused)
    }
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// At start, after pauses, in bursts that the servers take at once, and where each takes almost as long as it may.
    #[test]
    fn what_would_be_answered_in_time_is_not_refused(
        timeout in millis(2_000..40_000),
        slowness in 0.01..0.95_f64,
        servers in 1_usize..200,
        phases in prop::collection::vec((0_u64..60, 0.0..0.9_f64, prop::bool::ANY), 1..8),
    ) {
        let service = (timeout - STEP).mul_f64(slowness);
        let mut sim = Sim::new(timeout, servers, service);
        for (seconds, share, burst) in phases {
            if burst && sim.queue.is_empty() && sim.at_work.is_empty() {
                sim.step(servers);
            }
            sim.run(Duration::from_secs(seconds), share);
            sim.run(timeout * 2, 0.0);
        }
        let (_, in_vain, refused) = sim.counts();
        if in_vain == 0 {
            prop_assert_eq!(refused, 0);
        }
    }

    /// A backend whose answers suddenly take long, but not too long, and that takes as many at once as come.
    #[test]
    fn what_becomes_slow_is_not_refused(
        timeout in millis(4_000..40_000),
        slowness in (0.01..0.8_f64, 0.01..0.8_f64),
        arrivals in 1_usize..50,
    ) {
        let mut sim = Sim::new(timeout, usize::MAX, timeout.mul_f64(slowness.0));
        for slowness in [slowness.0, slowness.1, slowness.0] {
            sim.service = timeout.mul_f64(slowness);
            for _ in 0..timeout.as_millis() * 3 / STEP.as_millis() {
                sim.step(arrivals);
            }
        }
        let (_, in_vain, refused) = sim.counts();
        prop_assert_eq!((in_vain, refused), (0, 0));
    }

    /// Some paths of a backend hang; the others answer quickly, and nobody is refused for the former's sake.
    #[test]
    fn hung_requests_do_not_get_quick_ones_refused(timeout in millis(4_000..40_000), hung in 1_usize..300) {
        let mut sim = Sim::new(timeout, 10, timeout / 20);
        for _ in 0..3 {
            (0..hung).for_each(|_| sim.arrive(true));
            sim.run(timeout + TICK, 0.5);
        }
        let (_, in_vain, refused) = sim.counts();
        prop_assert!(in_vain > 0);
        prop_assert_eq!(refused, 0);
    }

    /// Under overload what is admitted is answered and the servers are kept busy; when the load goes, so does the refusal.
    #[test]
    fn overload_is_refused_and_the_rest_answered(
        timeout in millis(8_000..40_000),
        slowness in 0.01..0.1_f64,
        servers in 20_usize..100,
        overload in 1.5..20.0_f64,
    ) {
        let mut sim = Sim::new(timeout, servers, timeout.mul_f64(slowness));
        sim.run(timeout * 6, overload);
        sim.counts();
        let span = timeout * 6;
        sim.run(span, overload);
        let (answered, in_vain, refused) = sim.counts();
        let possible = sim.capacity() * span.as_secs_f64() / STEP.as_secs_f64();
        prop_assert!(answered as f64 > 0.75 * possible, "{answered} of {possible}; {in_vain} in vain, {refused} refused");
        prop_assert!(in_vain as f64 <= 0.25 * answered as f64, "{in_vain} in vain, {answered} answered");
        prop_assert!(refused > 0);
        sim.run(timeout * 3, 0.5);
        sim.counts();
        sim.run(timeout * 3, 0.5);
        let (_, in_vain, refused) = sim.counts();
        prop_assert_eq!((in_vain, refused), (0, 0));
    }

    /// Servers that are away for a while and come back: whatever then arrives within their capacity is taken.
    #[test]
    fn after_an_outage_it_recovers_by_itself(timeout in millis(2_000..40_000), servers in 1_usize..100, away in 1_u32..10) {
        let mut sim = Sim::new(timeout, servers, timeout / 20);
        sim.run(timeout, 0.5);
        sim.servers = 0;
        let arrivals = servers.div_ceil(2);
        for _ in 0..(timeout * away).as_millis() / STEP.as_millis() {
            sim.step(arrivals);
        }
        sim.servers = servers;
        sim.run(timeout * 3, 0.5);
        sim.counts();
        sim.run(timeout, 0.5);
        let (answered, in_vain, refused) = sim.counts();
        prop_assert!(answered > 0);
        prop_assert_eq!((in_vain, refused), (0, 0));
    }
}

/// Two routes of one topic: what one of them bears is too long for the other.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_secs(1);

/// In each step, so many of one timeout and then so many of the other.
fn both(sim: &mut Sim, time: Duration, long: usize, short: usize) {
    let end = sim.now + time;
    while sim.now < end {
        sim.timeout = SHORT;
        (0..short).for_each(|_| sim.arrive(false));
        sim.timeout = LONG;
        sim.step(long);
    }
}

#[test]
fn a_queue_too_long_for_one_timeout_refuses_only_its_requests() {
    let mut sim = Sim::new(LONG, 10, STEP);
    // Five seconds of work wait, and stay.
    sim.step(500);
    both(&mut sim, SHORT * 10, 10, 2);
    sim.counts.clear();
    both(&mut sim, SHORT * 20, 10, 2);
    let (answered, in_vain, refused) = sim.counts();
    assert!(
        answered > 1_900 && (in_vain, refused) == (0, 0),
        "{answered} {in_vain} {refused}"
    );
    sim.timeout = SHORT;
    let (_, in_vain, refused) = sim.counts();
    assert!(refused > 10 * in_vain, "{refused} refused, {in_vain} in vain");
    // When it is gone, so is the refusal.
    both(&mut sim, LONG, 5, 2);
    sim.counts.clear();
    both(&mut sim, LONG, 5, 2);
    for timeout in [LONG, SHORT] {
        sim.timeout = timeout;
        let (answered, in_vain, refused) = sim.counts();
        assert!(
            answered > 0 && (in_vain, refused) == (0, 0),
            "{answered} {in_vain} {refused}"
        );
    }
}

#[test]
fn slow_answers_to_patient_requests_do_not_get_impatient_ones_refused() {
    let mut sim = Sim::new(LONG, usize::MAX, STEP);
    // The impatient are few, and for a while they are answered too late.
    let mut run = |seconds: u64, service: Duration| {
        sim.counts.clear();
        for _ in 0..seconds {
            (sim.timeout, sim.service) = (SHORT, service);
            sim.step(3);
            (sim.timeout, sim.service) = (LONG, SHORT * 20);
            (0..9).for_each(|_| sim.step(5));
        }
        sim.timeout = SHORT;
        sim.counts()
    };
    assert_eq!(run(40, STEP), (40 * 3, 0, 0));
    run(30, SHORT * 2);
    run(30, STEP);
    let (answered, in_vain, refused) = run(30, STEP);
    assert_eq!((answered, in_vain, refused), (90, 0, 0));
}
