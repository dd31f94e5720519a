//! Sealed records: who may read or write Kafka and has no key reads nothing, makes no call and gives no answer.

use serde_json::{Value, json};

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::command::run;
use crate::harness::dlq::Dlq;
use crate::harness::malformed::Waiting;
use crate::harness::names::{Topics, unique};
use crate::harness::records::{Header, Reader, Record, produce, read_all, request_headers};
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::topics::{create_topic, wait_for_count};

const OLD: (&str, &str) = ("old", "an old secret of at least 32 letters");
const NEW: (&str, &str) = ("new", "a new secret of at least 32 letters.");

trait Sealed {
    fn sealed(self, keys: &[(&str, &str)], require: bool) -> Self;
}

impl Sealed for Spec {
    fn sealed(self, keys: &[(&str, &str)], require: bool) -> Self {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(id, secret)| json!({"id": id, "secret": secret}))
            .collect();
        self.set("sealing", json!({"keys": keys, "require": require}))
    }
}

async fn topics() -> Topics {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 1).await;
    create_topic(&topics.response, 1).await;
    topics
}

#[tokio::test]
async fn nothing_of_a_request_or_its_answer_is_readable_on_the_topics() {
    let topics = topics().await;
    let backend = Backend::start(|received| {
        Answer::body(format!("private {}", received.text())).header("X-Answer", "private-header")
    })
    .await;
    let _processor = processor(&[(&topics, &backend.url())])
        .sealed(&[OLD], true)
        .start()
        .await;
    let proxy = proxy(&topics).sealed(&[OLD], true).start().await;
    let request = Request::post("/private/path?q=private", "private words").header("X-Asked", "private-header");
    let answer = proxy.request(request).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "private private words"));
    assert_eq!(answer.header("X-Answer").as_deref(), Some("private-header"));
    let received = backend.last();
    assert_eq!(
        (received.target.as_str(), received.text().as_str()),
        ("/private/path?q=private", "private words")
    );
    assert_eq!(received.all("x-asked"), ["private-header"]);
    for topic in [&topics.request, &topics.response] {
        let records = read_all(topic).await;
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].header_text("khp-seal-key"), "old");
        assert_eq!(records[0].header(":path"), None);
        let all = format!(
            "{} {}",
            clear_text(&records[0]),
            String::from_utf8_lossy(records[0].value.as_deref().unwrap_or_default())
        );
        for part in [
            "private",
            "x-asked",
            "x-answer",
            "content-type",
            "127.0.0.1",
            "POST",
            "200",
        ] {
            assert!(!all.to_lowercase().contains(&part.to_lowercase()), "{part} in {all}");
        }
    }
}

fn clear_text(record: &Record) -> String {
    let header = |(name, value): &(String, Vec<u8>)| match name.as_str() {
        // Bytes that are random may be any text.
        "khp-seal-nonce" | "kafka_correlationId" | "khp-deadline" => name.clone(),
        _ => format!("{name}={}", String::from_utf8_lossy(value)),
    };
    record.headers.iter().map(header).collect::<Vec<_>>().join(" ")
}

