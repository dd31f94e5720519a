//! What a command tells of a Kafka that it cannot reach: librdkafka's words, or the broker's. A service logs them instead (`context`).

use std::time::Duration;

use arc_swap::ArcSwapOption;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

use crate::kafka::client::oauth;
use crate::kafka::codes::CodeClass;

/// Events that are looked at; there are a few for each try to connect.
const EVENTS: usize = 1000;

/// The context of a command's client. It keeps why a broker could not be used.
#[derive(Default)]
pub struct Complaints(ArcSwapOption<String>);

impl Complaints {
    /// The last reason that a producer was given.
    pub fn of_producer(client: &BaseProducer<Complaints>) -> Option<String> {
        (0..EVENTS).for_each(|_| client.poll(Duration::ZERO));
        client.client().context().last()
    }

    /// The last reason that a consumer without an assignment was given.
    pub fn of_consumer(client: &BaseConsumer<Complaints>) -> Option<String> {
        use rdkafka::consumer::Consumer as _;
        // Each is an error that `error` below has heard of, too.
        (0..EVENTS).for_each(|_| drop(client.poll(Duration::ZERO)));
        client.client().context().last()
    }

    fn last(&self) -> Option<String> {
        self.0.load().as_deref().cloned()
    }
}

impl ClientContext for Complaints {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        oauth::token()
    }

    /// A command has no log.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let tells_why = matches!(CodeClass::of(&error), CodeClass::LoginRefused | CodeClass::NoConnection);
        // "1/1 brokers are down" says nothing new.
        if tells_why && !reason.contains("brokers are down") {
            self.0.store(Some(reason.to_owned().into()));
        }
    }
}

impl ConsumerContext for Complaints {}

impl ProducerContext for Complaints {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {}
}
