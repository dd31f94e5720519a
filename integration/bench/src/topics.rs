//! Topics of systems that do not create theirs: with the partitions and the settings that the service gives its own.

use actix_khp::kafka::client::context::LogOnly;
use actix_khp::kafka::client::properties;
use actix_khp::kafka::cluster::admin::TopicAdmin;
use actix_khp::kafka::config::Purpose;
use actix_khp::settings::Settings;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::error::Result;

/// Creates these topics.
pub fn create(settings: &Settings, topics: &[String]) -> Result<()> {
    let config = properties::reply_consumer(&settings.kafka);
    let client: BaseConsumer<LogOnly> = BaseConsumer::from_config_and_context(&config, LogOnly)?;
    let admin = TopicAdmin::new(settings.create_topics.clone());
    for topic in topics {
        admin.ensure(client.client(), topic, Purpose::Requests, true)?;
    }
    Ok(())
}
