//! Another configuration while the process runs: read and checked whole, made ready beside what runs, then taken over in one go. What
//! cannot be used changes nothing.

use crate::app::App;
use crate::kafka::client::oauth;
use crate::process::telemetry;
use crate::processor::backend::tls::Connectors;
use crate::processor::topics::{self, Topics};
use crate::proxy::reload::{self as proxy, Reloader};
use crate::settings::{Change, Fault, Loaded};

/// Both roles' parts of a configuration that can be taken over.
pub struct Prepared {
    change: Change,
    proxy: Option<proxy::Prepared>,
    topics: Option<topics::Prepared>,
}

type TopicsOrFaults = Result<topics::Prepared, Vec<Fault>>;

/// Reads the configuration, and what its topics need. Blocks.
fn read(running: &Loaded, connectors: Option<Connectors>) -> Result<(Change, Option<TopicsOrFaults>), Vec<Fault>> {
    let loaded = running.sources.load().map_err(|error| error.faults)?;
    let change = loaded.replacing(running).map_err(|error| error.faults)?;
    let topics = connectors.map(|connectors| Topics::prepare(&connectors, &change.next.settings));
    Ok((change, topics))
}

/// Reads the configuration again, with the files that it refers to. Changes nothing, so it can be broken off. Files are read on a thread of
/// their own: one of them may be a pipe.
///
/// # Errors
/// What cannot be taken over.
pub async fn prepare(
    running: &Loaded,
    reloader: Option<&Reloader>,
    topics: Option<&Topics>,
) -> Result<Prepared, Vec<Fault>> {
    let (running, connectors) = (running.clone(), topics.map(Topics::connectors));
    let read = tokio::task::spawn_blocking(move || read(&running, connectors));
    let panicked = |error: tokio::task::JoinError| {
        vec![Fault {
            key: "settings".into(),
            problem: format!("could not be read: {error}"),
            origin: None,
        }]
    };
    let (change, topics) = read.await.map_err(panicked)??;
    let proxy = match reloader {
        Some(reloader) => Some(reloader.prepare(&change.next.settings).await),
        None => None,
    };
    match (proxy.transpose(), topics.transpose()) {
        (Ok(proxy), Ok(topics)) => Ok(Prepared { change, proxy, topics }),
        (proxy, topics) => {
            let faults = proxy.err().into_iter().chain(topics.err());
            Err(faults.flatten().collect())
        }
    }
}

impl App {
    /// Takes a configuration over, or says why not.
    pub(super) fn reload(&mut self, prepared: Result<Prepared, Vec<Fault>>) {
        match prepared {
            Ok(prepared) => self.apply(prepared),
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(event = "reload", %fault, "the configuration is refused, and the old one goes on");
                }
                self.board.configuration.refused(&faults);
            }
        }
    }

    /// From here on nothing can fail.
    fn apply(&mut self, prepared: Prepared) {
        let Change {
            next,
            applied,
            mut needs_restart,
        } = prepared.change;
        next.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if let (Some(reloader), Some(prepared)) = (&mut self.reloader, prepared.proxy) {
            reloader.apply(prepared);
        }
        if let (Some(topics), Some(prepared), Some(supervisor)) =
            (&mut self.topics, prepared.topics, self.board.supervisor.get())
        {
            let give_up = self.give_up.clone();
            // Err: the process is past listening, at its end.
            topics.apply(prepared, supervisor, move |why| drop(give_up.send(why)));
        }
        let settings = &next.settings;
        if let Some(traces) = &self.traces {
            traces.configure(settings);
        }
        oauth::replace(&settings.kafka.properties);
        match (&settings.management.token, self.board.access.has_token()) {
            (Some(token), _) => self.board.access.replace_token(token.clone()),
            // Whoever may not ask today must not be let in by a file that lost a line.
            (None, true) => needs_restart.push("management_token".into()),
            (None, false) => {}
        }
        // One that an operator has set since stays, until another one is configured.
        if settings.log.level != self.running.settings.log.level {
            // Err: never, the settings are checked. False: RUST_LOG wins, as at the start.
            let _ = telemetry::set_level(&settings.log.level);
        }
        if !needs_restart.is_empty() {
            tracing::warn!(
                event = "reload",
                settings = needs_restart.join(", "),
                "changed settings need a restart"
            );
        }
        tracing::info!(
            event = "reload",
            digest = next.digest(),
            changed = applied.join(", "),
            "the configuration was read again and runs"
        );
        self.board.configuration.applied(&next, needs_restart);
        // What needs a restart is as it was at the start.
        let (drain_timeout, pre_stop) = (self.running.settings.drain_timeout, self.running.settings.pre_stop);
        self.running = next;
        self.running.settings.drain_timeout = drain_timeout;
        self.running.settings.pre_stop = pre_stop;
    }
}
