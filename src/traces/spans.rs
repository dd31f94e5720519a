//! The spans of one request, as one instance saw it. Names and attributes are those of OpenTelemetry's semantic conventions for HTTP and
//! for messaging (1.36); bodies, header fields and credentials are in none of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;

use crate::exchange::{Attempt, Exchange, Phase, RecordPosition, Role, Trace};
use crate::traces::draft::Draft;

/// The present ones: a reload exchanges them.
pub type SharedTopics = Arc<ArcSwap<Topics>>;

/// What a request's record does not say of its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    /// Of the proxy's port: `http` or `https`.
    pub scheme: &'static str,
    /// By request topic; those that this process consumes.
    pub backends: HashMap<String, Backend>,
}

/// Who consumes a request topic, and whom it calls.
#[derive(Debug, Clone)]
pub struct Backend {
    pub group: String,
    pub host: String,
    pub port: Option<u16>,
}

/// How many spans [`of`] makes.
pub fn count(exchange: &Exchange) -> u64 {
    let reply = u64::from(exchange.reply.is_some());
    match exchange.role {
        Role::Proxy => 1 + u64::from(was_sent(exchange)) + reply,
        Role::Processor => 1 + exchange.attempts.len() as u64 + reply,
    }
}

/// The spans of a request. None, where its trace is not recorded.
pub fn of(exchange: &Exchange, topics: &Topics) -> Vec<SpanData> {
    let Some(trace) = exchange.trace.filter(Trace::is_recorded) else {
        return Vec::new();
    };
    let maker = Maker {
        exchange,
        trace,
        topics,
    };
    match exchange.role {
        Role::Proxy => maker.of_proxy(),
        Role::Processor => maker.of_processor(),
    }
}

/// The proxy gave its record to the producer.
fn was_sent(exchange: &Exchange) -> bool {
    exchange.phases.get(Phase::Produce).is_some() || exchange.phases.get(Phase::Reply).is_some()
}

struct Maker<'e> {
    exchange: &'e Exchange,
    trace: Trace,
    topics: &'e Topics,
}

