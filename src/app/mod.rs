//! One process from its settings to its exit code.

pub mod demo;
pub mod shutdown;

use std::net::{IpAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use actix::Arbiter;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App as WebApp, HttpServer, web};
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use prometheus::Registry;
use tokio::sync::mpsc;

use crate::app::shutdown::Budget;
use crate::kafka::cluster::health::{KafkaHealth, Probe};
use crate::management::{self, Board};
use crate::process::assemble_error::AssembleError;
use crate::process::exit;
use crate::process::listener::{self, ListenerGuard};
use crate::process::phase::Phase;
use crate::process::signals::Signals;
use crate::processor::assemble::{Processor, ProcessorParts};
use crate::processor::lag::watch_ends;
use crate::proxy::assemble::ProxyParts;
use crate::proxy::connection::server;
use crate::proxy::handler::{Proxy, forward};
use crate::proxy::reply_router::slot::LostRequests;
use crate::settings::Settings;
use crate::supervision::health_supervisor::{Backends, HealthSupervisor, Retire};
use crate::supervision::spawn_watched::spawn_watched;

/// A started process.
pub struct App {
    settings: Settings,
    board: web::Data<Board>,
    proxy: Option<Arc<crate::kafka::producer::Producer<LostRequests>>>,
    processor: Option<Arc<Processor>>,
    http: Option<(ServerHandle, ListenerGuard)>,
    management: Option<ServerHandle>,
    /// Why the process must give up, from the supervisor.
    fatal: mpsc::UnboundedReceiver<String>,
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Assemble(#[from] AssembleError),
    #[error(
        "cannot listen on {bind}:{port}: {source}; free the port, or set another (port or PROXY_PORT, management_port or MANAGEMENT_PORT)"
    )]
    Listen {
        bind: IpAddr,
        port: u16,
        source: std::io::Error,
    },
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the supervisor's thread is gone")]
    Supervisor,
}

impl App {
    /// Starts everything the mode asks for; returns once the ports are open. Must run inside an actix `System`.
    ///
    /// # Errors
    /// A port is taken, or librdkafka refuses the settings.
    pub fn start(settings: Settings) -> Result<Self, StartError> {
        let registry = Registry::new();
        let (phase, kafka) = (Phase::default(), KafkaHealth::default());
        let proxy = settings
            .mode
            .is_proxy()
            .then(|| crate::proxy::assemble::assemble(&settings, &registry, &kafka, &phase))
            .transpose()?;
        let processor = settings
            .mode
            .is_processor()
            .then(|| crate::processor::assemble::assemble(&settings, &registry, &kafka))
            .transpose()?;
        watch_kafka(&settings, &kafka, proxy.as_ref(), processor.as_ref())?;
        if let Some(parts) = &processor {
            watch_ends(&parts.processor)?;
        }
        let board = web::Data::new(Board {
            phase,
            kafka,
            proxy: proxy.as_ref().map(|parts| parts.proxy.clone()),
            processor: processor.as_ref().map(|parts| parts.processor.clone()),
            registry: registry.clone(),
            token: settings.management.token.clone(),
            supervisor: OnceLock::new(),
        });
        let http = proxy
            .as_ref()
            .map(|parts| serve_requests(&settings, &parts.proxy, &board))
            .transpose()?;
        let management = (settings.management.port != 0)
            .then(|| serve_management(&settings, &board))
            .transpose()?;
        let (proxy, router) = proxy.map(|parts| (parts.producer, parts.supervised)).unzip();
        let (workers, checks, processor) = match processor {
            Some(ProcessorParts {
                processor,
                supervised,
                checks,
            }) => (supervised, checks, Some(processor)),
            None => (Vec::new(), Vec::new(), None),
        };
        let (give_up, fatal) = mpsc::unbounded_channel();
        let died = give_up.clone();
        let backends = Backends {
            checks,
            every: settings.processor.health_check_interval,
        };
        let supervised = router.into_iter().chain(workers).collect();
        // Err of the sends: the process is past listening, at its end.
        let make = move |_: &mut actix::Context<HealthSupervisor>| {
            let give_up = move |why| drop(give_up.send(why));
            // A clash of metric names is a mistake in this program; the panic ends the process with its text, through the watcher.
            HealthSupervisor::new(supervised, backends, &registry, give_up).unwrap_or_else(|error| panic!("{error}"))
        };
        let supervisor = spawn_watched(&Arbiter::current(), make, move |reason| {
            drop(died.send(format!("the supervisor {reason}")))
        })
        .ok_or(StartError::Supervisor)?;
        // Err: set once, here.
        let _ = board.supervisor.set(supervisor);
        Ok(App {
            settings,
            board,
            proxy,
            processor,
            http,
            management,
            fatal,
        })
    }

