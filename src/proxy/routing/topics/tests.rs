//! Names that clients give, and how many are kept.

use super::*;
use crate::settings::{Mode, load};

fn topics(limit: usize) -> KnownTopics {
    topics_with(limit, Some("letters-requests"))
}

fn topics_with(limit: usize, dead_letter_topic: Option<&str>) -> KnownTopics {
    let mut settings = load(Mode::Proxy, &[], &Default::default()).unwrap().settings;
    settings.proxy.max_client_topics = limit;
    let metrics = ProxyMetrics::register(&prometheus::Registry::new()).unwrap();
    KnownTopics::new(&settings.proxy, &settings.create_topics, dead_letter_topic, metrics)
}

fn name(topics: &KnownTopics, name: &str) -> Result<TopicInUse, RequestError> {
    topics.named_by_client(name, TopicUse::Requests)
}

#[test]
fn a_name_is_for_the_use_that_it_says() {
    let topics = topics(9);
    for (name, requests, replies) in [
        ("a-requests", true, false),
        ("a-responses", false, true),
        ("common-requests", true, false),
        ("common-responses", false, true),
        ("payments", false, false),
        ("_a-requests", false, false),
        ("connect-a-requests", false, false),
        ("letters-requests", false, false),
        ("failed-requests", false, false),
    ] {
        for (wanted, expected) in [(TopicUse::Requests, requests), (TopicUse::Replies, replies)] {
            assert_eq!(
                topics.named_by_client(name, wanted).is_ok(),
                expected,
                "{name} {wanted:?}"
            );
        }
    }
}

#[test]
fn a_proxy_that_knows_no_dead_letters_keeps_clients_off_the_predecessors() {
    let topics = topics_with(9, None);
    assert!(name(&topics, "failed-requests").is_err());
    assert!(name(&topics, "letters-requests").is_ok());
}

#[test]
fn invented_names_cost_no_name_that_opened() {
    let topics = topics(3);
    let good = name(&topics, "good-requests").ok().unwrap();
    topics.opened(&good);
    drop(good);
    for number in 0..120 {
        drop(name(&topics, &format!("invented-{number}-requests")).ok().unwrap());
    }
    assert!(topics.has("good-requests"));
    assert_eq!(
        topics.known.load().len(),
        2 + 1 + 3,
        "the configured, the good one, and the latest"
    );
    assert!(topics.metrics.client_topics_limited.get() > 100);
    topics.forget("invented-119-requests");
    topics.forget("good-requests");
    assert!(!topics.has("invented-119-requests") && topics.has("good-requests"));
}

#[test]
fn the_one_that_was_unused_longest_makes_room() {
    let topics = topics(2);
    let held = name(&topics, "a-requests").ok().unwrap();
    for each in ["a-requests", "b-requests", "c-requests"] {
        let topic = name(&topics, each).ok().unwrap();
        topics.opened(&topic);
    }
    assert!(topics.has("a-requests") && !topics.has("b-requests") && topics.has("c-requests"));
    assert_eq!(topics.metrics.client_topics.get(), 2);
    drop(held);
}

#[test]
fn no_more_names_are_opening_than_the_limit() {
    let topics = topics(2);
    let held = [name(&topics, "a-requests"), name(&topics, "b-requests")];
    assert_eq!(name(&topics, "c-requests").err(), Some(RequestError::Overloaded));
    drop(held);
    assert!(name(&topics, "c-requests").is_ok());
}

#[test]
fn other_settings_keep_what_is_known_and_what_clients_name() {
    let mut settings = load(Mode::Proxy, &[], &Default::default()).unwrap().settings;
    let topics = topics(9);
    let (request, reply) = (
        settings.proxy.request_topic.clone(),
        settings.proxy.response_topic.clone(),
    );
    let before = (topics.configured(&request).unwrap(), topics.configured(&reply).unwrap());
    let clients = name(&topics, "a-requests").unwrap();
    settings.proxy.response_topic = "other-responses".into();
    settings.proxy.warmup_topics = vec!["other-responses".into()];
    settings.proxy.consumer_group = Some("group".into());
    settings.proxy.allowed_topics = vec!["b-*".into()];
    let next = topics.next(&settings.proxy);
    assert!(topics.configured(&reply).is_some(), "nothing is changed yet");
    topics.replace(next);
    let now = topics.configured(&request).unwrap();
    assert!(
        now.consumers.is_some() && Arc::ptr_eq(&now.load, &before.0.load),
        "its load goes on"
    );
    assert!(topics.configured("other-responses").is_some() && !topics.has(&reply));
    assert!(
        topics
            .configured("a-requests")
            .is_some_and(|known| Arc::ptr_eq(&known, &clients))
    );
    assert!(name(&topics, "a-requests").is_err() && name(&topics, "b-requests").is_ok());
    let same = topics.configured("other-responses").unwrap();
    topics.replace(topics.next(&settings.proxy));
    assert!(Arc::ptr_eq(&topics.configured("other-responses").unwrap(), &same));
}
