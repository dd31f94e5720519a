//! Who watches the requests of a process.

use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus::Registry;

use crate::app::start_error::StartError;
use crate::console;
use crate::exchange::access_log::AccessLog;
use crate::exchange::{Exchanges, Watcher};
use crate::settings::{Settings, Topic};
use crate::traces::{Backend, Environment, Exporter, SharedTopics, Topics};

/// What requests are told to, and what there is of it besides.
pub struct Watchers {
    pub exchanges: Exchanges,
    /// `None`: there is no management port.
    pub console: Option<console::Beginning>,
    /// `None`: traces are off.
    pub traces: Option<Traced>,
}

/// Traces are exported.
pub struct Traced {
    pub exporter: Exporter,
    /// What their spans say of topics.
    topics: SharedTopics,
}

impl Traced {
    /// From now on spans speak of these topics.
    pub fn configure(&self, settings: &Settings) {
        self.topics.store(Arc::new(topics(settings)));
    }
}

impl Watchers {
    /// All that the settings and the environment ask for.
    ///
    /// # Errors
    /// A name of a metric is taken, or traces cannot be exported.
    pub fn begin(settings: &Settings, registry: &Registry) -> Result<Self, StartError> {
        let mut all: Vec<Arc<dyn Watcher>> = Vec::new();
        let begun = (settings.management.port != 0).then(|| console::begin(registry));
        let console = begun.transpose()?.map(|(watcher, console)| {
            all.push(watcher);
            console
        });
        if let Some(log) = AccessLog::new(settings.log.access) {
            all.push(Arc::new(log));
        }
        let shows_queries = settings.log.shows_queries;
        let variable = |name: &str| std::env::var(name).ok();
        let Some(environment) = Environment::read(variable)? else {
            return Ok(Watchers {
                exchanges: Exchanges::new(all, shows_queries),
                console,
                traces: None,
            });
        };
        let topics: SharedTopics = Arc::new(ArcSwap::from_pointee(topics(settings)));
        let (exporter, traces) = Exporter::start(&environment, topics.clone(), registry)?;
        all.push(traces);
        Ok(Watchers {
            exchanges: Exchanges::new(all, shows_queries).traced(environment.sampler),
            console,
            traces: Some(Traced { exporter, topics }),
        })
    }
}

fn topics(settings: &Settings) -> Topics {
    let is_proxy_tls = settings.proxy.tls.is_some();
    let consumed = settings.mode.is_processor().then_some(&settings.processor.topics);
    let backend = |topic: &Topic| {
        let authority = &topic.backend_url.authority;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (&**authority, None),
        };
        let backend = Backend {
            group: topic.consumer_group.clone(),
            host: host.to_owned(),
            port,
        };
        (topic.request_topic.clone(), backend)
    };
    Topics {
        scheme: if is_proxy_tls { "https" } else { "http" },
        backends: consumed.into_iter().flatten().map(backend).collect(),
    }
}
