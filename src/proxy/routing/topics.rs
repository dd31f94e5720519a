//! The topics that requests go to and replies come from: which names a client may give, and one shared entry for each known topic.
//!
//! A name costs little: of those that only clients give, the ones that opened are kept, up to a limit, and the one that was unused
//! longest makes room for another. A name whose topic has not opened takes the room of another such name only.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use globset::GlobSet;

use crate::error::RequestError;
use crate::kafka::topic_name::{globs, is_legal, is_private};
use crate::proxy::admission::consumers::Consumers;
use crate::proxy::admission::in_flight::TopicLoad;
use crate::proxy::metrics::{OTHER_TOPIC, ProxyMetrics, TopicMetrics};
use crate::settings::{CreateTopics, Proxy, Streams};

const REQUESTS_END: &str = "-requests";
const REPLIES_END: &str = "-responses";
/// The dead letter topic of kafka-http-proxy's README. It looks like a request topic, and a proxy need not know that it is none.
const PREDECESSORS_LETTERS: &str = "failed-requests";

/// What a topic is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicUse {
    Requests,
    Replies,
}

/// A topic that requests go to, or replies come from.
pub struct KnownTopic {
    pub name: Arc<str>,
    /// Where whoever sends requests to it steers their answers.
    pub control: Arc<str>,
    /// Where bodies of its requests go that are larger than a record.
    pub bodies: Arc<str>,
    /// What the configuration uses it for; `None`: only clients name it.
    configured_for: Option<TopicUse>,
    pub load: Arc<TopicLoad>,
    pub metrics: TopicMetrics,
    /// May be created when it is missing.
    pub may_create: bool,
    /// Set for a request topic whose consumer group is watched.
    pub consumers: Option<Arc<Consumers>>,
    usage: Usage,
}

/// How a topic is used that only clients name.
#[derive(Default)]
struct Usage {
    /// Requests under way that have named it, and openings.
    users: AtomicUsize,
    /// The count of `KnownTopics::named` when it was named last.
    last: AtomicU64,
    /// It has opened: it exists, and counts among those that are kept.
    opened: AtomicBool,
}

/// A topic that somebody uses: it is not idle until this is dropped.
pub struct TopicInUse(Arc<KnownTopic>);

impl TopicInUse {
    pub fn new(topic: Arc<KnownTopic>) -> Self {
        topic.usage.users.fetch_add(1, Ordering::AcqRel);
        TopicInUse(topic)
    }
}

impl Deref for TopicInUse {
    type Target = Arc<KnownTopic>;

    fn deref(&self) -> &Arc<KnownTopic> {
        &self.0
    }
}

