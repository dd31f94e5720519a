//! `actix-khp dlq`: dead letters can be looked at, and go back where they came from.

use crate::harness::app::proxy;
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::dead_letters::{Place, by_value, nobody};
use crate::harness::kafka::free_port;
use crate::harness::one_shot::run;
use crate::harness::records::{Record, produce, produce_all, read_all};
use crate::harness::topics::{count, create_topic, wait_for_commit, wait_for_count};
use crate::harness::unique;
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_redriven_request_is_executed_though_its_deadline_is_long_past_and_answers_nobody() {
    let place = Place::new().await;
    let proxy = proxy(&place.topics).set("default_timeout", 5).start().await;
    let mut failing = place.spec(&nobody()).start().await;
    let request = Request::post("/orders/7?x=1", b"\0\xff body".to_vec()).header("X-Request-ID", "the-same");
    let answer = proxy.request(request).await;
    answer.assert_problem(502, "backend-unreachable");
    let sent = read_all(&place.topics.request).await;
    wait_for_count(&place.dead_letters, 1).await;
    wait_for_commit(&place.topics.group, &place.topics.request, 1).await;
    failing.signal("TERM").await;
    assert_eq!(failing.wait_exit().await, Some(0));

    let listed = place.dlq(&["list"]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    for part in ["backend-unreachable", place.topics.request.as_str(), "LETTER"] {
        assert!(listed.out.contains(part), "{part}: {listed:?}");
    }
    let name = listed.out.lines().nth(1).and_then(|row| row.split(' ').next());
    let name = name.expect("a row that begins with the letter's name");
    let shown = place.dlq(&["show", name]).await;
    assert!(shown.out.contains(":path: /orders/7?x=1\n"), "{shown:?}");
    assert!(shown.out.contains("0x00ff20626f6479"), "{shown:?}");

    let dry = place.dlq(&["redrive", "--dry-run"]).await;
    assert!(
        dry.out.contains(&format!("{name} → {}", place.topics.request)),
        "{dry:?}"
    );
    assert_eq!(count(&place.topics.request), 1, "a dry run does nothing");

    // The deadline and the tolerance for clocks (2 s) are over.
    eventually("expired", async || {
        let deadline: u128 = sent[0].header_text("khp-deadline").parse().expect("a number");
        let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis();
        if now > deadline + 2500 {
            Ok(())
        } else {
            Err(format!("{now}"))
        }
    })
    .await;
    let done = place.dlq(&["redrive"]).await;
    assert_eq!((done.code, done.out.as_str()), (Some(0), "redriven: 1\n"), "{done:?}");
    let backend = Backend::echo().await;
    let working = place.spec(&backend.url()).start().await;
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
    // Its reply goes to `response_topic`, where the proxy counts it as one that nobody waits for.
    proxy.wait_for_metric("proxy_late_replies_total", &[], 1.0).await;

    let redriven = &read_all(&place.topics.request).await[..];
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

    let again = place.dlq(&["redrive"]).await;
    assert_eq!(
        (again.code, again.out.as_str()),
        (Some(0), "redriven: 0\n"),
        "{again:?}"
    );
    let listed = place.dlq(&["list"]).await;
    assert_eq!(listed.out, "", "what went back is not listed: {listed:?}");
    let all = place.dlq(&["list", "--all"]).await;
    assert!(all.out.contains("(redriven)"), "{all:?}");
    working.wait_until_idle().await;
}

#[tokio::test]
async fn a_json_letter_goes_back_without_its_deadline_and_otherwise_byte_for_byte() {
    let place = Place::new().await;
    let envelope = format!(
        "{{\"correlation_id\": \"j-1\", \"method\":\"PUT\",\"path\":\"/j\",\n \"headers\":{{\"authorization\":\"s3cret\"}},\"timestamp\":1.5,\"deadline\": {} ,\"body\":\"b\"}}",
        1_700_000_000_000_i64
    );
    produce(
        &place.dead_letters,
        0,
        envelope.as_bytes(),
        &[
            ("correlation_id", b"j-1"),
            ("kafka_dlt-original-topic", place.topics.request.as_bytes()),
        ],
    )
    .await;
    let shown = place.dlq(&["show", "0:0"]).await;
    assert!(
        shown.out.contains("\"path\": \"/j\"") && !shown.out.contains("s3cret"),
        "{shown:?}"
    );
    let revealed = place.dlq(&["show", "0:0", "--reveal"]).await;
    assert!(revealed.out.contains("s3cret"), "{revealed:?}");

    let backend = Backend::echo().await;
    let processor = place.spec(&backend.url()).start().await;
    let done = place
        .dlq(&["redrive", "--filter", "method=PUT", "--filter", "path~/j*"])
        .await;
    assert_eq!((done.code, done.out.as_str()), (Some(0), "redriven: 1\n"), "{done:?}");
    backend.wait_for_calls(1).await;
    assert_eq!(
        (backend.last().method.as_str(), backend.last().text().as_str()),
        ("PUT", "b")
    );
    let redriven = read_all(&place.topics.request).await.remove(0);
    let expected = envelope.replace("1700000000000", "null");
    assert_eq!(redriven.value.as_deref(), Some(expected.as_bytes()));
    wait_for_count(&place.topics.response, 1).await;
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn a_letters_own_word_does_not_choose_where_it_goes() {
    let place = Place::new().await;
    let (other, secret) = (unique("other-requests"), unique("ledger"));
    create_topic(&other, 1).await;
    create_topic(&secret, 1).await;
    let from = |topic: &str| vec![("kafka_dlt-original-topic".to_owned(), topic.as_bytes().to_vec())];
    let letters = [
        (b"ledger".to_vec(), from(&secret)),
        (b"internal".to_vec(), from("__consumer_offsets")),
        (b"itself".to_vec(), from(&place.dead_letters)),
        (b"other".to_vec(), from(&other)),
        (b"nowhere".to_vec(), vec![]),
        place.letter(1, "/cut", &[("khp-truncated", "400")]),
        place.letter(2, "/whole", &[]),
    ];
    produce_all(&place.dead_letters, 0, letters).await;
    let said = place.dlq(&["redrive", "--allow", &other]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("redriven: 2\n"), "{said:?}");
    for part in [
        format!("(0:0): came from topic {secret}"),
        "(0:1): came from topic __consumer_offsets".into(),
        format!("(0:2): came from topic {}", place.dead_letters),
        "(0:4): names no topic".into(),
        "(0:5): was cut".into(),
    ] {
        assert!(said.out.contains(&part), "{part} in {said:?}");
    }
    assert_eq!(by_value(&read_all(&other).await), [("other".to_owned(), 1)].into());
    assert_eq!(
        by_value(&read_all(&place.topics.request).await),
        [("2".to_owned(), 1)].into()
    );
    assert_eq!(read_all(&secret).await.len(), 0);

    let said = place
        .dlq(&["redrive", "--to", &other, "--filter", "topic~*ledger"])
        .await;
    assert!(said.out.starts_with("redriven: 1\n"), "{said:?}");
    assert_eq!(read_all(&other).await.len(), 2);
    for topic in ["__consumer_offsets", place.dead_letters.as_str(), "no topic"] {
        let said = place.dlq(&["redrive", "--to", topic]).await;
        assert_eq!(said.code, Some(64), "{topic}: {said:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_command_is_told_with_its_exit_code() {
    let place = Place::new().await;
    let spec = place.spec("http://127.0.0.1:9");
    for (args, code, part) in [
        (&["list", "--filter", "colour=red"][..], 64, "colour"),
        (&["show", "seven"], 64, "PARTITION:OFFSET"),
        (&["show", "0:0"], 64, "no letter at 0:0"),
        (&["show", "77:0"], 64, "no letter at 77:0"),
        (&["redrive", "--rate", "0"], 64, "0.001"),
    ] {
        let said = place.dlq(args).await;
        assert_eq!(said.code, Some(code), "{args:?}: {said:?}");
        assert!(said.err.contains(part), "{args:?}: {said:?}");
    }
    let unset = run(&spec.clone().unset("dead_letter_topic"), &["dlq", "list"]).await;
    assert_eq!(unset.code, Some(64), "{unset:?}");
    assert!(unset.err.contains("dead_letter_topic"), "{unset:?}");
    let gone = spec
        .clone()
        .set("kafka.bootstrap_servers", format!("127.0.0.1:{}", free_port()));
    for command in [&["dlq", "list"][..], &["dlq", "redrive"]] {
        let said = run(&gone, command).await;
        assert_eq!(said.code, Some(69), "{said:?}");
        assert!(said.err.contains("kafka.bootstrap_servers"), "{said:?}");
    }
    let absent = run(&spec.set("dead_letter_topic", unique("absent")), &["dlq", "list"]).await;
    assert_eq!((absent.code, absent.out.as_str()), (Some(0), ""), "{absent:?}");
}
