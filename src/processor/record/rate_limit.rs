//! How often a record of one topic may begin: one each 1/rate seconds, in the order in which they asked.
//!
//! The first in the queue waits for the time, with the only timer there is; all others wait for the one before them. So each is woken once,
//! however many there are. A limiter that wakes all of them at each place spends a core on a few thousand, and misses its rate.

use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::processor::metrics::Counted;

/// A late timer or a busy thread costs no places: the schedule is caught up with, where it is not later than this. 100 ms are far beyond
/// what a timer is late on a busy machine.
const CATCH_UP: Duration = Duration::from_millis(100);

/// The rate limit of one topic, shared by its workers.
pub struct RateLimit {
    period: Duration,
    /// When the next record may begin; locked by the first in the queue. The lock is fair: it goes to those who wait in their order.
    next: Mutex<Option<Instant>>,
    /// How many wait, the first included. The partition windows bound them.
    waiting: IntGauge,
}

impl RateLimit {
    /// `None`: the rate is beyond what can be limited.
    pub fn new(per_second: f64, waiting: IntGauge) -> Option<Self> {
        let period = Duration::try_from_secs_f64(1.0 / per_second).ok()?;
        (!period.is_zero()).then(|| RateLimit {
            period,
            next: Mutex::new(None),
            waiting,
        })
    }

    /// Waits until the caller may begin. Cancel safe: who gives up leaves the queue, and its place in the schedule to the next.
    pub async fn wait(&self) {
        let _waiting = Counted::new(&self.waiting);
        let mut next = self.next.lock().await;
        if let Some(next) = *next {
            tokio::time::sleep_until(next).await;
        }
        let now = Instant::now();
        let due = next.unwrap_or(now);
        // Only where others wait is a late place made up for. Nothing is saved up while nobody asks.
        let begun = match self.waiting.get() > 1 {
            true => due.max(now.checked_sub(CATCH_UP).unwrap_or(now)),
            false => now,
        };
        *next = Some(begun + self.period);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    use futures_util::FutureExt;

    fn limit(per_second: f64) -> Option<RateLimit> {
        RateLimit::new(per_second, IntGauge::new("waiting", "waiting").unwrap())
    }

    /// Waits, and counts how often it is polled.
    async fn counted(limit: &RateLimit, polls: &Cell<usize>) {
        let mut wait = std::pin::pin!(limit.wait());
        std::future::poll_fn(|context| {
            polls.set(polls.get() + 1);
            wait.as_mut().poll(context)
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn two_thousand_begin_in_order_at_the_rate_and_each_is_woken_once() {
        let (limit, polls, order) = (limit(200.0).unwrap(), Cell::new(0), RefCell::new(Vec::new()));
        let began = Instant::now();
        let local = tokio::task::LocalSet::new();
        let all = (0..2000).map(|number| {
            let (limit, polls, order) = (&limit, &polls, &order);
            async move {
                counted(limit, polls).await;
                order.borrow_mut().push(number);
            }
        });
        local.run_until(futures_util::future::join_all(all)).await;
        let took = began.elapsed().as_secs_f64();
        println!("2,000 records at 200/s: {took:.3} s, {} polls", polls.get());
        assert!((9.5..=10.5).contains(&took), "{took}");
        assert!(order.borrow().is_sorted(), "in order");
        // Once to queue up, once as the one before begins, once as the time comes.
        assert!(polls.get() <= 3 * 2000, "{} polls", polls.get());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_timer_costs_no_places_and_a_pause_saves_none_up() {
        let limit = limit(100.0).unwrap();
        let begin = async |count: usize| {
            let began = Instant::now();
            futures_util::future::join_all((0..count).map(|_| limit.wait())).await;
            began.elapsed()
        };
        begin(1).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let took = begin(11).await;
        assert!((100..=112).contains(&took.as_millis()), "ten after the first: {took:?}");
        // Ten queue up; the thread is busy for five periods.
        let queue = futures_util::future::join_all((0..10).map(|_| limit.wait()));
        let mut queue = std::pin::pin!(queue);
        assert!((&mut queue).now_or_never().is_none());
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(50)).await;
        queue.await;
        assert!(began.elapsed().as_millis() <= 112, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_costs_nobody_a_place() {
        let limit = limit(10.0).unwrap();
        limit.wait().await;
        let began = Instant::now();
        {
            let mut first = std::pin::pin!(limit.wait());
            let mut second = std::pin::pin!(limit.wait());
            assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        }
        assert_eq!(limit.waiting.get(), 0);
        limit.wait().await;
        assert!(began.elapsed().as_millis() <= 101, "{:?}", began.elapsed());
    }

    #[test]
    fn a_rate_that_cannot_be_limited_is_none() {
        assert!(limit(1e12).is_none());
        assert!(limit(0.001).is_some());
    }
}
