//! Other settings while the proxy serves: made ready beside what runs, then taken over in one go, so that what cannot be used changes
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::kafka::producer::Producer;
use crate::proxy::admission::consumers::{self, Group};
use crate::proxy::admission::rate_limit::ClientLimit;
use crate::proxy::auth::jwks::Jwks;
use crate::proxy::handler::Proxy;
use crate::proxy::reply_router::slot::LostRequests;
use crate::proxy::routing::routes::Routes;
use crate::proxy::routing::topics::{KnownTopic, Next};
use crate::proxy::rules::Rules;
use crate::proxy::wanted::{SharedWanted, Wanted};
use crate::settings::{self, Fault, Settings};
use crate::wire::{Sealing, SharedSealing};

/// How long the keys of a new source are waited for.
const KEYS_WITHIN: Duration = Duration::from_secs(5);

/// Takes over other settings.
pub struct Reloader {
    proxy: Arc<Proxy>,
    producer: Arc<Producer<LostRequests>>,
    wanted: SharedWanted,
    sealing: SharedSealing,
    /// The task that watches consumer groups.
    watched: Option<JoinHandle<()>>,
}

/// Settings that can be taken over.
pub struct Prepared {
    topics: Next,
    rules: Rules,
    wanted: Wanted,
    sealing: Sealing,
}

impl Reloader {
    /// Begins with the watch on consumer groups. Must run inside an actix `System`.
    pub fn new(
        proxy: Arc<Proxy>,
        producer: Arc<Producer<LostRequests>>,
        wanted: SharedWanted,
        sealing: SharedSealing,
    ) -> Self {
        let configured = |name: &str| proxy.topics.configured(name);
        let watched = watch_consumers(&wanted.load().settings, configured, &producer);
        Reloader {
            proxy,
            producer,
            wanted,
            sealing,
            watched,
        }
    }

    /// Makes ready what the settings ask for. Changes nothing.
    ///
    /// # Errors
    /// What cannot be taken over.
    pub async fn prepare(&self, settings: &Settings) -> Result<Prepared, Vec<Fault>> {
        let own = &settings.proxy;
        let before = self.wanted.load_full();
        let mut faults = self.moved_replies(&before.settings, own);
        // The store of results was made for those.
        if !before.settings.later_routes().eq(own.later_routes()) {
            let problem = "requests whose answers are fetched later would go elsewhere, or demand another proof: that needs a restart";
            faults.push(fault("routes", problem));
        }
        let rules = self.proxy.rules.load_full();
        let known = rules
            .auth
            .keys()
            .filter(|_| have_same_keys(&before.settings.auth, &own.auth));
        let new = match known {
            Some(_) => None,
            None => Jwks::start(&own.auth, self.proxy.metrics.jwks.clone()),
        };
        if let Some(new) = &new
            && !new.are_read(KEYS_WITHIN).await
        {
            let problem = "the keys of tokens cannot be read from there; the log says why";
            faults.push(fault("auth.jwks", problem));
        }
        let keys = known.cloned().or(new);
        let client_limit = match own.rate_limit == before.settings.rate_limit {
            true => rules.client_limit.clone(),
            false => own.rate_limit.as_ref().and_then(ClientLimit::new).map(Arc::new),
        };
        let sealing = settings.sealing.derive();
        let sealing = sealing.map_err(|error| faults.push(fault("sealing.keys", error.to_string())));
        let topics = self.proxy.topics.next(own);
        let parts =
            Routes::new(own, |name| topics.configured(name)).zip(Wanted::new(own, |name| topics.configured(name)));
        match (parts, sealing) {
            (Some((routes, wanted)), Ok(sealing)) if faults.is_empty() => Ok(Prepared {
                rules: Rules::new(own, routes, client_limit, keys),
                topics,
                wanted,
                sealing,
            }),
            _ => Err(faults),
        }
    }

    /// Takes the settings over: requests that come from now on are treated by them.
    pub fn apply(&mut self, prepared: Prepared) {
        let Prepared {
            topics,
            rules,
            wanted,
            sealing,
        } = prepared;
        let own = &wanted.settings;
        if let Some(task) = self.watched.take() {
            task.abort();
        }
        self.watched = watch_consumers(own, |name| topics.configured(name), &self.producer);
        self.proxy
            .admission
            .set_limits(own.max_pending, own.max_pending_per_topic);
        self.proxy.bodies.bytes.set_max(own.max_pending_bytes);
        self.sealing.store(Arc::new(sealing));
        // First the topics: no route may lead to one that is not known.
        self.proxy.topics.replace(topics);
        self.wanted.store(Arc::new(wanted));
        self.proxy.rules.store(Arc::new(rules));
    }

    /// Reply topics that would have to be read on other partitions. Replies under way would be missed meanwhile.
    fn moved_replies(&self, before: &settings::Proxy, now: &settings::Proxy) -> Vec<Fault> {
        let kept = before.reply_topics();
        let both = now.reply_topics().into_iter().filter(|topic| kept.contains(topic));
        // The empty name stands for those that clients give.
        let named = (before.topic_headers && now.topic_headers).then_some("");
        let all = both.chain(named);
        let moved = all.filter(|topic| before.reply_partition_of(topic) != now.reply_partition_of(topic));
        let problem = |topic: &str| {
            let topic = if topic.is_empty() {
                "topics that clients name"
            } else {
                topic
            };
            let problem =
                format!("replies on {topic} would have to be read from other partitions: that needs a restart");
            fault("wire_format", problem)
        };
        moved.map(problem).collect()
    }
}

/// The keys of tokens come from the same source in the same way.
fn have_same_keys(one: &settings::Auth, other: &settings::Auth) -> bool {
    (&one.jwks, one.jwks_refresh, &one.algorithms) == (&other.jwks, other.jwks_refresh, &other.algorithms)
}

fn fault(key: &str, problem: impl Into<String>) -> Fault {
    Fault {
        key: key.to_owned(),
        problem: problem.into(),
        origin: None,
    }
}

/// Watches the consumer groups that the settings name.
fn watch_consumers(
    own: &settings::Proxy,
    configured: impl Fn(&str) -> Option<Arc<KnownTopic>>,
    producer: &Arc<Producer<LostRequests>>,
) -> Option<JoinHandle<()>> {
    let groups = own.consumer_groups().into_iter();
    let groups: Vec<Group> = groups
        .filter_map(|(topic, group)| Some(Group::new(group.to_owned(), configured(topic)?.consumers.clone()?)))
        .collect();
    (!groups.is_empty()).then(|| actix::spawn(consumers::watch(groups, producer.clone())))
}
