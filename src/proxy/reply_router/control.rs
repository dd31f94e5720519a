//! The control topics: which of them can be used, and what is written to them.
//!
//! A topic that cannot be used holds up nothing: answers are whole then, and it is tried again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control_trouble::{ControlError, MissingControl};
use super::slot::CONTROL_TICKET;
use super::topic_tasks::TopicTasks;
use crate::kafka::cluster::describe::Found;
use crate::proxy::routing::topics::{KnownTopic, KnownTopics};
use crate::proxy::stream::metrics::StreamMetrics;
use crate::wire::SharedSealing;
use crate::wire::control::Control;
use crate::wire::sealing::Binding;

/// How long a topic that cannot be used is not tried again.
const TRIED_AGAIN: Duration = Duration::from_secs(5);
/// How often this process shows that it lives.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(5);

enum State {
    Opening,
    Usable,
    /// Tried since then.
    Unusable(Instant),
}

struct ControlTopic {
    state: State,
    /// One of the request topics whose answers it steers.
    request_topic: Arc<KnownTopic>,
    /// Missing at the last check. A broker that has just started may not know its topics yet.
    is_missing: bool,
    logged: Option<String>,
}

/// All of them.
pub(super) struct ControlTopics {
    topics: HashMap<Arc<str>, ControlTopic>,
    required: BTreeSet<Arc<str>>,
    missing: MissingControl,
    sealing: SharedSealing,
    metrics: StreamMetrics,
}

impl ControlTopics {
    pub(super) fn new(missing: MissingControl, sealing: SharedSealing, metrics: StreamMetrics) -> Self {
        ControlTopics {
            topics: HashMap::new(),
            required: BTreeSet::new(),
            missing,
            sealing,
            metrics,
        }
    }

    /// The topics without which the process is not ready.
    pub(super) fn require(&mut self, names: &BTreeSet<Arc<str>>) {
        self.required.clone_from(names);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    /// Whether the answers of a request topic can be steered. `None`: it is not known yet, and will be soon. Begins to open a topic that was
    /// not used before.
    pub(super) fn ready(&mut self, request_topic: &Arc<KnownTopic>, tasks: &TopicTasks) -> Option<bool> {
        match self.topics.get(&request_topic.control) {
            Some(known) => match known.state {
                State::Opening => None,
                State::Usable => Some(true),
                State::Unusable(_) => Some(false),
            },
            None => {
                self.open(request_topic, tasks);
                None
            }
        }
    }

    pub(super) fn open(&mut self, request_topic: &Arc<KnownTopic>, tasks: &TopicTasks) {
        let topic = ControlTopic {
            state: State::Opening,
            request_topic: request_topic.clone(),
            is_missing: false,
            logged: None,
        };
        if self.topics.insert(request_topic.control.clone(), topic).is_none() {
            tasks.open_control(request_topic.clone());
        }
    }

    /// Takes in how an opening ended.
    pub(super) fn opened(&mut self, name: &Arc<str>, result: Result<(), ControlError>) {
        let is_required = self.required.contains(name);
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        match result {
            Ok(()) => {
                if !matches!(topic.state, State::Usable) {
                    tracing::info!(topic = %name, "control topic usable: answers may be streamed");
                }
                topic.logged = None;
                topic.state = State::Usable;
            }
            Err(error) => {
                topic.state = State::Unusable(Instant::now());
                let text = error.to_string();
                if topic.logged.as_deref() == Some(&text) {
                    tracing::debug!(topic = %name, %error, "control topic not usable");
                } else if is_required {
                    tracing::error!(topic = %name, %error, "control topic not usable: answers are whole, and this process is not ready");
                } else {
                    tracing::warn!(topic = %name, %error, "control topic not usable: answers are whole");
                }
                topic.logged = Some(text);
            }
        }
        self.show_missing();
    }

    fn show_missing(&self) {
        let is_usable = |name: &Arc<str>| {
            self.topics
                .get(name)
                .is_some_and(|topic| matches!(topic.state, State::Usable))
        };
        let missing = self.required.iter().filter(|name| !is_usable(name));
        self.missing.show(missing.cloned().collect());
    }

    /// Tries again what cannot be used, and lets go what no request topic uses.
    pub(super) fn upkeep(&mut self, known: &KnownTopics, tasks: &TopicTasks) {
        self.topics.retain(|_, topic| {
            let is_same = |now: Arc<KnownTopic>| Arc::ptr_eq(&now, &topic.request_topic);
            matches!(topic.state, State::Opening) || known.configured(&topic.request_topic.name).is_some_and(is_same)
        });
        for topic in self.topics.values_mut() {
            if let State::Unusable(since) = &mut topic.state
                && since.elapsed() >= TRIED_AGAIN
            {
                *since = Instant::now();
                tasks.open_control(topic.request_topic.clone());
            }
        }
    }

    /// The topics to be checked.
    pub(super) fn usable(&self) -> Vec<Arc<str>> {
        let usable = self
            .topics
            .iter()
            .filter(|(_, topic)| matches!(topic.state, State::Usable));
        usable.map(|(name, _)| name.clone()).collect()
    }

    /// Takes in what a check found of a topic; `None`: Kafka does not know it.
    pub(super) fn checked(&mut self, name: &Arc<str>, now: Option<Found>) {
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        let was_missing = std::mem::replace(&mut topic.is_missing, now.is_none());
        match now {
            Some(found) if !found.writable => self.opened(name, Err(ControlError::NotWritable)),
            None if was_missing => self.opened(name, Err(ControlError::Gone)),
            Some(_) | None => {}
        }
    }

    /// Seals a record and writes it, if the topic can be used.
    pub(super) fn send(&self, name: &str, control: Control, tasks: &TopicTasks) {
        let is_usable = |topic: &ControlTopic| matches!(topic.state, State::Usable);
        if !self.topics.get(name).is_some_and(is_usable) {
            return;
        }
        if let Control::Cancel { .. } = &control {
            self.metrics.cancels.inc();
        }
        match self
            .sealing
            .load()
            .seal(control.encode(), Binding::Control { topic: name })
        {
            Ok(record) => tasks.producer.send(name, None, &record, CONTROL_TICKET),
            Err(error) => tracing::error!(topic = %name, %error, "a control record is not sent"),
        }
    }
}