/// Another key, none, and a sealed record that was made into something else.
#[tokio::test]
async fn a_writer_without_the_key_makes_no_call() {
    let topics = topics().await;
    let dead_letters = unique("dead-letters");
    create_topic(&dead_letters, 1).await;
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())])
        .sealed(&[OLD], true)
        .set("dead_letter_topic", dead_letters.as_str())
        .start()
        .await;
    let proxy = proxy(&topics).sealed(&[OLD], true).start().await;
    proxy.request(Request::post("/", "honest")).await.assert_echo("honest");
    let honest = read_all(&topics.request).await.remove(0);
    let reply_topic: Header<'_> = ("kafka_replyTopic", topics.response.as_bytes());
    produce(
        &topics.request,
        0,
        b"x",
        &request_headers("unsealed", "POST", "/x", &[reply_topic]),
    )
    .await;
    for (name, value) in [
        ("khp-seal-key", "another"),
        ("kafka_replyTopic", "elsewhere-responses"),
        ("khp-deadline", "9999999999999"),
    ] {
        let mut changed = honest.headers.clone();
        changed
            .iter_mut()
            .filter(|(given, _)| given == name)
            .for_each(|(_, given)| *given = value.into());
        let headers: Vec<Header<'_>> = changed
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        produce(
            &topics.request,
            0,
            honest.value.as_deref().unwrap_or_default(),
            &headers,
        )
        .await;
    }
    wait_for_count(&dead_letters, 4).await;
    let mut causes = Vec::new();
    for letter in read_all(&dead_letters).await {
        assert_eq!(letter.header_text("khp-error"), "bad-message");
        causes.push(letter.header_text("kafka_dlt-exception-message"));
    }
    assert_eq!(causes[0], "the record is not sealed");
    assert!(causes[1].contains("a key that is not configured"), "{causes:?}");
    assert!(
        causes[2..].iter().all(|cause| cause.contains("the seal is broken")),
        "{causes:?}"
    );
    // Nothing shows that whoever wrote them may ask, so nobody is answered.
    proxy.request(Request::post("/", "again")).await.assert_echo("again");
    assert_eq!(read_all(&topics.response).await.len(), 2);
    assert_eq!(backend.received().len(), 2);
    processor.assert_no_restarts().await;
}

#[tokio::test]
async fn a_writer_without_the_key_answers_nobody() {
    let topics = topics().await;
    let proxy = proxy(&topics).sealed(&[OLD], true).start().await;
    let waiting = Waiting::start(&proxy, &Reader::open(&topics.request)).await;
    let id: Header<'_> = ("kafka_correlationId", waiting.record.correlation_id());
    produce(&topics.response, 0, b"forged", &[id]).await;
    proxy.wait_for_metric("proxy_unbelieved_replies_total", &[], 1.0).await;
    // Its own request, as if it were the reply.
    let headers: Vec<Header<'_>> = waiting
        .record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    produce(
        &topics.response,
        0,
        waiting.record.value.as_deref().unwrap_or_default(),
        &headers,
    )
    .await;
    proxy.wait_for_metric("proxy_unbelieved_replies_total", &[], 2.0).await;
    assert_eq!(proxy.logged("a reply is not believed"), 1);
    // A processor with the key comes, and answers.
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .sealed(&[OLD], true)
        .start()
        .await;
    waiting.answer().await.assert_echo("x");
}

#[tokio::test]
async fn keys_are_changed_while_both_sides_serve() {
    let topics = topics().await;
    let backend = Backend::echo().await;
    let processor = |keys: &[_]| processor(&[(&topics, &backend.url())]).sealed(keys, true).start();
    let proxy = |keys: &[_]| proxy(&topics).sealed(keys, true).start();
    let (old_proxy, new_proxy) = (proxy(&[OLD, NEW]).await, proxy(&[NEW, OLD]).await);
    let old = processor(&[OLD, NEW]).await;
    old_proxy.request(Request::post("/", "one")).await.assert_echo("one");
    new_proxy.request(Request::post("/", "two")).await.assert_echo("two");
    old.stop().await;
    let _new = processor(&[NEW, OLD]).await;
    old_proxy
        .request(Request::post("/", "three"))
        .await
        .assert_echo("three");
    new_proxy.request(Request::post("/", "four")).await.assert_echo("four");
    let keys = |records: Vec<Record>| {
        records
            .iter()
            .map(|record| record.header_text("khp-seal-key"))
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(read_all(&topics.request).await), ["old", "new", "old", "new"]);
    assert_eq!(keys(read_all(&topics.response).await), ["old", "old", "new", "new"]);
}