    /// Runs until a signal comes or the supervisor gives up, then shuts down; returns the process's exit code. A second signal cuts
    /// the shutdown short.
    pub async fn run(mut self, signals: &mut Signals) -> u8 {
        tokio::select! {
            () = signals.next() => {}
            Some(why) = self.fatal.recv() => {
                tracing::error!(why, "giving up; whatever runs this process should start it again");
                return exit::SOFTWARE;
            }
        }
        tokio::select! {
            code = self.shut_down() => code,
            () = signals.next() => {
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
    pub async fn shut_down(self) -> u8 {
        let budget = Budget::new(self.settings.drain_timeout);
        tracing::info!(seconds = self.settings.drain_timeout.as_secs_f32(), "draining");
        self.board.phase.drain();
        let mut clean = true;
        if let Some((http, guard)) = self.http {
            tokio::time::sleep(self.settings.pre_stop.min(budget.left())).await;
            guard.stop_new_connections();
            tokio::time::sleep(listener::SETTLE.min(budget.left())).await;
            // The socket is open while the guard is.
            drop(guard);
            let proxy = self.board.proxy.clone();
            let end_waiting = async {
                let router = proxy.and_then(|proxy| proxy.router.borrow().clone());
                match router {
                    Some(router) => router.drain().await,
                    None => 0,
                }
            };
            let cut_off = shutdown::close_listener(http, budget, end_waiting).await;
            if cut_off.waiting > 0 {
                tracing::error!(
                    lost = cut_off.waiting,
                    "requests still waited for their replies at the drain limit; raise drain_timeout"
                );
                clean = false;
            }
            if cut_off.connections {
                tracing::error!(
                    "requests or answers were still under way to or from clients at the drain limit and are cut off; raise drain_timeout"
                );
                clean = false;
            }
        }
        let mut retired = match self.board.supervisor.get() {
            Some(supervisor) => supervisor.send(Retire).await.unwrap_or_default(),
            None => Vec::new(),
        };
        clean &= shutdown::drain_pumps(&mut retired, budget).await;
        let (proxy, processor) = (self.proxy, self.processor);
        let flush = move || {
            let requests = proxy.is_none_or(|producer| producer.flush(budget.left()));
            processor.is_none_or(|processor| processor.producer.flush(budget.left())) && requests
        };
        if !tokio::task::spawn_blocking(flush).await.unwrap_or(false) {
            tracing::error!("records were still queued for Kafka at the drain limit and are lost; raise drain_timeout");
            clean = false;
        }
        shutdown::stop_arbiters(retired).await;
        if let Some(management) = self.management {
            management.stop(false).await;
        }
        self.board.kafka.stop();
        tracing::info!(clean, "drained");
        if clean { exit::OK } else { exit::CUT_OFF }
    }
}

fn watch_kafka(
    settings: &Settings,
    kafka: &KafkaHealth,
    proxy: Option<&ProxyParts>,
    processor: Option<&ProcessorParts>,
) -> std::io::Result<()> {
    let requests = proxy.map(|parts| parts.producer.clone());
    let replies = processor.map(|parts| parts.processor.producer.clone());
    let topic = match proxy {
        Some(_) => settings
            .proxy
            .request_topics()
            .first()
            .copied()
            .unwrap_or_default()
            .to_owned(),
        None => settings
            .processor
            .topics
            .first()
            .map(|topic| topic.request_topic.clone())
            .unwrap_or_default(),
    };
    let upkeep = {
        let (requests, replies) = (requests.clone(), replies.clone());
        move || {
            requests.iter().for_each(|producer| producer.heal());
            replies.iter().for_each(|producer| producer.heal());
        }
    };
    let mut probe = Probe::new(topic);
    let ask = move || match (&requests, &replies) {
        (Some(producer), _) => producer.probe(&mut probe),
        (None, Some(producer)) => producer.probe(&mut probe),
        (None, None) => Ok(()),
    };
    kafka.watch(ask, upkeep).map(drop)
}

fn serve_requests(
    settings: &Settings,
    proxy: &Arc<Proxy>,
    board: &web::Data<Board>,
) -> Result<(ServerHandle, ListenerGuard), StartError> {
    let (bind, port) = (settings.proxy.bind, settings.proxy.port);
    let (listener, guard) = listen(bind, port)?;
    let (proxy, board) = (web::Data::from(proxy.clone()), board.clone());
    let own_health = settings.management.port == 0;
    let limit = shutdown::server_limit(settings.drain_timeout);
    let make = move || {
        let app = WebApp::new().app_data(proxy.clone()).app_data(board.clone());
        let app = if own_health {
            app.configure(management::health_and_metrics)
        } else {
            app
        };
        app.default_service(web::to(forward))
    };
    let server = server::serve(listener, limit, make)?;
    let handle = server.handle();
    actix::spawn(server);
    Ok((handle, guard))
}

fn serve_management(settings: &Settings, board: &web::Data<Board>) -> Result<ServerHandle, StartError> {
    let (listener, _) = listen(settings.management.bind, settings.management.port)?;
    let (board, counted) = (board.clone(), counted(&board.registry));
    let server = HttpServer::new(move || {
        WebApp::new()
            .wrap(counted.clone())
            .app_data(board.clone())
            .configure(management::all)
    })
    .workers(1)
    .disable_signals()
    .listen(listener)?
    .run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}

/// Counts management requests; what no route serves is left out, so that labels come from bounded sets.
fn counted(registry: &Registry) -> PrometheusMetrics {
    let builder = PrometheusMetricsBuilder::new("management")
        .registry(registry.clone())
        .mask_unmatched_patterns("unmatched")
        .exclude_status(StatusCode::NOT_FOUND)
        .exclude_status(StatusCode::METHOD_NOT_ALLOWED);
    // A clash of metric names is a mistake in this program.
    builder
        .build()
        .unwrap_or_else(|error| panic!("management metrics: {error}"))
}

fn listen(bind: IpAddr, port: u16) -> Result<(TcpListener, ListenerGuard), StartError> {
    listener::listen(bind, port).map_err(|source| StartError::Listen { bind, port, source })
}
