//! A letter whose body lies elsewhere: it goes back as long as the body is there.

use super::MIB;
use super::bodies_topic;
use super::client::{Framing, upload};
use super::lost::remove_all;
use super::sink::Sink;
use crate::harness::backend::unreachable_url;
use crate::harness::dlq::Dlq;
use crate::harness::spec::proxy;
use crate::harness::topics::{create_topic, wait_for_count};

#[tokio::test]
async fn a_letter_goes_back_with_its_body_and_stays_without_it() {
    let dlq = Dlq::create().await;
    let bodies = bodies_topic(&dlq.topics);
    create_topic(&bodies, 1).await;
    let proxy = proxy(&dlq.topics).start().await;
    let failing = dlq.spec(&unreachable_url()).start().await;
    let (answer, sha) = upload(&proxy.address(), Framing::Length, 3 * MIB).await;
    answer.assert_problem(502, "backend-unreachable");
    failing.stop().await;
    wait_for_count(&dlq.dead_letters, 1).await;
    let place = place(&dlq).await;
    let shown = dlq.run(&["show", &place]).await;
    let told = format!(
        "(a body of {} bytes in {bodies}, partition 0, offsets 0 to 11: still there)",
        3 * MIB
    );
    assert!(shown.out.contains(&told), "{shown:?}");
    assert!(shown.out.contains("khp-body-last: 11\n"), "{shown:?}");

    // A dry run changes nothing.
    let planned = dlq.run(&["redrive", "--dry-run"]).await;
    assert!(planned.out.contains("to be redriven: 1"), "{planned:?}");
    remove_all(&bodies).await;
    let shown = dlq.run(&["show", &place]).await;
    assert!(shown.out.contains("no longer there"), "{shown:?}");
    let left = dlq.run(&["redrive"]).await;
    assert!(
        left.out.contains("redriven: 0") && left.out.contains("has lost its body"),
        "{left:?}"
    );
    let elsewhere = dlq.run(&["redrive", "--to", &dlq.topics.response]).await;
    assert!(
        elsewhere.out.contains("redriven: 0") && elsewhere.out.contains("has its body in topic"),
        "{elsewhere:?}"
    );

    // A second letter has its body still, and goes back with it.
    let failing = dlq.spec(&unreachable_url()).start().await;
    let (answer, second) = upload(&proxy.address(), Framing::Chunked, 3 * MIB).await;
    answer.assert_problem(502, "backend-unreachable");
    failing.stop().await;
    wait_for_count(&dlq.dead_letters, 2).await;
    let redriven = dlq.run(&["redrive"]).await;
    assert!(
        redriven.out.contains("redriven: 1") && redriven.out.contains("left: 1"),
        "{redriven:?}"
    );
    let sink = Sink::start().await;
    let _processor = dlq.spec(&sink.url()).start().await;
    sink.wait_for(0, 3 * MIB).await;
    let call = crate::harness::wait::eventually("the body is whole", async || {
        sink.calls()[0].sha.clone().ok_or_else(|| "not yet".to_owned())
    })
    .await;
    assert_eq!(call, second);
    assert_eq!(sha, second, "the same bytes");
}

/// The place of the only letter.
async fn place(dlq: &Dlq) -> String {
    let listed = dlq.run(&["list"]).await;
    let words = listed.out.split_whitespace().map(str::to_owned);
    let is_place = |word: &String| {
        word.split_once(':')
            .is_some_and(|(a, b)| a.parse::<i32>().is_ok() && b.parse::<i64>().is_ok())
    };
    words.into_iter().find(is_place).unwrap_or_else(|| panic!("{listed:?}"))
}
