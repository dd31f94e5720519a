//! Topics so large that Kafka needs long to create them: requests wait, and nobody is told that a right is missing.

use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::wait::within;

/// One node needs some seconds for so many.
const PARTITIONS: i32 = 1_500;

#[tokio::test]
async fn topics_that_take_long_to_create_are_waited_for() {
    let kafka = tokio::task::spawn_blocking(|| Node::try_start(&[])).await;
    let kafka = kafka.expect("no panic").expect("Kafka starts");
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let on = |spec: Spec| {
        spec.set("kafka.bootstrap_servers", kafka.brokers())
            .set("create_topics.partitions", PARTITIONS)
    };
    let further = Topics::unique("users");
    let began = std::time::Instant::now();
    let proxy = on(proxy(&topics)).set("default_timeout", 200).launch().await;
    let processor = on(processor(&[(&topics, &backend.url()), (&further, &backend.url())]))
        .launch()
        .await;
    within(std::time::Duration::from_secs(240), "ready", async || {
        proxy.expect_health("/health/ready", 200).await
    })
    .await;
    println!("ready after {:?}", began.elapsed());
    assert_eq!(proxy.request(Request::post("/", "hello")).await.status, 200);
    println!("answered after {:?}", began.elapsed());
    for app in [&proxy, &processor] {
        let lines: Vec<String> = app
            .log()
            .lines()
            .filter(|line| line.contains("topic"))
            .map(str::to_owned)
            .collect();
        println!("{}", lines.join("\n"));
        assert_eq!(app.logged("may not create it"), 0, "{}", app.log());
        assert_eq!(app.logged("Kafka would not create it"), 0, "{}", app.log());
    }
}
