//! One process from its settings to its exit code.
//!
//! - [`servers`]: the proxy's port and the management port.
//! - [`announce`]: tells systemd when the process is ready.
//! - [`kafka_watch`]: whether Kafka answers.
//! - [`watchers`]: who is told of requests.
//! - [`prepare`]: another configuration, made ready while it runs. [`reload`]: takes it over.
//! - [`watch_files`]: files that change.
//! - [`shutdown`]: the end, step by step.
//! - [`demo`]: both roles, a broker and a backend in one process.
//! - [`start_error`]: why a process cannot start.

mod announce;
pub mod demo;
mod kafka_watch;
mod prepare;
mod reload;
mod servers;
pub mod shutdown;
pub mod start_error;
mod watch_files;
mod watchers;

use std::sync::{Arc, OnceLock};

use actix::Arbiter;
use actix_web::dev::ServerHandle;
use actix_web::web;
use prometheus::Registry;
use rdkafka::util::get_rdkafka_version;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::shutdown::Budget;
use crate::app::start_error::StartError;
use crate::app::watchers::{Traced, Watchers};
use crate::console;
use crate::kafka::client::statistics;
use crate::kafka::cluster::health::KafkaHealth;
use crate::kafka::producer::Producer;
use crate::management::access::Access;
use crate::management::board::Board;
use crate::management::configuration::Configuration;
use crate::metrics;
use crate::process::exit;
use crate::process::listener::ListenerGuard;
use crate::process::log_writer;
use crate::process::phase::Phase;
use crate::process::service_manager::ServiceManager;
use crate::process::signals::{Asked, Signals};
use crate::processor::assemble::{self as processor, Processor};
use crate::processor::topics::Topics;
use crate::proxy::assemble as proxy;
use crate::proxy::reload::Reloader;
use crate::proxy::reply_router::slot::LostRequests;
use crate::settings::{Loaded, Mode};
use crate::supervision::health_supervisor::{HealthSupervisor, Retire, Retired, restarts};
use crate::supervision::spawn_watched::spawn_watched;
use crate::supervision::supervised::{Home, Supervised};

/// A started process.
pub struct App {
    /// The configuration that runs.
    running: Loaded,
    /// Takes over another one. `None`: this process is no proxy.
    reloader: Option<Reloader>,
    /// The same. `None`: this process is no processor.
    topics: Option<Topics>,
    /// Has the process end with 70.
    give_up: mpsc::UnboundedSender<String>,
    /// Shared with the handlers of both servers.
    board: web::Data<Board>,
    /// Sends requests to Kafka; flushed at the end. `None`: this process is no proxy.
    request_producer: Option<Arc<Producer<LostRequests>>>,
    /// Its producer sends replies, and is flushed at the end. `None`: this process is no processor.
    processor: Option<Arc<Processor>>,
    /// The proxy's server, and what closes its listener without losing a connection.
    http: Option<(ServerHandle, ListenerGuard)>,
    /// The management server; `None`: it has no port.
    management: Option<ServerHandle>,
    /// Why the process must give up: written by the supervisor, at most once for each of its actors.
    fatal: mpsc::UnboundedReceiver<String>,
    /// `None`: traces are off.
    traces: Option<Traced>,
    /// Told of readiness, of the end, and by the supervisor that the process turns.
    service_manager: ServiceManager,
}

impl App {
    /// Starts everything the mode asks for; returns once the ports are open. Must run inside an actix `System`.
    ///
    /// # Errors
    /// A port is taken, or librdkafka refuses the settings.
    pub fn start(loaded: Loaded) -> Result<Self, StartError> {
        Self::start_with(loaded, std::convert::identity)
    }

