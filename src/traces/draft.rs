//! What one span says, and the form in which OpenTelemetry's exporter takes it.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::exchange::trace::new_span;
use crate::wire::trace_parent::TraceParent;

/// What makes a span one of its own.
pub struct Draft {
    pub id: u64,
    pub parent: u64,
    /// The parent is another process's.
    pub is_remote: bool,
    pub kind: SpanKind,
    pub name: Cow<'static, str>,
    /// From the beginning of the request.
    pub from: Duration,
    pub until: Duration,
    pub attributes: Vec<KeyValue>,
    pub link: Option<TraceParent>,
    /// A code of ours, or a status; `None`: it went well.
    pub error: Option<Cow<'static, str>>,
}

impl Draft {
    /// A span of this process below `parent`, without a name yet.
    pub fn child(parent: u64, from: Duration, until: Duration) -> Self {
        Draft {
            id: new_span(),
            parent,
            is_remote: false,
            kind: SpanKind::Internal,
            name: Cow::Borrowed(""),
            from,
            until,
            attributes: Vec::new(),
            link: None,
            error: None,
        }
    }

    /// The span, of this trace and of a request that began then.
    pub fn span(self, trace: TraceParent, began: SystemTime) -> SpanData {
        let at = |since: Duration| began.checked_add(since).unwrap_or(began);
        let mut links = SpanLinks::default();
        let link = self.link.map(|link| Link::with_context(context(link, true)));
        links.links.extend(link);
        let mut attributes = self.attributes;
        let status = match self.error {
            None => Status::Unset,
            Some(error) => {
                attributes.push(KeyValue::new("error.type", error));
                Status::error("")
            }
        };
        SpanData {
            span_context: context(trace.with_span(self.id), false),
            parent_span_id: SpanId::from(self.parent),
            parent_span_is_remote: self.is_remote && self.parent != 0,
            span_kind: self.kind,
            name: self.name,
            start_time: at(self.from),
            end_time: at(self.until),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links,
            status,
            instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

fn context(of: TraceParent, is_remote: bool) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(of.sampled);
    SpanContext::new(of.trace.into(), of.span.into(), flags, is_remote, TraceState::default())
}
