//! Where results are: each results topic, and each pair of a request topic and the results topic of its answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::proxy::auth::Demands;
use crate::proxy::results::location::place_of;
use crate::settings::{self, Async, Streaming};

/// A topic that results are read from.
pub struct ResultsTopic {
    pub name: Arc<str>,
    /// How long its results can be fetched.
    pub kept: Duration,
    /// Whose answers it takes.
    pub request_topics: Vec<Arc<str>>,
}

/// The requests of one topic whose answers go to one results topic.
pub struct Place {
    pub request_topic: Arc<str>,
    /// The number of its results topic.
    pub topic: u16,
    pub results_topic: Arc<str>,
    pub kept: Duration,
    /// What the routes to it demand. A client may be of any of them.
    pub demands: Vec<Demands>,
    /// A cancel is written to its control topic.
    pub steers: bool,
}

/// What a route says of answers that are fetched later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later {
    /// The number of its place.
    pub place: u32,
    /// All its requests are answered so.
    pub is_required: bool,
    /// From a request's arrival until it is given up.
    pub timeout: Duration,
}

impl Later {
    /// Of a route with this request topic; `None`: its clients wait.
    pub fn new(later: &settings::Later, request_topic: &str) -> Option<Self> {
        (later.mode != Async::Off).then(|| Later {
            place: place_of(request_topic, &later.results_topic),
            is_required: later.mode == Async::Required,
            timeout: later.timeout,
        })
    }
}

/// All of them.
pub struct Places {
    pub topics: Arc<Vec<ResultsTopic>>,
    by_number: HashMap<u32, Place>,
}

impl Places {
    /// Those that the settings name.
    pub fn new(proxy: &settings::Proxy) -> Self {
        let mut topics: Vec<ResultsTopic> = proxy
            .results_topics()
            .into_iter()
            .map(|(name, kept)| ResultsTopic {
                name: name.into(),
                kept,
                request_topics: Vec::new(),
            })
            .collect();
        let mut by_number: HashMap<u32, Place> = HashMap::new();
        for route in proxy.later_routes() {
            let found = topics
                .iter()
                .position(|topic| *topic.name == *route.later.results_topic);
            // None: never, each route's is one of all.
            let Some(number) = found else { continue };
            let topic = &mut topics[number];
            let request_topic: Arc<str> = route.request_topic.into();
            if !topic.request_topics.contains(&request_topic) {
                topic.request_topics.push(request_topic.clone());
            }
            let place = by_number.entry(place_of(route.request_topic, &topic.name));
            let place = place.or_insert_with(|| Place {
                request_topic,
                topic: number as u16,
                results_topic: topic.name.clone(),
                kept: topic.kept,
                demands: Vec::new(),
                steers: false,
            });
            place.steers |= route.streaming != Streaming::Off;
            let demands = Demands::new(route.proof.0, route.proof.1);
            if !place.demands.contains(&demands) {
                place.demands.push(demands);
            }
        }
        Places {
            topics: Arc::new(topics),
            by_number,
        }
    }

    /// The place with this number.
    pub fn get(&self, number: u32) -> Option<&Place> {
        self.by_number.get(&number)
    }

    /// No route answers so.
    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }
}
