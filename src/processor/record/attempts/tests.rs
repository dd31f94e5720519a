//! The schedule of attempts, by a clock that stands still but for the waits.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use prometheus::Registry;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::processor::backend::breaker::ProbeSlot;
use crate::processor::backend::call_pool::CallPool;
use crate::processor::backend::client::Backend;
use crate::processor::backend::retry_budget::RetryBudget;
use crate::processor::backend::tls::Connector;
use crate::processor::bodies::BodyError;
use crate::processor::bodies::readers::BodyReaders;
use crate::processor::metrics::ProcessorMetrics;
use crate::processor::record::age::Ages;
use crate::processor::record::deadline::DeadlineRules;
use crate::processor::record::logged_once::LoggedOnce;
use crate::processor::worker::lanes::Lanes;
use crate::settings::{HostHeader, Topic, plain_topic};
use crate::wire::{self, RawRecord, Sealing};

/// What attempts need; the backend is never called, since the tests make the calls.
fn caller(topic: Topic) -> Caller {
    let metrics = ProcessorMetrics::register(&Registry::new()).unwrap();
    let pool = Arc::new(CallPool::new(100, 1, metrics.calls()));
    Caller {
        backend: Backend::new(
            &Connector::new(&topic.tls).unwrap(),
            &topic.backend_url,
            HostHeader::Backend,
            1,
            1000,
        )
        .unwrap(),
        places: pool.places(topic.concurrency, metrics.topic("a", "c").waiting_for_call),
        rate_limit: None,
        retry_budget: Arc::new(RetryBudget::new(topic.retry.budget, monotonic_ms())),
        breaker: None,
        probe: ProbeSlot::default(),
        body_readers: BodyReaders::new(
            rdkafka::ClientConfig::new(),
            1,
            1000,
            Arc::new(ArcSwap::from_pointee(Sealing {
                keys: Vec::new(),
                require: false,
            })),
            metrics.bodies.clone(),
        ),
        bodies_topic: Arc::from("a-bodies"),
        asks_health: false,
        metrics: metrics.topic("a", "c"),
        topic,
    }
}

fn deadlines() -> DeadlineRules {
    DeadlineRules {
        max_clock_skew: Duration::from_secs(300),
        clock_tolerance: Duration::ZERO,
        ages: Ages::default(),
        clock_skew: prometheus::Gauge::new("skew", "skew").unwrap(),
        skew_logged: LoggedOnce::default(),
    }
}

/// What a backend does with a call, and after how long.
#[derive(Debug, Clone, Copy)]
enum Does {
    Answer(u16),
    Reset,
    Refuse,
}

/// One call: when it began and ended, and how long it was given.
#[derive(Debug, Clone, Copy)]
struct Call {
    began: Instant,
    ended: Instant,
    timeout: Duration,
}

/// Makes the attempts of one record; returns the calls, how it ended, and when.
async fn run(
    caller: &Caller,
    method: &str,
    span: Option<Duration>,
    script: &[(Does, u64)],
) -> (Vec<Call>, End, Instant) {
    let request = Request {
        method: method.into(),
        path: "/".into(),
        deadline_ms: span.map(|span| wire::now_ms() + span.as_millis() as i64),
        timeout_ms: span.map(|span| span.as_millis() as i64),
        ..Request::default()
    };
    let record = RawRecord::empty(&"a".into());
    let calls = RefCell::new(Vec::new());
    let call = async |timeout: Duration, _, _| {
        let began = Instant::now();
        let number = calls.borrow().len();
        let (does, after) = script[number % script.len()];
        let after = Duration::from_millis(after);
        actix::clock::sleep(after.min(timeout)).await;
        let ended = Instant::now();
        calls.borrow_mut().push(Call { began, ended, timeout });
        match does {
            _ if after >= timeout => Err(BackendError::Timeout(timeout)),
            Does::Answer(status) => Ok(Answer {
                status,
                headers: vec![],
                body: Bytes::new(),
                rest: None,
            }),
            Does::Reset => Err(BackendError::Reset(String::new())),
            Does::Refuse => Err(BackendError::Unreachable(String::new())),
        }
    };
    let deadline = deadlines().deadline(&request, false).expect("it has not passed");
    let turn = Lanes::new(caller.topic.ordering).join(&record);
    let end = Attempts::new(caller, &request, call, &deadline, &Lease::default(), turn, None)
        .run()
        .await;
    (calls.into_inner(), end, Instant::now())
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        3 => Just(Does::Answer(503)),
        1 => Just(Does::Answer(200)),
        1 => Just(Does::Answer(429)),
        2 => Just(Does::Reset),
        2 => Just(Does::Refuse),
    ]
}

fn with_paused_time<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(work)
}

