//! The body of a letter that is larger than a record: it lies in a topic of its own, as long as that keeps it.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use crate::dlq::letter::Letter;
use crate::dlq::letters::Letters;
use crate::kafka::codes::CodeClass;
use crate::settings::{Settings, Streams};
use crate::wire::beside::BodyPlace;
use crate::wire::native;

/// How long Kafka may take to tell what a partition has.
const QUESTION: Duration = Duration::from_secs(5);

/// Whether a body is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Whole,
    Gone,
    /// Kafka did not tell.
    Unknown,
}

/// The topic of bodies of a request topic.
pub fn topic_of(settings: &Settings, request_topic: &str) -> String {
    let mut topics = settings.processor.topics.iter();
    let configured = topics.find(|topic| topic.request_topic == request_topic);
    configured.map_or_else(
        || Streams::default_bodies_topic(request_topic),
        |topic| topic.streams.bodies_topic.clone(),
    )
}

/// Where the body of a letter lies, if it is not in its record.
pub fn place(letter: &Letter) -> Option<BodyPlace> {
    native::body_place(letter.content())
}

impl Letters {
    /// Whether a topic still has a body: retention takes the oldest first, so its first piece tells of all.
    pub fn has_body(&self, bodies_topic: &str, place: BodyPlace) -> Kept {
        let found = self
            .consumer()
            .fetch_watermarks(bodies_topic, place.partition, QUESTION);
        match found {
            Ok((low, end)) if low <= place.first && place.last < end => Kept::Whole,
            Ok(_) => Kept::Gone,
            Err(error) if CodeClass::of(&error).is_not_found() => Kept::Gone,
            Err(_) => Kept::Unknown,
        }
    }
}