impl Drop for TopicInUse {
    fn drop(&mut self) {
        self.0.usage.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl KnownTopic {
    /// Only clients name it, and it has opened, or has not yet.
    fn is_clients(&self, opened: bool) -> bool {
        self.configured_for.is_none() && self.usage.opened.load(Ordering::Acquire) == opened
    }

    fn is_configured_as(&self, other: &KnownTopic) -> bool {
        self.configured_for == other.configured_for
            && (&self.control, &self.bodies) == (&other.control, &other.bodies)
            && self.consumers.is_some() == other.consumers.is_some()
    }

    fn is_idle(&self) -> bool {
        self.usage.users.load(Ordering::Acquire) == 0
    }
}

/// The names that clients may give besides those of the configuration.
struct Nameable {
    requests: GlobSet,
    replies: GlobSet,
    dead_letter_topic: Option<String>,
    /// The names that `allowed_topics` gives in full. They have a metrics label of their own.
    labelled: HashSet<String>,
    /// The most topics that only clients name: of those that have opened, and as many that have not yet.
    limit: usize,
}

impl Nameable {
    /// A pattern that ends in `-requests` is for request topics only, and one that ends in `-responses` for reply topics.
    fn new(proxy: &Proxy, dead_letter_topic: Option<&str>) -> Self {
        let patterns = &proxy.allowed_topics;
        let without = |end: &str| {
            let kept = patterns.iter().filter(|pattern| !pattern.ends_with(end));
            globs(&kept.cloned().collect::<Vec<_>>())
        };
        Nameable {
            requests: without(REPLIES_END),
            replies: without(REQUESTS_END),
            dead_letter_topic: dead_letter_topic.map(str::to_owned),
            labelled: patterns.iter().cloned().collect(),
            limit: proxy.max_client_topics,
        }
    }

    /// Topics that applications keep to themselves are no client's, whatever the patterns say.
    fn has(&self, name: &str, wanted: TopicUse) -> bool {
        let holds_letters = name == PREDECESSORS_LETTERS || self.dead_letter_topic.as_deref() == Some(name);
        let is_private = is_private(name) || holds_letters;
        let allowed = match wanted {
            TopicUse::Requests => &self.requests,
            TopicUse::Replies => &self.replies,
        };
        !is_private && allowed.is_match(name)
    }
}

type Known = HashMap<Arc<str>, Arc<KnownTopic>>;

/// All known topics. Read by every request, written when a client first names one.
pub struct KnownTopics {
    known: ArcSwap<Known>,
    nameable: ArcSwap<Nameable>,
    may_create: GlobSet,
    /// How often a client has named one: the clock by which the one that was unused longest is found.
    named: AtomicU64,
    limit_was_logged: AtomicBool,
    metrics: ProxyMetrics,
}

/// The topics of a configuration that is to run: what `KnownTopics::replace` takes.
pub struct Next {
    configured: Known,
    nameable: Nameable,
}

impl Next {
    /// A configured topic.
    pub fn configured(&self, name: &str) -> Option<Arc<KnownTopic>> {
        self.configured.get(name).cloned()
    }
}

impl KnownTopics {
    /// Knows the configured topics from the start.
    pub fn new(proxy: &Proxy, create: &CreateTopics, dead_letter_topic: Option<&str>, metrics: ProxyMetrics) -> Self {
        KnownTopics {
            known: ArcSwap::from_pointee(configured(proxy, &metrics, &Known::new())),
            nameable: ArcSwap::from_pointee(Nameable::new(proxy, dead_letter_topic)),
            may_create: globs(&create.allow),
            named: AtomicU64::new(0),
            limit_was_logged: AtomicBool::new(false),
            metrics,
        }
    }

    /// The topics of other settings, those that stay as they are with all that is known of them. Nothing is changed yet.
    pub fn next(&self, proxy: &Proxy) -> Next {
        let dead_letter_topic = self.nameable.load().dead_letter_topic.clone();
        Next {
            configured: configured(proxy, &self.metrics, &self.known.load()),
            nameable: Nameable::new(proxy, dead_letter_topic.as_deref()),
        }
    }

    /// From now on these are the configured topics. Others stay that only clients name.
    pub fn replace(&self, next: Next) {
        self.nameable.store(Arc::new(next.nameable));
        let configured = &next.configured;
        self.change(|known| {
            known.retain(|name, topic| topic.configured_for.is_none() && !configured.contains_key(name));
            known.extend(configured.iter().map(|(name, topic)| (name.clone(), topic.clone())));
            Room::Enough
        });
    }

    /// A configured topic.
    pub fn configured(&self, name: &str) -> Option<Arc<KnownTopic>> {
        self.known.load().get(name).cloned()
    }

    /// Whether a topic is known still.
    pub fn has(&self, name: &str) -> bool {
        self.known.load().contains_key(name)
    }

    /// The topic a client names for this use.
    ///
    /// # Errors
    /// `BadTopic`: Kafka would refuse the name. `TopicNotAllowed`: it is private, not in `allowed_topics`, or configured for the other
    /// use: requests would be read as replies. `Overloaded`: `max_client_topics` names are opening at this moment. Kafka is not asked.
    pub fn named_by_client(&self, name: &str, wanted: TopicUse) -> Result<TopicInUse, RequestError> {
        let nameable = self.nameable.load();
        if let Some(topic) = self.configured(name) {
            let is_for_this = match topic.configured_for {
                Some(configured) => configured == wanted,
                None => nameable.has(name, wanted),
            };
            return is_for_this
                .then(|| self.used(topic))
                .ok_or(RequestError::TopicNotAllowed);
        }
        if !is_legal(name) {
            return Err(RequestError::BadTopic);
        }
        if nameable.limit == 0 || !nameable.has(name, wanted) {
            return Err(RequestError::TopicNotAllowed);
        }
        let name: Arc<str> = Arc::from(name);
        let topic = self.used(Arc::new(KnownTopic {
            control: Streams::default_control_topic(&name).into(),
            bodies: Streams::default_bodies_topic(&name).into(),
            name: name.clone(),
            configured_for: None,
            load: Arc::default(),
            // Labels come from bounded sets: a name that a client made up is `other`.
            metrics: self.metrics.topic(match nameable.labelled.contains(&*name) {
                true => &name,
                false => OTHER_TOPIC,
            }),
            may_create: self.may_create.is_match(&*name),
            consumers: None,
            usage: Usage::default(),
        }));
        self.change(|known| match known.contains_key(&name) {
            true => Room::Enough,
            false => self.room_for(known, false, |known| drop(known.insert(name.clone(), topic.clone()))),
        });
        let known = self.configured(&name).ok_or(RequestError::Overloaded)?;
        Ok(self.used(known))
    }

    /// A topic has opened: it is kept, in place of the one that was unused longest where there are too many.
    pub fn opened(&self, topic: &Arc<KnownTopic>) {
        if topic.is_clients(false) {
            self.change(|known| match known.get(&topic.name).cloned() {
                Some(same) if same.is_clients(false) => {
                    self.room_for(known, true, |_| same.usage.opened.store(true, Ordering::Release))
                }
                _ => Room::Enough,
            });
        }
    }

    /// A topic could not be opened, and may be tried again: its name is not kept.
    pub fn forget(&self, name: &str) {
        self.change(|known| {
            if known
                .get(name)
                .is_some_and(|topic| topic.is_clients(false) && topic.is_idle())
            {
                known.remove(name);
            }
            Room::Enough
        });
    }

    fn used(&self, topic: Arc<KnownTopic>) -> TopicInUse {
        if topic.configured_for.is_none() {
            let now = self.named.fetch_add(1, Ordering::Relaxed);
            topic.usage.last.store(now, Ordering::Relaxed);
        }
        TopicInUse::new(topic)
    }

    /// Adds a topic with `add` to those that have opened, or have not; one of these makes room where that is needed.
    fn room_for(&self, known: &mut Known, opened: bool, add: impl FnOnce(&mut Known)) -> Room {
        let alike = || known.values().filter(|topic| topic.is_clients(opened));
        if alike().count() < self.nameable.load().limit {
            add(known);
            return Room::Enough;
        }
        let idle = alike().filter(|topic| topic.is_idle());
        let unused_longest = idle.min_by_key(|topic| topic.usage.last.load(Ordering::Relaxed));
        if let Some(name) = unused_longest.map(|topic| topic.name.clone()) {
            known.remove(&name);
            add(known);
        }
        Room::Made
    }

    /// Changes the table; `change` may run again where another thread was quicker.
    fn change(&self, change: impl Fn(&mut Known) -> Room) {
        let room = Cell::new(Room::Enough);
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            room.set(change(&mut known));
            known
        });
        let opened = self
            .known
            .load()
            .values()
            .filter(|topic| topic.is_clients(true))
            .count();
        self.metrics.client_topics.set(opened as i64);
        if room.get() == Room::Made {
            self.metrics.client_topics_limited.inc();
            if !self.limit_was_logged.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    max_client_topics = self.nameable.load().limit,
                    "clients name more topics than may be known; the one that was unused longest makes room"
                );
            }
        }
    }
}