#[tokio::test]
async fn records_without_a_seal_pass_where_none_is_required() {
    let topics = topics().await;
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .sealed(&[OLD], false)
        .start()
        .await;
    let plain = proxy(&topics).start().await;
    let sealed = proxy(&topics).sealed(&[OLD], false).start().await;
    plain.request(Request::post("/", "plain")).await.assert_echo("plain");
    sealed.request(Request::post("/", "sealed")).await.assert_echo("sealed");
    let replies = read_all(&topics.response).await;
    let sealed: Vec<bool> = replies
        .iter()
        .map(|reply| reply.header("khp-seal-key").is_some())
        .collect();
    assert_eq!(sealed, [false, true], "as its request, so its reply");
}

#[tokio::test]
async fn a_sealed_letter_is_shown_and_sent_back_by_who_has_the_key() {
    let dlq = Dlq::create().await;
    let backend = Backend::start(|_| Answer::Hang).await;
    let spec = |backend: &Backend| dlq.spec(&backend.url()).sealed(&[OLD], true);
    let processor = spec(&backend).set_topics("timeout", "200ms").start().await;
    let proxy = proxy(&dlq.topics).sealed(&[OLD], true).start().await;
    let request = Request::post("/private/path", "private words").header("X-Asked", "seen");
    proxy.request(request).await.assert_problem(504, "backend-timeout");
    wait_for_count(&dlq.dead_letters, 1).await;
    let letter = read_all(&dlq.dead_letters).await.remove(0);
    assert!(!clear_text(&letter).contains("private"));
    let place = format!("{}:{}", letter.partition, letter.offset);
    let command = |keys: &[_], args: &[&str]| {
        let (spec, args) = (
            dlq.command_spec().sealed(keys, true),
            [&["dlq"], args].concat().join(" "),
        );
        async move { run(&spec, &args.split(' ').collect::<Vec<_>>()).await }
    };
    let shown = command(&[NEW, OLD], &["show", "--reveal", &place]).await;
    shown.assert_shows(&[
        "private words",
        ":path: /private/path",
        "x-asked: seen",
        "khp-seal-key: old",
        "kafka_dlt-original-topic",
    ]);
    let unreadable = command(&[NEW], &["show", "--reveal", &place]).await;
    unreadable.assert_shows(&["sealed; no key of sealing.keys opens them"]);
    assert!(!unreadable.text().contains("private"), "{}", unreadable.text());
    command(&[NEW], &["redrive"])
        .await
        .assert_shows(&["redriven: 0", "no key of sealing.keys opens it"]);
    backend.answer_with(Answer::echo);
    command(&[OLD], &["redrive", "--filter", "path=/private/path"])
        .await
        .assert_shows(&["redriven: 1"]);
    backend.wait_for_calls(2).await;
    assert_eq!(backend.last().text(), "private words");
    let requests = read_all(&dlq.topics.request).await;
    assert!(requests.iter().all(|request| request.header("khp-seal-key").is_some()));
    processor.wait_until_idle().await;
}

#[tokio::test]
async fn order_by_key_is_kept_and_the_key_is_not_shown() {
    let topics = topics().await;
    let route = json!([{
        "path": "/{id}",
        "request_topic": topics.request,
        "response_topic": topics.response,
        "key": "segment:id",
    }]);
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .sealed(&[OLD], true)
        .start()
        .await;
    let proxy = proxy(&topics).set("routes", route).sealed(&[OLD], true).start().await;
    for path in ["/one", "/one", "/two"] {
        proxy.request(Request::post(path, "x")).await.assert_echo("x");
    }
    let keys: Vec<_> = read_all(&topics.request)
        .await
        .into_iter()
        .map(|record| record.key.expect("a key"))
        .collect();
    assert_eq!((keys[0] == keys[1], keys[1] == keys[2]), (true, false));
    assert!(keys.iter().all(|key| key.len() == 16));
}

#[tokio::test]
async fn a_json_proxy_with_sealing_is_a_fault() {
    let spec = proxy(&Topics::unique("orders"))
        .set("wire_format", "json")
        .sealed(&[OLD], true);
    let ended = run(&spec, &["check", "--mode", "proxy"]).await;
    ended.assert_shows(&["wire_format", "is json, which cannot be sealed"]);
    assert_eq!(ended.code, Some(64));
}
