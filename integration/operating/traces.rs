//! Traces: one for each request, from its client to the backend and back, exported over OTLP.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::digest::hex;
use crate::harness::kafka::free_port;
use crate::harness::names::Topics;
use crate::harness::spec::{Spec, processor, proxy};
use crate::harness::wait::eventually;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{PARENT}-0{}", u8::from(sampled))
}

/// A process that exports its traces to this receiver.
trait Traced {
    fn traced(self, receiver: &Backend) -> Self;
}

impl Traced for Spec {
    fn traced(self, receiver: &Backend) -> Self {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url())
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
    }
}

/// All spans that a receiver has got.
fn spans(receiver: &Backend) -> Vec<Span> {
    let requests = receiver.received();
    let exported = requests.iter().flat_map(|request| {
        assert_eq!((&*request.method, &*request.target), ("POST", "/v1/traces"));
        let decoded = ExportTraceServiceRequest::decode(&*request.body).expect("a request of OTLP");
        decoded.resource_spans
    });
    let by_scope = exported.flat_map(|of_resource| of_resource.scope_spans);
    by_scope.flat_map(|of_scope| of_scope.spans).collect()
}

/// The spans of a trace, once there are so many.
async fn trace(receiver: &Backend, trace: &str, count: usize) -> Vec<Span> {
    eventually("its spans", async || {
        let of_trace = |span: &Span| hex(&span.trace_id) == trace;
        let found: Vec<Span> = spans(receiver).into_iter().filter(of_trace).collect();
        let names = || found.iter().map(|span| span.name.clone()).collect::<Vec<_>>();
        (found.len() == count)
            .then(|| found.clone())
            .ok_or(format!("{:?}", names()))
    })
    .await
}

fn attribute(span: &Span, name: &str) -> String {
    let named = span.attributes.iter().find(|attribute| attribute.key == name);
    match named.and_then(|found| found.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn named<'s>(spans: &'s [Span], name: &str, kind: SpanKind) -> &'s Span {
    let mut found = spans
        .iter()
        .filter(|span| span.name == name && span.kind == kind as i32);
    let span = found.next().unwrap_or_else(|| panic!("no {name} among {spans:#?}"));
    assert!(found.next().is_none(), "{name} once");
    span
}

#[tokio::test]
async fn a_request_is_one_trace_from_its_client_to_the_backend_and_back() {
    let receiver = Backend::start(|_| Answer::status(200)).await;
    for sealed in [false, true] {
        let topics = Topics::unique("orders");
        let backend = Backend::start(|_| Answer::status(503)).await;
        let seal = |spec: Spec| match sealed {
            true => spec.set(
                "sealing.keys",
                serde_json::json!([{ "id": "k", "secret": "s".repeat(32) }]),
            ),
            false => spec,
        };
        let processor = seal(processor(&[(&topics, &backend.url())]).traced(&receiver))
            .set_topics("max_retries", 3)
            .start()
            .await;
        let proxy = seal(proxy(&topics).traced(&receiver)).start().await;
        // One call fails, and its repetition is answered.
        let calls = std::sync::atomic::AtomicUsize::new(0);
        backend.answer_with(
            move |_| match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Answer::status(503),
                _ => Answer::body("done"),
            },
        );
        let id = if sealed {
            TRACE.replace('4', "5")
        } else {
            TRACE.to_owned()
        };
        let asked = Request::new("PUT", "/orders/7?token=secret")
            .header("traceparent", format!("00-{id}-{PARENT}-01"))
            .header("tracestate", "shop=1")
            .header("Authorization", "Bearer confidential");
        let answer = proxy.request(asked).await;
        assert_eq!((answer.status, &*answer.text()), (200, "done"));
        assert!(answer.header("traceparent").is_none() && answer.header("khp-traceparent").is_none());

        let spans = trace(&receiver, &id, 7).await;
        let (request, reply) = (&topics.request, &topics.response);
        let server = named(&spans, "PUT", SpanKind::Server);
        let processed = named(&spans, &format!("process {request}"), SpanKind::Consumer);
        let sent = named(&spans, &format!("send {request}"), SpanKind::Producer);
        let replied = named(&spans, &format!("send {reply}"), SpanKind::Producer);
        let received = named(&spans, &format!("receive {reply}"), SpanKind::Client);
        let mut called: Vec<&Span> = spans
            .iter()
            .filter(|span| span.name == "PUT" && *span != server)
            .collect();
        called.sort_by_key(|span| span.start_time_unix_nano);
        for (child, parent) in [
            (sent, server),
            (processed, sent),
            (called[0], processed),
            (called[1], processed),
            (replied, processed),
            (received, server),
        ] {
            assert_eq!(
                child.parent_span_id, parent.span_id,
                "{} below {}",
                child.name, parent.name
            );
        }
        assert_eq!(hex(&server.parent_span_id), PARENT);
        assert_eq!(
            (received.links.len(), &received.links[0].span_id),
            (1, &replied.span_id)
        );
        for (span, name, expected) in [
            (server, "http.request.method", "PUT"),
            (server, "url.path", "/orders/7"),
            (server, "url.query", "***"),
            (server, "http.response.status_code", "200"),
            (sent, "messaging.system", "kafka"),
            (sent, "messaging.destination.name", request),
            (processed, "messaging.operation.name", "process"),
            (processed, "messaging.consumer.group.name", &topics.group),
            (processed, "messaging.kafka.offset", "0"),
            (called[0], "http.response.status_code", "503"),
            (called[0], "error.type", "503"),
            (called[1], "http.request.resend_count", "1"),
            (replied, "messaging.kafka.offset", "0"),
            (received, "messaging.kafka.offset", "0"),
        ] {
            assert_eq!(attribute(span, name), expected, "{} of {}", name, span.name);
        }
        let conversation = attribute(server, "messaging.message.conversation_id");
        for span in [sent, processed, replied, received] {
            assert_eq!(attribute(span, "messaging.message.conversation_id"), conversation);
        }
        // Each call is told of its own span.
        let told: Vec<String> = backend
            .received()
            .iter()
            .flat_map(|call| call.all("traceparent"))
            .collect();
        let spans_of_calls = called.iter().map(|span| format!("00-{id}-{}-01", hex(&span.span_id)));
        assert_eq!(told, spans_of_calls.collect::<Vec<_>>());
        assert_eq!(backend.last().all("tracestate"), ["shop=1"]);
        let exported = format!("{spans:?}");
        assert!(
            !exported.contains("secret") && !exported.contains("confidential"),
            "{exported}"
        );
        // A process that ends exports what it has.
        proxy.stop().await;
        processor.stop().await;
    }
}

