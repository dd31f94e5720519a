//! What goes on when a process or a broker ends in the middle.

use serde_json::json;

use super::MIB;
use super::client::{Framing, Upload, assert_arrived, upload};
use super::sink::{Does, Sink};
use crate::harness::kafka::Node;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::wait::off_thread;

#[tokio::test]
async fn kill_9_of_a_processor_in_the_middle_of_a_call_runs_it_again_whole() {
    let topics = Topics::unique("files");
    let sink = Sink::scripted(|call| {
        if call == 0 {
            Does::WaitAfter(5 * MIB)
        } else {
            Does::Take
        }
    })
    .await;
    let spec = processor(&[(&topics, &sink.url())]);
    let mut killed = spec.clone().start().await;
    let proxy = proxy(&topics).start().await;
    let address = proxy.address();
    let answer = tokio::spawn(async move { upload(&address, Framing::Length, 30 * MIB).await });
    sink.wait_for(0, 5 * MIB).await;
    killed.signal("KILL");
    killed.wait_exit().await;
    let _second = spec.start().await;
    let (answer, sha) = answer.await.expect("no panic");
    assert_arrived(&answer, 30 * MIB, &sha);
    assert_eq!(sink.calls().len(), 2);
    sink.open_gate();
}

#[tokio::test]
async fn a_broker_that_restarts_in_the_middle_of_an_upload_delays_it() {
    let mut kafka = off_thread(Node::start).await;
    let topics = Topics::unique("files");
    let sink = Sink::start().await;
    let processor = processor(&[(&topics, &sink.url())])
        .on(kafka.brokers())
        .set("dead_letter_topic", json!(null))
        .start()
        .await;
    let proxy = proxy(&topics).on(kafka.brokers()).start().await;
    let mut upload = Upload::begin(&proxy.address(), Framing::Length, 40 * MIB, "").await;
    upload.send(10 * MIB).await.expect("taken");
    kafka.kill();
    let rest = async move {
        // It takes no more than its window until the broker is back.
        upload.send(30 * MIB).await.expect("taken");
        upload.finish().await
    };
    let restarted = off_thread(move || {
        kafka.restart();
        kafka
    });
    let ((answer, sha), _kafka) = tokio::join!(rest, restarted);
    assert_arrived(&answer, 40 * MIB, &sha);
    assert_eq!(sink.calls().len(), 1);
    drop((proxy, processor));
}