impl Maker<'_> {
    fn of_proxy(&self) -> Vec<SpanData> {
        let exchange = self.exchange;
        let phase = |phase| exchange.phases.get(phase).unwrap_or_default();
        let admitted = phase(Phase::Admission);
        let produced = admitted + phase(Phase::Produce);
        let replied = produced + phase(Phase::Reply);
        let mut spans = vec![self.server()];
        if was_sent(exchange)
            && let Some(to) = &exchange.request
        {
            let mut sent = self.sent(to, exchange.request_bytes, admitted, produced);
            sent.attributes.extend(self.key());
            spans.push(self.span(sent));
        }
        if let Some(from) = &exchange.reply {
            spans.push(self.span(Draft {
                kind: SpanKind::Client,
                name: format!("receive {}", from.topic).into(),
                attributes: self.messaging("receive", from),
                link: self.trace.replied,
                ..self.child(produced, replied)
            }));
        }
        spans
    }

    fn of_processor(&self) -> Vec<SpanData> {
        let exchange = self.exchange;
        let mut spans = Vec::with_capacity(2 + exchange.attempts.len());
        if let Some(record) = &exchange.request {
            let mut attributes = self.messaging("process", record);
            attributes.push(number("messaging.message.body.size", exchange.request_bytes));
            attributes.extend(self.key());
            if let Some(backend) = self.backend() {
                attributes.push(KeyValue::new("messaging.consumer.group.name", backend.group.clone()));
            }
            let name = format!("process {}", record.topic).into();
            spans.push(self.own(SpanKind::Consumer, name, attributes));
        }
        let calls = exchange.attempts.iter().enumerate();
        spans.extend(calls.map(|(repeated, call)| self.call(repeated, call)));
        if let Some(to) = &exchange.reply {
            let last = exchange.attempts.last();
            let from = last.map_or(Duration::ZERO, |last| {
                self.since_start(last.began) + last.took.unwrap_or_default()
            });
            let from = from.min(exchange.took);
            spans.push(self.span(self.sent(to, exchange.response_bytes, from, exchange.took)));
        }
        spans
    }

    /// The request as its client sees it.
    fn server(&self) -> SpanData {
        let exchange = self.exchange;
        let (path, query) = match exchange.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*exchange.path, None),
        };
        let mut attributes = vec![
            KeyValue::new("http.request.method", exchange.method.to_string()),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("url.scheme", self.topics.scheme),
            number("http.request.body.size", exchange.request_bytes),
            number("http.response.body.size", exchange.response_bytes),
            self.conversation(),
        ];
        attributes.extend(query.map(|query| KeyValue::new("url.query", query.to_owned())));
        let status = exchange.ending.status;
        attributes.extend(status.map(|status| number("http.response.status_code", u64::from(status))));
        let client = exchange.client.as_ref();
        attributes.extend(client.map(|client| KeyValue::new("client.address", client.to_string())));
        let principal = exchange.principal.clone();
        attributes.extend(principal.map(|principal| KeyValue::new("user.name", principal)));
        self.own(SpanKind::Server, exchange.method.clone(), attributes)
    }

    /// One call of the backend.
    fn call(&self, repeated: usize, call: &Attempt) -> SpanData {
        let exchange = self.exchange;
        let mut attributes = vec![KeyValue::new("http.request.method", exchange.method.to_string())];
        if let Some(backend) = self.backend() {
            attributes.push(KeyValue::new("server.address", backend.host.clone()));
            attributes.extend(backend.port.map(|port| number("server.port", u64::from(port))));
        }
        attributes.extend(
            call.status
                .map(|status| number("http.response.status_code", u64::from(status))),
        );
        if repeated > 0 {
            attributes.push(number("http.request.resend_count", repeated as u64));
        }
        let is_cut_off = call.took.is_none().then_some("cut-off");
        // Of a client's span, 400 is an error too (HTTP conventions, Status).
        let status = call.status.filter(|status| *status >= 400);
        let error = call.error.or(is_cut_off).map(Cow::Borrowed);
        let from = self.since_start(call.began);
        self.span(Draft {
            id: call.span,
            kind: SpanKind::Client,
            name: exchange.method.clone(),
            attributes,
            error: error.or(status.map(|status| status.to_string().into())),
            ..self.child(from, call.took.map_or(exchange.took, |took| from + took))
        })
    }

    /// This instance's own span: all of the request, as far as it took part.
    fn own(&self, kind: SpanKind, name: Cow<'static, str>, attributes: Vec<KeyValue>) -> SpanData {
        self.span(Draft {
            id: self.trace.context.span,
            parent: self.trace.parent,
            is_remote: true,
            kind,
            name,
            attributes,
            link: self.trace.link,
            error: self.error(),
            ..self.child(Duration::ZERO, self.exchange.took)
        })
    }

    /// A record on its way to Kafka.
    fn sent(&self, to: &RecordPosition, bytes: u64, from: Duration, until: Duration) -> Draft {
        let mut attributes = self.messaging("send", to);
        attributes.push(number("messaging.message.body.size", bytes));
        Draft {
            id: self.trace.sent,
            kind: SpanKind::Producer,
            name: format!("send {}", to.topic).into(),
            attributes,
            ..self.child(from, until)
        }
    }

    /// A span below this instance's own one.
    fn child(&self, from: Duration, until: Duration) -> Draft {
        Draft::child(self.trace.context.span, from, until)
    }

    fn span(&self, draft: Draft) -> SpanData {
        draft.span(self.trace.context, self.exchange.at)
    }

    fn messaging(&self, operation: &'static str, place: &RecordPosition) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.name", operation),
            KeyValue::new("messaging.operation.type", operation),
            KeyValue::new("messaging.destination.name", place.topic.to_string()),
            self.conversation(),
        ];
        let partition = place.partition.map(|partition| partition.to_string());
        attributes.extend(partition.map(|partition| KeyValue::new("messaging.destination.partition.id", partition)));
        attributes.extend(
            place
                .offset
                .map(|offset| KeyValue::new("messaging.kafka.offset", offset)),
        );
        attributes
    }

    fn conversation(&self) -> KeyValue {
        KeyValue::new(
            "messaging.message.conversation_id",
            self.exchange.correlation_id.to_string(),
        )
    }

    fn key(&self) -> Option<KeyValue> {
        let key = self.exchange.key.as_ref()?;
        let text = String::from_utf8_lossy(key).into_owned();
        Some(KeyValue::new("messaging.kafka.message.key", text))
    }

    fn backend(&self) -> Option<&Backend> {
        let record = self.exchange.request.as_ref()?;
        self.topics.backends.get(&*record.topic)
    }

    /// Why the request failed, if it did: a code of ours, or the status.
    fn error(&self) -> Option<Cow<'static, str>> {
        let ending = self.exchange.ending;
        let status = ending.status.filter(|status| *status >= 500);
        let code = ending.code.map(Cow::Borrowed);
        code.or(status.map(|status| status.to_string().into()))
    }

    fn since_start(&self, then: Instant) -> Duration {
        then.saturating_duration_since(self.exchange.began)
    }
}

