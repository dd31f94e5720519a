//! How the log lines and errors of librdkafka reach our log, for every client.

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::kafka::client::trouble;
use crate::kafka::codes::CodeClass;

/// Logs a line of librdkafka's. Lost connections are normal, and their lines repeat each second, so they stay at debug. Why a broker cannot
/// be used is logged once (`trouble`), and `cluster::health` logs once when Kafka is gone and once when it is back.
pub fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match (level, facility) {
        (_, "FAIL") if trouble::report(message) => {}
        (_, "FAIL" | "ERROR" | "TERMINATE" | "GETSUBSCRIPTIONS") => {
            tracing::debug!(target: "librdkafka", facility, "{message}")
        }
        // While a broker is away, a line for each partition of its topics, several times a second.
        (_, "METADATAUPDATE") => tracing::debug!(target: "librdkafka", facility, "{message}"),
        // One set of kafka.properties serves producers and consumers, and each skips the other's.
        (_, "CONFWARN") if message.contains("will be ignored by this") => {
            tracing::debug!(target: "librdkafka", "{message}")
        }
        (RDKafkaLogLevel::Debug | RDKafkaLogLevel::Info, _) => {
            tracing::debug!(target: "librdkafka", facility, "{message}")
        }
        (RDKafkaLogLevel::Notice, _) => tracing::info!(target: "librdkafka", facility, "{message}"),
        _ => tracing::warn!(target: "librdkafka", facility, "{message}"),
    }
}

/// Logs a client-wide error. All but a fatal one heal by themselves.
pub fn log_error(error: &KafkaError, reason: &str) {
    match CodeClass::of(error) {
        CodeClass::ClientDead => {
            tracing::error!(event = "kafka", %error, reason, "fatal Kafka client error: the client is being replaced")
        }
        CodeClass::NoConnection => {
            tracing::debug!(%error, reason, "Kafka connection trouble");
        }
        // A refused login has its own line already. What is left comes from no broker: a token that cannot be had.
        CodeClass::LoginRefused if trouble::report(reason) => {}
        // `oauth` has logged why.
        CodeClass::LoginRefused if reason.contains("OAUTHBEARER token") => {
            tracing::debug!(%error, reason, "a Kafka client has no OAuth token");
        }
        CodeClass::LoginRefused => {
            tracing::error!(%error, reason, "Kafka refuses this client: check kafka.properties (security.protocol, sasl.*, ssl.*)");
        }
        // A reader of replies or dead letters looks for its coordinator, joins no group, and needs no right on one. Where a group is joined
        // the pump says that it may not.
        CodeClass::Denied if reason.starts_with("FindCoordinator") => {
            tracing::debug!(%error, reason, "no right on a consumer group");
        }
        _ => tracing::warn!(%error, reason, "Kafka client error"),
    }
}

/// Kafka refuses the request for want of a right. It stays so until somebody grants that right.
pub fn is_denied(error: &KafkaError) -> bool {
    CodeClass::of(error) == CodeClass::Denied
}

/// The methods of a `ClientContext` that all our contexts share.
macro_rules! log_through_tracing {
    () => {
        // Without OAUTHBEARER nobody asks for one.
        const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;
        fn generate_oauth_token(
            &self,
            _: Option<&str>,
        ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
            $crate::kafka::client::oauth::token()
        }
        fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
            $crate::kafka::client::context::log_line(level, facility, message);
        }
        fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
            $crate::kafka::client::context::log_error(&error, reason);
        }
        // rdkafka's default would parse them on the polling thread, and log them.
        fn stats_raw(&self, statistics: &[u8]) {
            $crate::kafka::client::statistics::hand_over(statistics);
        }
    };
}
pub(crate) use log_through_tracing;

/// A context that only logs.
#[derive(Clone, Copy)]
pub struct LogOnly;

impl rdkafka::ClientContext for LogOnly {
    log_through_tracing!();
}
impl rdkafka::consumer::ConsumerContext for LogOnly {}
