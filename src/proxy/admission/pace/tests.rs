//! The estimate in front of a simulated topic.

mod sim;

use proptest::prelude::*;

use self::sim::{STEP, Sim};
use super::*;
use crate::proxy::admission::span::TICK;

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
        // A raise that goes too far costs this much at worst: of 3,000 random cases the median had none in vain, and the worst 26 %.
        prop_assert!(in_vain as f64 <= answered as f64 / 3.0, "{in_vain} in vain, {answered} answered");
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

/// A topic whose every answer takes long, and that is used within what it carries.
#[derive(Debug)]
struct Slow {
    timeout: Duration,
    /// Of the timeout, that an answer takes.
    slowness: f64,
    /// Requests a second.
    rate: f64,
    /// Of what the servers can do; `None`: they take as many as come.
    share: Option<f64>,
}

impl Slow {
    fn sim(&self) -> Sim {
        let service = self.timeout.mul_f64(self.slowness).max(STEP);
        let servers = |share: f64| (self.rate * service.as_secs_f64() / share).ceil() as usize;
        let mut sim = Sim::new(self.timeout, self.share.map_or(usize::MAX / 2, servers), STEP);
        sim.service = service;
        sim
    }

    /// How many timeouts pass until nobody has been refused or waited in vain for one of them; fails beyond 60.
    fn recovers(&self, sim: &mut Sim) -> u32 {
        let recovered = (1..=60).find(|_| {
            sim.counts();
            sim.run_at(self.timeout, self.rate);
            let (answered, in_vain, refused) = sim.counts();
            answered > 0 && (in_vain, refused) == (0, 0)
        });
        recovered.unwrap_or_else(|| panic!("never admitted whole again: {self:?}"))
    }
}

fn slow() -> impl Strategy<Value = Slow> {
    let share = prop::option::of(0.3..0.95_f64);
    (millis(2_000..40_000), 0.1..0.99_f64, 5.0..200.0_f64, share).prop_map(|(timeout, slowness, rate, share)| Slow {
        timeout,
        slowness,
        rate,
        share,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever its latency, and however long and often it stood still, a topic is admitted whole again.
    #[test]
    fn what_stood_still_is_admitted_whole_again(
        slow in slow(),
        standstills in prop::collection::vec((0.05..6.0_f64, 0.2..5.0_f64), 1..4),
    ) {
        let mut sim = slow.sim();
        sim.run_at(slow.timeout * 4, slow.rate);
        for (stands_still, moves) in standstills {
            sim.stands_still = true;
            sim.run_at(slow.timeout.mul_f64(stands_still), slow.rate);
            sim.stands_still = false;
            sim.run_at(slow.timeout.mul_f64(moves), slow.rate);
        }
        slow.recovers(&mut sim);
    }

    /// Servers that each take long, and many times what they can do: most of what is admitted is answered, and the servers are busy.
    #[test]
    fn slow_servers_under_overload_answer_most_of_what_is_admitted(
        timeout in millis(8_000..40_000),
        slowness in 0.1..0.4_f64,
        servers in 20_usize..100,
        overload in 1.5..20.0_f64,
    ) {
        let mut sim = Sim::new(timeout, servers, timeout.mul_f64(slowness));
        sim.run(timeout * 8, overload);
        sim.counts();
        let span = timeout * 24;
        sim.run(span, overload);
        let (answered, in_vain, refused) = sim.counts();
        let possible = sim.capacity() * span.as_secs_f64() / STEP.as_secs_f64();
        prop_assert!(answered as f64 > 0.5 * possible, "{answered} of {possible}; {in_vain} in vain, {refused} refused");
        prop_assert!(in_vain < answered && refused > 0, "{in_vain} in vain, {answered} answered, {refused} refused");
    }
}

/// 4.4 s of 5, forty a second, and one standstill of three seconds. At full length, an hour of it with one each few minutes.
#[test]
fn one_standstill_costs_a_slow_topic_seconds() {
    let slow = Slow {
        timeout: Duration::from_secs(5),
        slowness: 0.88,
        rate: 40.0,
        share: None,
    };
    let long = std::env::var_os("KHP_LONG").is_some_and(|value| value == "1");
    let mut sim = slow.sim();
    sim.run_at(Duration::from_secs(20), slow.rate);
    assert_eq!(sim.counts(), (624, 0, 0));
    let (mut random, mut slowest) = (1_u64, 0);
    while sim.now < Duration::from_secs(if long { 3_600 } else { 60 }) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let seconds = if long { 1 + (random >> 33) % 30 } else { 3 };
        sim.stands_still = true;
        sim.run_at(Duration::from_secs(seconds), slow.rate);
        sim.stands_still = false;
        let timeouts = slow.recovers(&mut sim);
        slowest = slowest.max(timeouts);
        println!("stood still for {seconds} s, whole again {timeouts} timeouts later");
        sim.run_at(Duration::from_secs(60), slow.rate);
    }
    assert!(slowest <= if long { 12 } else { 3 }, "{slowest}");
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
