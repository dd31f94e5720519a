//! Between requests and the receiver: a bounded queue, and a thread that makes spans of what is in it and exports them in batches.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use prometheus::Registry;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exchange::{Exchange, Trace, Watcher};
use crate::traces::environment::Environment;
use crate::traces::metrics::TraceMetrics;
use crate::traces::spans::{self, SharedTopics};
use crate::traces::transport::{LastFailure, Transport};

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("traces cannot be exported: {0}; see the OTEL_* variables")]
    Exporter(#[from] ExporterBuildError),
    #[error("traces cannot be exported: {0}")]
    Tls(String),
    #[error("traces cannot be exported, there is no thread for it: {0}")]
    Thread(#[from] std::io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Takes the requests whose traces are recorded. Never waits: what finds no room is dropped, and counted.
pub struct Traces {
    queue: mpsc::Sender<Arc<Exchange>>,
    metrics: TraceMetrics,
}

impl Watcher for Traces {
    fn wants(&self, exchange: &Exchange) -> bool {
        exchange.trace.as_ref().is_some_and(Trace::is_recorded)
    }

    fn ended(&self, exchange: &Arc<Exchange>) {
        // Before it leaves, so that the gauge is never below zero.
        self.metrics.queued.inc();
        if self.queue.try_send(exchange.clone()).is_err() {
            self.metrics.queued.dec();
            self.metrics.no_room.inc_by(spans::count(exchange));
        }
    }
}

/// The thread that exports.
pub struct Exporter {
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Exporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// A variable of the environment cannot be used, or there is no thread to be had.
    pub fn start(
        environment: &Environment,
        topics: SharedTopics,
        registry: &Registry,
    ) -> Result<(Self, Arc<Traces>), ExportError> {
        let metrics = TraceMetrics::register(registry)?;
        let failure = LastFailure::default();
        let transport = Transport::new(&environment.tls, environment.request_timeout, failure.clone());
        let transport = transport.map_err(ExportError::Tls)?;
        let mut receiver = SpanExporter::builder()
            .with_http()
            .with_http_client(transport)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(environment.request_timeout)
            .build()?;
        receiver.set_resource(&resource());
        let (queue, waiting) = mpsc::channel(environment.queue);
        let (stop, (end, ended)) = (CancellationToken::new(), oneshot::channel());
        let export = Export {
            waiting,
            receiver,
            failure,
            named: environment.receiver.clone(),
            topics,
            most: environment.batch,
            delay: environment.delay,
            timeout: environment.timeout,
            metrics: metrics.clone(),
            stop: stop.clone(),
            is_failing: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("khp-traces".into()).spawn(move || {
            runtime.block_on(export.run());
            // Err: nobody waits for the end.
            let _ = end.send(());
        })?;
        Ok((Exporter { stop, ended }, Arc::new(Traces { queue, metrics })))
    }

    /// Exports what waits, and ends; gives up after `within`.
    pub async fn finish(self, within: Duration) {
        self.stop.cancel();
        // Err: the receiver hangs, or the thread is gone. What is lost then was to be lost.
        let _ = tokio::time::timeout(within, self.ended).await;
    }
}

/// Who this is: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`, which the builder reads, or else our name.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let found = Resource::builder().with_attribute(version.clone()).build();
    let name = found.get(&"service.name".into());
    // OpenTelemetry's word for a program that nobody has named.
    match name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        true => found,
        false => Resource::builder()
            .with_service_name(env!("CARGO_PKG_NAME"))
            .with_attribute(version)
            .build(),
    }
}

/// What the thread works with.
struct Export {
    waiting: mpsc::Receiver<Arc<Exchange>>,
    receiver: SpanExporter,
    failure: LastFailure,
    /// The receiver, and what named it.
    named: String,
    topics: SharedTopics,
    /// So many spans are exported at once.
    most: usize,
    /// So long a span waits for others.
    delay: Duration,
    timeout: Duration,
    metrics: TraceMetrics,
    stop: CancellationToken,
    /// The last export failed, which was said.
    is_failing: bool,
}

impl Export {
    async fn run(mut self) {
        let mut goes_on = true;
        while goes_on {
            let batch;
            (batch, goes_on) = self.collect().await;
            if !batch.is_empty() {
                self.export(batch).await;
            }
        }
    }

    /// The next batch, and whether another one may follow.
    async fn collect(&mut self) -> (Vec<SpanData>, bool) {
        let mut batch = Vec::new();
        let mut until: Option<Instant> = None;
        while batch.len() < self.most {
            let delay = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let exchange = tokio::select! {
                biased;
                exchange = self.waiting.recv() => exchange,
                () = self.stop.cancelled() => None,
                () = delay => return (batch, true),
            };
            let Some(exchange) = exchange else {
                return (batch, false);
            };
            self.metrics.queued.dec();
            batch.extend(spans::of(&exchange, &self.topics.load()));
            until.get_or_insert_with(|| Instant::now() + self.delay);
        }
        (batch, true)
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let outcome = tokio::time::timeout(self.timeout, self.receiver.export(batch)).await;
        let error = match outcome {
            Ok(Ok(())) => {
                self.metrics.exported.inc_by(count);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("traces are exported again");
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("not exported within {} s", self.timeout.as_secs_f32()),
        };
        let error = match &*self.failure.load() {
            Some(cause) => format!("{error}: {cause}"),
            None => error,
        };
        self.metrics.not_taken.inc_by(count);
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(
                error,
                receiver = self.named,
                "traces are not exported; requests go on (said once, until one export succeeds)"
            );
        }
    }
}
