//! Places for backend calls: a topic that is alone with work has nearly all of them, and one that hangs leaves the others theirs.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::harness::backend::{Answer, Backend};
use crate::harness::names::Topics;
use crate::harness::records::{job, produce_all};
use crate::harness::spec::processor;
use crate::harness::topics::{create_topic, wait_for_commit};

#[tokio::test]
async fn one_busy_topic_of_ten_works_on_nine_records_at_once_and_the_others_still_begin_at_once() {
    let topics: Vec<Topics> = (0..10)
        .map(|number| Topics::unique(&format!("orders-{number}")))
        .collect();
    for topic in &topics {
        create_topic(&topic.request, 1).await;
    }
    let (open, gate) = watch::channel(false);
    let busy = Backend::start(move |_| Answer::body("done").until(&gate)).await;
    let quiet = Backend::echo().await;
    let (busy_url, quiet_url) = (busy.url(), quiet.url());
    let routed: Vec<_> = topics
        .iter()
        .enumerate()
        .map(|(number, topic)| {
            (
                topic,
                if number == 0 {
                    busy_url.as_str()
                } else {
                    quiet_url.as_str()
                },
            )
        })
        .collect();
    let processor = processor(&routed).set("max_concurrent_requests", 10).start().await;
    produce_all(&topics[0].request, 0, (0..40).map(|number| job(number.to_string()))).await;
    busy.wait_for_calls(9).await;
    processor.wait_for_metric("processor_borrowed_calls", &[], 8.0).await;
    processor.wait_for_metric("processor_borrowable_calls", &[], 8.0).await;
    let began = Instant::now();
    for (number, topic) in topics.iter().enumerate().skip(1) {
        produce_all(&topic.request, 0, [job(number.to_string())]).await;
    }
    quiet.wait_for_calls(9).await;
    println!("nine of ten at once; nine others began within {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(busy.most_at_once(), 9);
    open.send_replace(true);
    wait_for_commit(&topics[0].group, &topics[0].request, 40).await;
    assert_eq!(busy.most_at_once(), 9);
    processor.wait_for_metric("processor_borrowed_calls", &[], 0.0).await;
}
