//! Which configuration runs, since when, and from where: what `/status` and the console show of it.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus::{IntCounterVec, Opts, Registry};
use serde::Serialize;

use crate::metrics::register;
use crate::settings::{Entry, Fault, Loaded, Settings};

/// How a reload ended, as the metric's label.
const RESULTS: [&str; 2] = ["applied", "refused"];

/// The configuration of the process. Read by `/status` and the console, written by reloads. Clones
/// share it.
#[derive(Clone)]
pub struct Configuration {
    now: Arc<ArcSwap<Running>>,
    reloads: IntCounterVec,
}

/// One configuration, as `/status` shows it.
#[derive(Debug, Clone, Serialize)]
struct Running {
    /// The same for the same settings: the beginning of the SHA-256 of what `check` prints of them.
    digest: String,
    /// When it was taken over.
    since: String,
    files: Vec<String>,
    /// The names of the variables that set something.
    environment: Vec<String>,
    /// Settings that have changed since the start in these sources, and that only a restart applies.
    needs_restart: Vec<String>,
    /// The last reload was refused, and changed nothing. `None`: it was not.
    refused: Option<Refused>,
    #[serde(skip)]
    settings: Arc<Settings>,
    #[serde(skip)]
    entries: Arc<[Entry]>,
}

#[derive(Debug, Clone, Serialize)]
struct Refused {
    at: String,
    faults: Vec<String>,
}

impl Configuration {
    /// The configuration of the start.
    ///
    /// # Errors
    /// The metric's name is taken.
    pub fn new(loaded: &Loaded, registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "config_reloads_total",
            "Reloads of the configuration, by how they ended",
        );
        let reloads = register(registry, IntCounterVec::new(opts, &["result"])?)?;
        for result in RESULTS {
            reloads.with_label_values(&[result]);
        }
        Ok(Configuration {
            now: Arc::new(ArcSwap::from_pointee(Running::new(loaded, Vec::new()))),
            reloads,
        })
    }

    /// This configuration runs from now on.
    pub fn applied(&self, loaded: &Loaded, needs_restart: Vec<String>) {
        self.reloads.with_label_values(&[RESULTS[0]]).inc();
        self.now.store(Arc::new(Running::new(loaded, needs_restart)));
    }

    /// Another one was refused.
    pub fn refused(&self, faults: &[Fault]) {
        self.reloads.with_label_values(&[RESULTS[1]]).inc();
        let refused = Refused {
            at: now(),
            faults: faults.iter().map(ToString::to_string).collect(),
        };
        self.now.rcu(|running| Running {
            refused: Some(refused.clone()),
            ..Running::clone(running)
        });
    }

    /// Its settings.
    pub fn settings(&self) -> Arc<Settings> {
        self.now.load().settings.clone()
    }

    /// The same, one by one, as they may be shown.
    pub fn entries(&self) -> Arc<[Entry]> {
        self.now.load().entries.clone()
    }

    /// As `/status` shows it.
    pub fn show(&self) -> impl Serialize + use<> {
        Running::clone(&self.now.load())
    }
}

impl Running {
    fn new(loaded: &Loaded, needs_restart: Vec<String>) -> Self {
        Running {
            digest: loaded.digest(),
            since: now(),
            files: loaded.sources.files(),
            environment: loaded.sources.variables(),
            needs_restart,
            refused: None,
            settings: Arc::new(loaded.settings.clone()),
            entries: loaded.entries().into(),
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