/// A number that fits, or the largest one.
fn number(name: &'static str, value: u64) -> KeyValue {
    KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanId, Status};

    use super::*;
    use crate::exchange::{Ending, Sampler};

    fn exchange(role: Role, sampler: Sampler) -> Exchange {
        let mut exchange = Exchange::begin(role);
        let topic: Arc<str> = "orders".into();
        exchange.asks("POST", "/orders?token=secret", false);
        exchange.trace = Some(Trace::begin(sampler, None));
        exchange.request = Some(RecordPosition::of(&topic));
        exchange.took = Duration::from_millis(40);
        exchange.ending = Ending::answered(200);
        exchange
    }

    fn attribute(span: &SpanData, name: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.to_string())
    }

    #[test]
    fn a_request_that_was_not_sent_has_one_span_and_its_error() {
        let mut refused = exchange(Role::Proxy, Sampler::new(true, 1.0));
        refused.ending = Ending::error(503, "overloaded");
        let spans = of(&refused, &Topics::default());
        assert_eq!((spans.len() as u64, &*spans[0].name), (count(&refused), "POST"));
        assert_eq!(attribute(&spans[0], "error.type").as_deref(), Some("overloaded"));
        assert_eq!(attribute(&spans[0], "url.query").as_deref(), Some("***"));
        assert!(matches!(spans[0].status, Status::Error { .. }));
        let passed = exchange(Role::Proxy, Sampler::new(true, 0.0));
        assert!(of(&passed, &Topics::default()).is_empty());
    }

    #[test]
    fn the_spans_of_a_request_hang_together_and_follow_each_other() {
        let mut answered = exchange(Role::Proxy, Sampler::new(true, 1.0));
        for (phase, ms) in [(Phase::Admission, 1), (Phase::Produce, 2), (Phase::Reply, 30)] {
            answered.phases.set(phase, Duration::from_millis(ms));
        }
        answered.reply = Some(RecordPosition::of(&"replies".into()));
        let spans = of(&answered, &Topics::default());
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(names, ["POST", "send orders", "receive replies"]);
        assert_eq!(spans.len() as u64, count(&answered));
        let [server, send, receive] = &spans[..] else {
            unreachable!()
        };
        for child in [send, receive] {
            assert_eq!(child.parent_span_id, server.span_context.span_id());
            assert!(child.start_time >= server.start_time && child.end_time <= server.end_time);
        }
        assert_eq!(send.span_context.span_id(), SpanId::from(answered.trace.unwrap().sent));
        assert_eq!(receive.start_time, send.end_time);
    }

    #[test]
    fn each_call_has_a_span_and_a_repeated_one_says_so() {
        let mut processed = exchange(Role::Processor, Sampler::new(true, 1.0));
        let mut calls = [Attempt::begin(11), Attempt::begin(12)];
        calls[0].ended(Ok(503));
        calls[1].ended(Ok(200));
        processed.attempts = calls.to_vec();
        processed.reply = Some(RecordPosition::of(&"replies".into()));
        let backend = Backend {
            group: "g".into(),
            host: "shop".into(),
            port: Some(80),
        };
        let topics = Topics {
            scheme: "http",
            backends: [("orders".to_owned(), backend)].into(),
        };
        let spans = of(&processed, &topics);
        assert_eq!(spans.len() as u64, count(&processed));
        let kinds: Vec<_> = spans.iter().map(|span| span.span_kind.clone()).collect();
        assert_eq!(
            kinds,
            [
                SpanKind::Consumer,
                SpanKind::Client,
                SpanKind::Client,
                SpanKind::Producer
            ]
        );
        assert_eq!(
            attribute(&spans[0], "messaging.consumer.group.name").as_deref(),
            Some("g")
        );
        assert_eq!(attribute(&spans[1], "error.type").as_deref(), Some("503"));
        assert_eq!(attribute(&spans[1], "http.request.resend_count"), None);
        assert_eq!(attribute(&spans[2], "http.request.resend_count").as_deref(), Some("1"));
        assert_eq!(spans[2].span_context.span_id(), SpanId::from(12));
        assert!(spans[3].start_time >= spans[2].end_time);
    }
}
