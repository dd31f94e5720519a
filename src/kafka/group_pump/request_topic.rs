//! Waits until the request topic exists, before the pump subscribes.

use std::collections::VecDeque;
use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::consumer::GroupConsumer;
use super::handle::{Command, PumpHandle};
use super::plan::PumpPlan;
use crate::kafka::client::oauth;
use crate::kafka::config::Purpose;

/// Wait between tries to find or create the request topic.
const TOPIC_RETRY: Duration = Duration::from_secs(1);

/// Waits until the request topic exists, creating it where that is allowed. False: the pump was told to end first. The topics that are
/// written to come after it: when Kafka refuses one of them, that is logged, and requests do not wait for it.
pub fn await_topic(plan: &PumpPlan, handle: &PumpHandle, consumer: &GroupConsumer) -> bool {
    let mut open: VecDeque<(&str, Purpose)> = std::iter::once((&*plan.topic, Purpose::Requests))
        .chain(plan.also.iter().map(|(topic, purpose)| (&**topic, *purpose)))
        .collect();
    let mut logged = false;
    while let Some(&(topic, purpose)) = open.front() {
        if handle.current_command() != Command::Run {
            handle.status().set_drained();
            return false;
        }
        handle.progress().touch();
        // Nobody polls yet, so the client cannot ask.
        oauth::sign_in(consumer.client());
        match plan.admin.ensure(consumer.client(), topic, purpose, true) {
            Ok(_) => {
                open.pop_front();
                continue;
            }
            Err(error) if error.passes() => tracing::debug!(%error, "topic not there yet"),
            Err(error) if topic != &*plan.topic => {
                tracing::error!(%error, "a topic to write to is not there");
                open.pop_front();
                continue;
            }
            Err(error) => {
                if !std::mem::replace(&mut logged, true) {
                    tracing::error!(event = "kafka", %error, "cannot consume; trying again every second");
                }
            }
        }
        std::thread::park_timeout(TOPIC_RETRY);
    }
    true
}