#[tokio::test]
async fn a_request_whose_answer_is_fetched_later_is_one_trace_too() {
    let receiver = Backend::start(|_| Answer::status(200)).await;
    let topics = Topics::unique("jobs");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).traced(&receiver).start().await;
    let proxy = proxy(&topics).set("async", "allowed").traced(&receiver).start().await;
    let asked = Request::post("/jobs", "a job")
        .header("Prefer", "respond-async")
        .header("traceparent", traceparent(true));
    assert_eq!(proxy.request(asked).await.status, 202);
    let spans = trace(&receiver, TRACE, 5).await;
    let server = named(&spans, "POST", SpanKind::Server);
    let sent = named(&spans, &format!("send {}", topics.request), SpanKind::Producer);
    let processed = named(&spans, &format!("process {}", topics.request), SpanKind::Consumer);
    let called = named(&spans, "POST", SpanKind::Client);
    for (child, parent) in [(sent, server), (processed, sent), (called, processed)] {
        assert_eq!(
            child.parent_span_id, parent.span_id,
            "{} below {}",
            child.name, parent.name
        );
    }
    assert_eq!(attribute(server, "http.response.status_code"), "202");
    proxy.stop().await;
    processor.stop().await;
}

#[tokio::test]
async fn whoever_began_the_trace_decides_and_a_trace_that_nobody_records_still_passes() {
    let receiver = Backend::start(|_| Answer::status(200)).await;
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).traced(&receiver).start().await;
    let proxy = proxy(&topics)
        .traced(&receiver)
        .env("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        .start()
        .await;
    let unsampled = Request::get("/").header("traceparent", traceparent(false));
    assert_eq!(proxy.request(unsampled).await.status, 200);
    let told = backend.last().header("traceparent").expect("the backend is told");
    assert!(
        told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"),
        "{told}"
    );
    assert_ne!(told, traceparent(false));
    // Where there is no trace, one is begun that nobody records: whoever comes next must not decide anew.
    assert_eq!(proxy.request(Request::get("/")).await.status, 200);
    let told = backend.last().header("traceparent").expect("a trace was begun");
    assert!(told.ends_with("-00") && !told.contains(TRACE), "{told}");
    let sampled = Request::get("/").header("traceparent", traceparent(true));
    assert_eq!(proxy.request(sampled).await.status, 200);
    trace(&receiver, TRACE, 6).await;
    proxy.stop().await;
    processor.stop().await;
    assert_eq!(spans(&receiver).len(), 6, "{:#?}", spans(&receiver));
}

