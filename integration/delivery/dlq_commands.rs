//! `actix-khp dlq`: dead letters can be listed and shown, and go back to the topic that they came from.

use crate::harness::backend::{Backend, unreachable_url};
use crate::harness::client::Request;
use crate::harness::command::run;
use crate::harness::dlq::{Dlq, by_value};
use crate::harness::kafka::free_port;
use crate::harness::names::unique;
use crate::harness::records::{Record, produce, produce_all, read_all, wait_until_expired};
use crate::harness::spec::proxy;
use crate::harness::topics::{count, create_topic, wait_for_commit, wait_for_count};

#[tokio::test]
async fn a_redriven_request_is_executed_after_its_deadline_and_answers_no_client() {
    let dlq = Dlq::create().await;
    let proxy = proxy(&dlq.topics).set("default_timeout", 5).start().await;
    let failing = dlq.spec(&unreachable_url()).start().await;
    let request = Request::post("/orders/7?x=1", b"\0\xff body".to_vec()).header("X-Request-ID", "the-same");
    let answer = proxy.request(request).await;
    answer.assert_problem(502, "backend-unreachable");
    let sent = read_all(&dlq.topics.request).await;
    wait_for_count(&dlq.dead_letters, 1).await;
    wait_for_commit(&dlq.topics.group, &dlq.topics.request, 1).await;
    failing.stop().await;

    let listed = dlq.run(&["list"]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    for part in ["backend-unreachable", dlq.topics.request.as_str(), "LETTER"] {
        assert!(listed.out.contains(part), "{part}: {listed:?}");
    }
    let name = listed.out.lines().nth(1).and_then(|row| row.split(' ').next());
    let name = name.expect("a row that begins with the name of the letter");
    let shown = dlq.run(&["show", name]).await;
    assert!(shown.out.contains(":path: /orders/7?***"), "{shown:?}");
    let revealed = dlq.run(&["show", name, "--reveal"]).await;
    assert!(revealed.out.contains(":path: /orders/7?x=1\n"), "{revealed:?}");
    assert!(shown.out.contains("0x00ff20626f6479"), "{shown:?}");

    let dry = dlq.run(&["redrive", "--dry-run"]).await;
    assert!(dry.out.contains(&format!("{name} → {}", dlq.topics.request)), "{dry:?}");
    assert_eq!(count(&dlq.topics.request), 1, "a dry run moves no letter");

    wait_until_expired(&sent[0]).await;
    let done = dlq.run(&["redrive"]).await;
    assert_eq!((done.code, done.out.as_str()), (Some(0), "redriven: 1\n"), "{done:?}");
    let backend = Backend::echo().await;
    let _working = dlq.spec(&backend.url()).start().await;
    backend.wait_for_calls(1).await;
    let received = backend.last();
    assert_eq!(
        (received.target.as_str(), received.body.as_slice()),
        ("/orders/7?x=1", &b"\0\xff body"[..])
    );
    assert_eq!(received.header("x-request-id").as_deref(), Some("the-same"));
    assert_eq!(
        received.header("khp-correlation-id"),
        answer.header("khp-correlation-id")
    );
    // Its reply goes to `response_topic`, and the proxy counts it as late.
    proxy.wait_for_metric("proxy_late_replies_total", &[], 1.0).await;

    let redriven = &read_all(&dlq.topics.request).await[..];
    let redriven = redriven
        .iter()
        .find(|record| record.header("khp-redrive").is_some())
        .expect("the redriven record");
    let kept = |record: &Record| -> Vec<_> {
        let gone = [
            "khp-deadline",
            "khp-timeout",
            "kafka_replyTopic",
            "kafka_replyPartition",
            "khp-redrive",
        ];
        let headers = record.headers.iter();
        headers
            .filter(|(name, _)| !gone.contains(&name.as_str()))
            .cloned()
            .collect()
    };
    assert_eq!(
        (kept(redriven), &redriven.value, &redriven.key),
        (kept(&sent[0]), &sent[0].value, &sent[0].key)
    );
    assert!(redriven.header("khp-deadline").is_none() && redriven.header("kafka_replyTopic").is_none());

    let again = dlq.run(&["redrive"]).await;
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(0), "redriven: 0\n"),
        "{again:?}"
    );
    let listed = dlq.run(&["list"]).await;
    assert_eq!(listed.out, "", "a redriven letter is not listed: {listed:?}");
    let all = dlq.run(&["list", "--all"]).await;
    assert!(all.out.contains("(redriven)"), "{all:?}");
}