/// Tokio's timers are as fine as that.
const TICK: Duration = Duration::from_millis(1);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a backend does: no more attempts than allowed, none too early, none beyond the deadline or the time for them all, and
    /// none of what must not be sent twice.
    #[test]
    fn attempts_keep_to_their_schedule(
        script in prop::collection::vec((does(), 0u64..3000), 1..8),
        post: bool,
        timeout in 100u64..2000,
        max_retries in 0u32..6,
        wait in 1u64..500,
        max_wait in 1u64..3000,
        span in prop::option::of(50u64..6000),
    ) {
        let mut topic = plain_topic("a", "b", "http://c", 10);
        topic.timeout = Duration::from_millis(timeout);
        topic.max_retries = max_retries;
        (topic.retry.wait, topic.retry.max_wait) = (Duration::from_millis(wait), Duration::from_millis(max_wait));
        let longest = topic.timeout * (max_retries + 1);
        let span = span.map(Duration::from_millis);
        with_paused_time(async {
            let caller = caller(topic);
            let began = Instant::now();
            let (calls, end, ended) = run(&caller, if post { "POST" } else { "GET" }, span, &script).await;
            let End::Outcome(_, attempts) = end else { return Err(TestCaseError::fail("a call is always made")) };
            prop_assert_eq!(attempts as usize, calls.len());
            prop_assert!(attempts <= max_retries + 1);
            prop_assert!(ended - began <= longest + TICK * attempts);
            prop_assert_eq!(caller.metrics.retries.get(), u64::from(attempts) - 1);
            for (number, call) in calls.iter().enumerate() {
                prop_assert!(call.timeout <= caller.topic.timeout);
                prop_assert!(span.is_none_or(|span| call.began + call.timeout <= began + span));
                let Some(next) = calls.get(number + 1) else { break };
                let waited = next.began - call.ended;
                let ceiling = (wait << number).min(max_wait);
                prop_assert!(waited <= Duration::from_millis(ceiling) + TICK, "{:?} of {}", waited, ceiling);
                let (does, after) = script[number % script.len()];
                let cut = Duration::from_millis(after) >= call.timeout;
                prop_assert!(!post || (!cut && matches!(does, Does::Refuse)), "a POST was sent twice");
                prop_assert!(cut || !matches!(does, Does::Answer(200)), "an answer was asked for again");
            }
            Ok(())
        })?;
    }

    /// However many fail together: no more retries than the budget has.
    #[test]
    fn records_that_fail_together_share_a_budget(records in 1usize..60, budget in 0.0..=1.0f64) {
        let mut topic = plain_topic("a", "b", "http://c", 100);
        topic.retry.budget = budget;
        let before = std::time::Instant::now();
        with_paused_time(async {
            let caller = caller(topic);
            let script = [(Does::Answer(503), 10)];
            let all = (0..records).map(|_| run(&caller, "GET", None, &script));
            let calls: usize = futures_util::future::join_all(all).await.iter().map(|(calls, ..)| calls.len()).sum();
            // What is saved up at first, the share of first attempts, and one a second, by the real clock.
            let most = 10.0 + records as f64 * budget + before.elapsed().as_secs_f64();
            prop_assert!((calls - records) as f64 <= most, "{} retries of {}", calls - records, most);
            Ok(())
        })?;
    }
}

/// Its connection was refused, then stood; the answer did not come before the deadline: it may have been executed.
#[test]
fn a_call_that_was_cut_short_is_not_taken_for_the_refused_one_before_it() {
    let mut topic = plain_topic("a", "b", "http://c", 10);
    topic.timeout = Duration::from_secs(30);
    with_paused_time(async {
        let span = Some(Duration::from_secs(5));
        let script = [(Does::Refuse, 0), (Does::Answer(200), 60_000)];
        let (calls, end, _) = run(&caller(topic), "POST", span, &script).await;
        assert_eq!(calls.len(), 2);
        assert!(matches!(end, End::Outcome(Err(BackendError::Timeout(_)), 2)));
    });
}

/// Makes the attempts of a POST whose calls end so, `None`: never, and cuts them off during the last. Returns whether it may have run.
async fn cut_off_in_the_last_of(calls: &[Option<BackendError>]) -> bool {
    let (caller, lease) = (caller(plain_topic("a", "b", "http://c", 10)), Lease::default());
    let request = Request {
        method: "POST".into(),
        path: "/".into(),
        ..Request::default()
    };
    let left = RefCell::new(calls.iter().cloned());
    let call = async |_: Duration, _, _| {
        let end = left.borrow_mut().next().flatten();
        if left.borrow().len() == 0 {
            lease.cut();
        }
        match end {
            Some(error) => Err(error),
            None => std::future::pending().await,
        }
    };
    let deadline = deadlines().deadline(&request, false).expect("there is none");
    let turn = Lanes::new(caller.topic.ordering).join(&RawRecord::empty(&"a".into()));
    let mut attempts = Attempts::new(&caller, &request, call, &deadline, &lease, turn, None);
    assert!(matches!(attempts.run().await, End::Released));
    attempts.may_have_run()
}

#[test]
fn a_call_that_was_cut_off_may_have_run_and_one_that_was_refused_has_not() {
    let refused = || Some(BackendError::Unreachable(String::new()));
    with_paused_time(async {
        assert!(cut_off_in_the_last_of(&[None]).await);
        assert!(cut_off_in_the_last_of(&[refused(), None]).await);
        assert!(!cut_off_in_the_last_of(&[refused(), refused()]).await);
    });
}

#[test]
fn only_a_request_that_was_not_sent_has_certainly_not_run() {
    let text = String::new;
    for (error, may) in [
        (BackendError::Unreachable(text()), false),
        (BackendError::BadMessage(text()), false),
        (BackendError::Timeout(TICK), true),
        (BackendError::Reset(text()), true),
        (BackendError::NotHttp(text()), true),
        (BackendError::TooLarge(1), true),
        (
            BackendError::Body {
                error: BodyError::Gone(text()),
                begun: false,
            },
            false,
        ),
        (
            BackendError::Body {
                error: BodyError::Unread(text()),
                begun: true,
            },
            true,
        ),
    ] {
        assert_eq!(error.may_have_run(), may, "{error}");
    }
}