#[tokio::test]
async fn without_a_receiver_a_trace_passes_as_it_came() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    let request = Request::get("/").header("traceparent", traceparent(true));
    assert_eq!(proxy.request(request).await.status, 200);
    assert_eq!(backend.last().all("traceparent"), [traceparent(true)]);
    assert_eq!(proxy.request(Request::get("/")).await.status, 200);
    assert!(backend.last().all("traceparent").is_empty());
    assert!(!proxy.metrics().await.has("trace_spans_exported_total"));
}

#[tokio::test]
async fn a_receiver_that_hangs_or_refuses_is_noticed_by_no_request_and_drops_are_counted() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let receiver = Backend::start(|_| Answer::Hang).await;
    let proxy = proxy(&topics)
        .traced(&receiver)
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "10")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
        .env("OTEL_BSP_EXPORT_TIMEOUT", "2000")
        .start()
        .await;
    let began = Instant::now();
    for number in 0..60 {
        let answer = proxy.request(Request::post("/", number.to_string())).await;
        answer.assert_echo(&number.to_string());
    }
    let took = began.elapsed();
    let metrics = proxy.metrics().await;
    let no_room = metrics.sum("trace_spans_dropped_total", &[("reason", "queue-full")]);
    println!("60 requests took {took:?}; {no_room} spans found no room");
    assert!(no_room >= 3.0 * 30.0, "{no_room}");
    assert!(metrics.sum("trace_requests_queued", &[]) <= 10.0);
    eventually("the export that hangs is given up", async || {
        let dropped = proxy.metrics().await;
        let lost = dropped.sum("trace_spans_dropped_total", &[("reason", "export-failed")]);
        (lost > 0.0).then_some(()).ok_or(lost.to_string())
    })
    .await;
    // It comes back, and spans reach it again.
    receiver.answer_with(|_| Answer::status(200));
    eventually("spans are exported again", async || {
        assert_eq!(proxy.request(Request::get("/")).await.status, 200);
        let exported = proxy.metrics().await.sum("trace_spans_exported_total", &[]);
        (exported > 0.0).then_some(()).ok_or(exported.to_string())
    })
    .await;
    let log = proxy.log();
    assert_eq!(log.matches("traces are not exported").count(), 1, "{log}");
    assert!(log.contains("traces are exported again"), "{log}");
    // Its end waits for no receiver.
    receiver.answer_with(|_| Answer::Hang);
    let ended = Instant::now();
    proxy.stop().await;
    assert!(ended.elapsed() < Duration::from_secs(20), "{:?}", ended.elapsed());
}

#[tokio::test]
async fn why_spans_are_not_exported_is_said_and_which_variable_named_the_receiver() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let hanging = Backend::start(|_| Answer::Hang).await;
    let closed = format!("http://127.0.0.1:{}", free_port());
    for (name, url, why) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &closed, "Connection refused"),
        // The request's own limit, and not the longer one of the export.
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &hanging.url(),
            "no answer within 0.3 s",
        ),
    ] {
        let proxy = proxy(&topics)
            .env(name, url)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .start()
            .await;
        assert_eq!(proxy.request(Request::get("/")).await.status, 200);
        let line = eventually("it is said", async || {
            let log = proxy.log();
            let found = log.lines().find(|line| line.contains("traces are not exported"));
            found.map(str::to_owned).ok_or(log)
        })
        .await;
        assert!(line.contains(why), "{line}");
        assert!(line.contains(url) && line.contains(name), "{line}");
    }
}

#[tokio::test]
async fn spans_of_a_topic_that_a_reload_added_say_as_much_as_others() {
    let receiver = Backend::start(|_| Answer::status(200)).await;
    let (orders, users) = (Topics::unique("orders"), Topics::unique("users"));
    let backend = Backend::echo().await;
    let processor = processor(&[(&orders, &backend.url())]).traced(&receiver).start().await;
    processor.configure(|config| {
        let mut added = config["topics"][0].clone();
        added["request_topic"] = users.request.clone().into();
        added["response_topic"] = users.response.clone().into();
        added["consumer_group"] = users.group.clone().into();
        config["topics"].as_array_mut().expect("a list").push(added);
    });
    processor.reload("applied").await;
    let proxy = proxy(&users).start().await;
    let request = Request::get("/").header("traceparent", traceparent(true));
    assert_eq!(proxy.request(request).await.status, 200);
    let spans = trace(&receiver, TRACE, 3).await;
    let processed = named(&spans, &format!("process {}", users.request), SpanKind::Consumer);
    assert_eq!(attribute(processed, "messaging.consumer.group.name"), users.group);
    let called = named(&spans, "GET", SpanKind::Client);
    assert_eq!(attribute(called, "server.address"), "127.0.0.1");
}