    /// The same, with each actor's factory put into `wrap` before it is supervised.
    fn start_with(
        loaded: Loaded,
        wrap: impl Fn(Box<dyn Supervised>) -> Box<dyn Supervised>,
    ) -> Result<Self, StartError> {
        let settings = &loaded.settings;
        let registry = Registry::new();
        registry.register(Box::new(log_writer::DROPPED.clone()))?;
        metrics::register_build(&registry, &get_rdkafka_version().1)?;
        statistics::register(&registry)?;
        let (phase, kafka) = (Phase::default(), KafkaHealth::default());
        let Watchers {
            exchanges,
            console,
            traces,
        } = Watchers::begin(settings, &registry)?;
        let proxy = settings
            .mode
            .is_proxy()
            .then(|| proxy::assemble(settings, &registry, &kafka, &phase, &exchanges))
            .transpose()?;
        let processor = settings
            .mode
            .is_processor()
            .then(|| processor::assemble(settings, &registry, &kafka, &exchanges))
            .transpose()?;
        let restarts = restarts(&registry)?;
        kafka_watch::watch(settings, &kafka, proxy.as_ref(), processor.as_ref())?;
        let board = web::Data::new(Board {
            phase,
            kafka,
            proxy: proxy.as_ref().map(|parts| parts.proxy.clone()),
            processor: processor.as_ref().map(|parts| parts.processor.clone()),
            registry: registry.clone(),
            access: Access::new(&settings.management),
            configuration: Configuration::new(&loaded, &registry)?,
            supervisor: OnceLock::new(),
        });
        let http = proxy
            .as_ref()
            .map(|parts| servers::serve_requests(settings, &parts.proxy, &board))
            .transpose()?;
        let serve_management = |console: console::Beginning| {
            let console = console.console(&board.clone().into_inner(), settings)?;
            servers::serve_management(settings, &board, console)
        };
        let management = console.map(serve_management).transpose()?;
        let mut supervised = Vec::new();
        let (mut request_producer, mut reloader) = (None, None);
        if let Some(parts) = proxy {
            request_producer = Some(parts.producer);
            reloader = Some(parts.reloader);
            supervised.extend(parts.supervised);
        }
        let (mut processor_role, mut topics) = (None, None);
        if let Some(parts) = processor {
            processor_role = Some(parts.processor);
            topics = Some(parts.topics);
            supervised.extend(parts.supervised);
        }
        let supervised = supervised.into_iter().map(wrap).collect();
        let (give_up, fatal) = mpsc::unbounded_channel();
        let died = give_up.clone();
        // Err of the sends: the process is past listening, at its end.
        let service_manager = ServiceManager::of_environment();
        let watchdog = service_manager.clone();
        let surrender = give_up.clone();
        let make = move |_: &mut actix::Context<HealthSupervisor>| {
            let give_up = move |why| drop(give_up.send(why));
            HealthSupervisor::new(supervised, restarts, give_up).with_watchdog(move || watchdog.alive())
        };
        let supervisor = spawn_watched(&Home::new(Arbiter::current()), make, move |reason| {
            drop(died.send(format!("the supervisor {reason}")))
        })
        .ok_or(StartError::Supervisor)?;
        // Err: set once, here.
        let _ = board.supervisor.set(supervisor);
        Ok(App {
            running: loaded,
            reloader,
            topics,
            give_up: surrender,
            board,
            request_producer,
            processor: processor_role,
            http,
            management,
            fatal,
            traces,
            service_manager,
        })
    }