#[tokio::test]
async fn a_json_letter_goes_back_byte_for_byte_but_for_its_deadline() {
    let dlq = Dlq::create().await;
    let envelope = format!(
        "{{\"correlation_id\": \"j-1\", \"method\":\"PUT\",\"path\":\"/j\",\n \"headers\":{{\"authorization\":\"s3cret\"}},\"timestamp\":1.5,\"deadline\": {} ,\"body\":\"b\"}}",
        1_700_000_000_000_i64
    );
    produce(
        &dlq.dead_letters,
        0,
        envelope.as_bytes(),
        &[
            ("correlation_id", b"j-1"),
            ("kafka_dlt-original-topic", dlq.topics.request.as_bytes()),
        ],
    )
    .await;
    let shown = dlq.run(&["show", "0:0"]).await;
    assert!(
        shown.out.contains("\"path\": \"/j\"") && !shown.out.contains("s3cret"),
        "{shown:?}"
    );
    let revealed = dlq.run(&["show", "0:0", "--reveal"]).await;
    assert!(revealed.out.contains("s3cret"), "{revealed:?}");

    let backend = Backend::echo().await;
    let _processor = dlq.spec(&backend.url()).start().await;
    let done = dlq
        .run(&["redrive", "--filter", "method=PUT", "--filter", "path~/j*"])
        .await;
    assert_eq!((done.code, done.out.as_str()), (Some(0), "redriven: 1\n"), "{done:?}");
    backend.wait_for_calls(1).await;
    assert_eq!(
        (backend.last().method.as_str(), backend.last().text().as_str()),
        ("PUT", "b")
    );
    let redriven = read_all(&dlq.topics.request).await.remove(0);
    let expected = envelope.replace("1700000000000", "null");
    assert_eq!(redriven.value.as_deref(), Some(expected.as_bytes()));
    wait_for_count(&dlq.topics.response, 1).await;
}

#[tokio::test]
async fn a_letter_goes_back_only_to_an_allowed_topic() {
    let dlq = Dlq::create().await;
    let (other, secret) = (unique("other-requests"), unique("ledger"));
    create_topic(&other, 1).await;
    create_topic(&secret, 1).await;
    let from = |topic: &str| vec![("kafka_dlt-original-topic".to_owned(), topic.as_bytes().to_vec())];
    let letters = [
        (b"ledger".to_vec(), from(&secret)),
        (b"internal".to_vec(), from("__consumer_offsets")),
        (b"itself".to_vec(), from(&dlq.dead_letters)),
        (b"other".to_vec(), from(&other)),
        (b"nowhere".to_vec(), vec![]),
        dlq.letter(1, "/cut", &[("khp-truncated", "400")]),
        dlq.letter(2, "/whole", &[]),
    ];
    produce_all(&dlq.dead_letters, 0, letters).await;
    let ended = dlq.run(&["redrive", "--allow", &other]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.starts_with("redriven: 2\n"), "{ended:?}");
    for part in [
        format!("(0:0): came from topic {secret}"),
        "(0:1): came from topic __consumer_offsets".into(),
        format!("(0:2): came from topic {}", dlq.dead_letters),
        "(0:4): names no topic".into(),
        "(0:5): was cut".into(),
    ] {
        assert!(ended.out.contains(&part), "{part} in {ended:?}");
    }
    assert_eq!(by_value(&read_all(&other).await), [("other".to_owned(), 1)].into());
    assert_eq!(
        by_value(&read_all(&dlq.topics.request).await),
        [("2".to_owned(), 1)].into()
    );
    assert_eq!(read_all(&secret).await.len(), 0);

    let ended = dlq.run(&["redrive", "--to", &other, "--filter", "topic~*ledger"]).await;
    assert!(ended.out.starts_with("redriven: 1\n"), "{ended:?}");
    assert_eq!(read_all(&other).await.len(), 2);
    for topic in ["__consumer_offsets", dlq.dead_letters.as_str(), "no topic"] {
        let ended = dlq.run(&["redrive", "--to", topic]).await;
        assert_eq!(ended.code, Some(64), "{topic}: {ended:?}");
    }
}

#[tokio::test]
async fn a_faulty_command_ends_with_its_exit_code_and_the_reason() {
    let dlq = Dlq::create().await;
    let spec = dlq.command_spec();
    for (args, code, part) in [
        (&["list", "--filter", "colour=red"][..], 64, "colour"),
        (&["show", "seven"], 64, "PARTITION:OFFSET"),
        (&["show", "0:0"], 64, "no letter at 0:0"),
        (&["show", "77:0"], 64, "no letter at 77:0"),
        (&["redrive", "--rate", "0"], 64, "0.001"),
    ] {
        let ended = dlq.run(args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.err.contains(part), "{args:?}: {ended:?}");
    }
    let unset = run(&spec.clone().unset("dead_letter_topic"), &["dlq", "list"]).await;
    assert_eq!(unset.code, Some(64), "{unset:?}");
    assert!(unset.err.contains("dead_letter_topic"), "{unset:?}");
    let gone = spec.clone().on(format!("127.0.0.1:{}", free_port()));
    for command in [&["dlq", "list"][..], &["dlq", "redrive"]] {
        let ended = run(&gone, command).await;
        assert_eq!(ended.code, Some(69), "{ended:?}");
        assert!(ended.err.contains("kafka.bootstrap_servers"), "{ended:?}");
    }
    let absent = run(&spec.set("dead_letter_topic", unique("absent")), &["dlq", "list"]).await;
    assert_eq!((absent.code, absent.out.as_str()), (Some(0), ""), "{absent:?}");
}
