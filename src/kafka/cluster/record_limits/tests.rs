//! With a Kafka and a producer that are made up.

use super::*;
use crossbeam_channel::unbounded;

const OWN: usize = 1_000_000;

/// A Kafka that tells what `config` says, and a producer that reports its limits.
struct Fake<F> {
    config: F,
    limited: Sender<(String, usize)>,
    asked: Sender<usize>,
}

impl<F: Fn(&str) -> TopicConfig + Send + Sync> LimitedProducer for Fake<F> {
    fn max_record(&self) -> usize {
        OWN
    }

    fn limit_batches(&self, topic: &str, limit: usize) {
        self.limited.send((topic.to_owned(), limit)).unwrap();
    }

    fn topic_configs(&self, topics: &[&str]) -> KafkaResult<HashMap<String, TopicConfig>> {
        let _ = self.asked.send(topics.len());
        Ok(topics
            .iter()
            .map(|topic| (topic.to_string(), (self.config)(topic)))
            .collect())
    }
}

struct Running {
    limits: RecordLimits,
    limited: Receiver<(String, usize)>,
    asked: Receiver<usize>,
}

fn start(config: impl Fn(&str) -> TopicConfig + Send + Sync + 'static, read: &[&str]) -> Running {
    let ((sender, limited), (asks, asked)) = (unbounded(), unbounded());
    let fake = Fake {
        config,
        limited: sender,
        asked: asks,
    };
    let read = read.iter().map(|topic| topic.to_string());
    let limits = RecordLimits::start(Arc::new(fake), TopicRole::Requests, read).unwrap();
    Running { limits, limited, asked }
}

fn of_size(bytes: usize) -> TopicConfig {
    TopicConfig {
        max_message_bytes: Some(bytes),
        ..TopicConfig::default()
    }
}

#[track_caller]
fn eventually(what: &str, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !probe() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_limit_is_learned_of_each_topic_however_many_there_are() {
    let running = start(|_| of_size(5_000), &[]);
    let names: Vec<String> = (0..3_000).map(|number| format!("t-{number}")).collect();
    eventually("all are learned", || {
        names.iter().filter(|name| running.limits.of(name) != 5_000).count() == 0
    });
    let began = Instant::now();
    for name in &names {
        assert_eq!(running.limits.of(name), 5_000);
    }
    println!(
        "{} topics: {:?} for each look",
        names.len(),
        began.elapsed() / names.len() as u32
    );
    assert!(running.limits.known("t-2999") == Some(5_000) && running.limits.known("other").is_none());
}

#[test]
fn topics_that_nobody_names_any_more_make_room() {
    let running = start(|_| of_size(5_000), &["read"]);
    let names: Vec<String> = (0..MAX_IN_USE + 100).map(|number| format!("t-{number}")).collect();
    eventually("all are learned", || {
        names.iter().filter(|name| running.limits.of(name) != 5_000).count() == 0
    });
    let round = || {
        let before = running.asked.len();
        running.limits.ask_again();
        eventually("a round", || running.asked.len() > before);
    };
    round();
    names[..10]
        .iter()
        .for_each(|name| assert_eq!(running.limits.of(name), 5_000));
    round();
    eventually("they are gone", || running.limits.known("t-1000").is_none());
    assert!(names[..10].iter().all(|name| running.limits.known(name) == Some(5_000)));
    assert_eq!(
        running.limits.known("read"),
        Some(5_000),
        "watched as long as the process runs"
    );
}

#[test]
fn a_producer_hears_of_each_change_of_a_topic_it_writes() {
    let limit = Arc::new(std::sync::atomic::AtomicUsize::new(5_000));
    let told = limit.clone();
    let running = start(move |_| of_size(told.load(Ordering::Relaxed)), &["read"]);
    eventually("the first round is over", || !running.asked.is_empty());
    running.limits.learn("written");
    assert_eq!(
        running.limited.try_iter().collect::<Vec<_>>(),
        [("written".to_owned(), 5_000)]
    );
    for changed in [3_000, 2_000_000] {
        limit.store(changed, Ordering::Relaxed);
        running.limits.ask_again();
        let heard = running.limited.recv_timeout(Duration::from_secs(20));
        assert_eq!(heard, Ok(("written".to_owned(), changed)));
        assert_eq!(running.limits.of("written"), changed.min(OWN));
    }
    running.limits.learn("written");
    assert!(running.limited.is_empty(), "nothing changed");
}

#[test]
fn compaction_loses_nothing_of_a_topic_whose_records_all_have_keys() {
    let running = start(|_| of_size(5_000), &["read"]);
    running.limits.expect_compacted("memory");
    let lost = |topic| running.limits.shared.loses_by_compaction(topic);
    assert_eq!(lost("memory"), None);
    assert_eq!(lost("read"), Some(TopicRole::Replies));
    assert_eq!(lost("written"), Some(TopicRole::Requests));
}