    /// Runs until a signal ends it or the supervisor gives up, then shuts down; returns the process's exit code. A second signal cuts
    /// the shutdown short. SIGHUP has the configuration read again, and so have its files when they change, if they are watched.
    pub async fn run(mut self, signals: &mut Signals) -> u8 {
        let announced = self
            .service_manager
            .listens()
            .then(|| actix::spawn(announce::announce(self.service_manager.clone(), self.board.clone())));
        let mut files = watch_files::watch(&self.running);
        let why = loop {
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::End => break None,
                    Asked::Reload => {}
                },
                () = files.changed() => {}
                Some(why) = self.fatal.recv() => break Some(why),
            }
            if self.running.settings.mode == Mode::Demo {
                tracing::warn!("a demo keeps its configuration");
                continue;
            }
            // A configuration may be long in coming, and the end does not wait for it.
            tokio::select! {
                prepared = prepare::prepare(&self.running, self.reloader.as_ref(), self.topics.is_some()) => self.reload(prepared),
                () = signals.end() => break None,
                Some(why) = self.fatal.recv() => break Some(why),
            }
        };
        if let Some(why) = why {
            tracing::error!(why, "giving up; whatever runs this process should start it again");
            return exit::SOFTWARE;
        }
        let latest = self.running.settings.drain_timeout.saturating_add(shutdown::LAST_STEPS);
        announced.inspect(|task| task.abort());
        self.service_manager
            .stopping(latest.saturating_add(shutdown::LAST_STEPS));
        tokio::select! {
            code = self.shut_down() => code,
            // Each step has its own limit; this one is for what none of them foresees.
            () = tokio::time::sleep(latest) => {
                tracing::error!("the shutdown is stuck, and is cut off");
                exit::CUT_OFF
            }
            () = signals.end() => {
                tracing::warn!("second signal: ending at once");
                exit::CUT_OFF
            }
        }
    }

    /// What the management API looks at.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Drains, then ends everything; returns the exit code.
    pub async fn shut_down(mut self) -> u8 {
        let settings = &self.running.settings;
        let budget = Budget::new(settings.drain_timeout);
        tracing::info!(
            event = "stop",
            seconds = settings.drain_timeout.as_secs_f32(),
            "draining"
        );
        self.board.phase.drain();
        let mut clean = true;
        if let Some((http, guard)) = self.http {
            let proxy = self.board.proxy.clone();
            clean &= shutdown::close_proxy(http, guard, proxy, settings.pre_stop, budget).await;
        }
        let retired = match self.board.supervisor.get() {
            Some(supervisor) => {
                let retired = async { supervisor.send(Retire).await.unwrap_or_default() };
                shutdown::answer_of("supervisor", retired).await
            }
            None => Some(Retired::default()),
        };
        clean &= retired.is_some();
        let retired = retired.unwrap_or_default();
        if let Some(topics) = &mut self.topics {
            // Err: workers that a reload has let go are still at it; what they have runs again.
            clean &= tokio::time::timeout(budget.left_to_finish(), topics.exchanged())
                .await
                .is_ok();
        }
        let (request_producer, processor) = (self.request_producer, self.processor);
        let begun = CancellationToken::new();
        let streams = async {
            match &processor {
                Some(processor) => processor.streams.drain(budget.left(), &begun).await,
                None => true,
            }
        };
        let pumps = async {
            let drained = shutdown::drain_pumps(retired.pumps, budget).await;
            begun.cancel();
            drained
        };
        let (drained, streamed) = tokio::join!(pumps, streams);
        clean &= drained && streamed;
        let flush = move || {
            let requests = request_producer.is_none_or(|producer| producer.flush(budget.left()));
            processor.is_none_or(|processor| processor.producer.flush(budget.left_to_finish())) && requests
        };
        if !tokio::task::spawn_blocking(flush).await.unwrap_or(false) {
            tracing::error!("records were still queued for Kafka at the drain limit and are lost; raise drain_timeout");
            clean = false;
        }
        shutdown::stop_arbiters(retired.arbiters).await;
        if let Some(management) = self.management {
            // Err: it is stuck, and ends with the process.
            let _ = tokio::time::timeout(shutdown::LAST_STEPS, management.stop(false)).await;
        }
        if let Some(traces) = self.traces {
            traces.exporter.finish(shutdown::LAST_STEPS).await;
        }
        self.board.kafka.stop();
        tracing::info!(clean, "drained");
        if clean { exit::OK } else { exit::CUT_OFF }
    }
}

#[cfg(test)]
mod tests;
