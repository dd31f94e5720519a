//! The headers that a gateway adds to a request, and the names that belong to records and never pass.

use serde_json::json;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::pair::Pair;
use crate::harness::spec::{processor, proxy};

#[tokio::test]
async fn the_fields_of_an_earlier_gateway_are_kept_and_extended() {
    let pair = Pair::start(Backend::echo().await).await;
    let request = Request::get("/")
        .header("Host", "shop.example")
        .header("X-Forwarded-For", "10.0.0.1")
        .header("X-Forwarded-Proto", "https")
        .header("x-forwarded-for", "10.0.0.2, unknown")
        .header("X-Forwarded-Host", "front.example")
        .header("Via", "1.0 fred")
        .header("X-Original-Method", "DELETE");
    assert_eq!(pair.request(request).await.status, 200);
    let received = pair.backend.last();
    assert_eq!(
        received.all("x-forwarded-for"),
        ["10.0.0.1, 10.0.0.2, unknown, 127.0.0.1"]
    );
    assert_eq!(received.all("x-forwarded-proto"), ["https"]);
    assert_eq!(received.all("x-forwarded-host"), ["front.example"]);
    assert_eq!(received.all("via"), ["1.0 fred", "1.1 actix-khp"]);
    assert_eq!(received.all("x-original-method"), ["GET"], "the proxy's own value");
}

#[tokio::test]
async fn a_clients_request_id_is_kept_only_if_it_is_a_short_token() {
    let pair = Pair::start(Backend::echo().await).await;
    let long = "x".repeat(129);
    for (given, is_kept) in [
        (&long[..128], true),
        ("!#$%&'*+-.^_`|~0aZ", true),
        (&long, false),
        ("two words", false),
        ("a,b", false),
        ("", false),
        ("caf\u{e9}", false),
    ] {
        let answer = pair.request(Request::get("/").header("X-Request-ID", given)).await;
        let id = answer.header("khp-correlation-id").expect("ours");
        let expected = if is_kept { given } else { &id };
        assert_eq!(pair.backend.last().all("x-request-id"), [expected], "{given:?}");
    }
}

#[tokio::test]
async fn an_answer_gains_a_date_only_where_it_has_none() {
    const DATE: &str = "Tue, 15 Nov 1994 08:12:31 GMT";
    let pair = Pair::start(Backend::start(|_| Answer::body("dated").header("Date", DATE)).await).await;
    assert_eq!(pair.request(Request::get("/")).await.all("date"), [DATE]);
    pair.backend.answer_with(|_| Answer::body("undated"));
    let dates = pair.request(Request::get("/")).await.all("date");
    assert!(
        dates.len() == 1 && dates[0] != DATE && dates[0].ends_with(" GMT"),
        "{dates:?}"
    );
}

#[tokio::test]
async fn reserved_names_pass_in_neither_direction_in_neither_format() {
    const RESERVED: [&str; 12] = [
        "khp-deadline",
        "KHP-Body",
        "khp-error",
        "khp-made-up",
        "kafka_replyTopic",
        "Kafka_CorrelationId",
        "spring_json_header_types",
        "SPRING_x",
        "__TypeId__",
        "X-Kafka-Made-Up",
        "correlation_id",
        "Correlation_ID",
    ];
    let topics = Topics::unique("orders");
    let answer = |_: &_| {
        let answer = Answer::body("ok").header("khp-correlation-id", "forged");
        let answer = RESERVED
            .into_iter()
            .fold(answer, |answer, name| answer.header(name, "forged"));
        answer.header("khp", "free").header("X-Kafka", "free")
    };
    let backend = Backend::start(answer).await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    for format in ["native", "json"] {
        let proxy = proxy(&topics).set("wire_format", format).start().await;
        let request = RESERVED
            .into_iter()
            .fold(Request::get("/"), |request, name| request.header(name, "forged"));
        let answer = proxy
            .request(request.header("khp", "free").header("X-Kafka", "free"))
            .await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{format}");
        let received = backend.last();
        for headers in [&answer.headers, &received.headers] {
            let forged = headers.iter().find(|(_, value)| value == b"forged");
            assert_eq!(forged, None, "{format}: {headers:?}");
            // Names that only resemble reserved ones do pass.
            assert_eq!(
                headers.iter().filter(|(_, value)| value == b"free").count(),
                2,
                "{headers:?}"
            );
        }
        let id = answer.header("khp-correlation-id");
        assert!(
            id.is_some() && id == received.header("khp-correlation-id"),
            "{format}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_backend_sees_its_own_host_or_the_clients_as_configured() {
    let (own, clients) = (Topics::unique("own"), Topics::unique("clients"));
    let backend = Backend::echo().await;
    let mut spec = processor(&[(&own, &backend.url()), (&clients, &backend.url())]);
    for (topic, host) in [(0, "backend"), (1, "preserve")] {
        spec = spec.set_topic(topic, "host", json!(host));
    }
    let (_processor, proxy) = (spec.start().await, proxy(&own).start().await);
    let address = backend.address();
    for (topics, host) in [(&own, address.as_str()), (&clients, "shop.example")] {
        let request = Request::get("/").header("Host", "shop.example");
        let answer = proxy.request(request.via(&topics.request, &topics.response)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let received = backend.last();
        assert_eq!(received.all("host"), [host]);
        assert_eq!(received.all("x-forwarded-host"), ["shop.example"]);
    }
}