/// The entries of the configured topics. One that `before` has just so is taken over; of another, its load is.
fn configured(proxy: &Proxy, metrics: &ProxyMetrics, before: &Known) -> Known {
    let replies = [proxy.response_topic.as_str()].into_iter().chain(proxy.reply_topics());
    let requests = [proxy.request_topic.as_str()].into_iter().chain(proxy.request_topics());
    let all = replies
        .map(|name| (name, TopicUse::Replies))
        .chain(requests.map(|name| (name, TopicUse::Requests)));
    let groups = proxy.consumer_groups();
    let entry = |(name, used_for)| {
        let name: Arc<str> = Arc::from(name);
        let old = before.get(&name);
        let topic = KnownTopic {
            control: Arc::from(proxy.control_topic_of(&name)),
            bodies: Arc::from(proxy.bodies_topic_of(&name)),
            name: name.clone(),
            configured_for: Some(used_for),
            load: old.map(|old| old.load.clone()).unwrap_or_default(),
            metrics: metrics.topic(&name),
            may_create: true,
            consumers: groups.contains_key(&*name).then(Arc::default),
            usage: Usage::default(),
        };
        let same = old.filter(|old| old.is_configured_as(&topic)).cloned();
        (name, same.unwrap_or_else(|| Arc::new(topic)))
    };
    all.map(entry).collect()
}

/// Whether the limit was reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    /// Another topic made room, or none could.
    Made,
}

#[cfg(test)]
mod tests;
