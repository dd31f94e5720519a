//! Ends a request whose answer is fetched later, wherever it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::RequestError;
use crate::kafka::config::Purpose;
use crate::proxy::results::location::ResultId;
use crate::proxy::results::places::Place;
use crate::proxy::results::sender::NotTaken;
use crate::proxy::results::store::ResultStore;
use crate::wire::control::Control;
use crate::wire::sealing::Binding;

/// How long Kafka has for the records of a cancel.
const CANCELLED_WITHIN: Duration = Duration::from_secs(10);

impl ResultStore {
    /// Ends a request wherever it is, and removes its result.
    pub(super) async fn cancel(&self, result: &ResultId, place: &Place) -> Result<(), RequestError> {
        let cancel = |topic: &Arc<str>| {
            let cancel = Control::Cancel {
                correlation_id: Bytes::copy_from_slice(&result.id.to_bytes()),
                stream: None,
            };
            let sealed = self.sealing.load().seal(cancel.encode(), Binding::Control { topic });
            sealed.map_err(|error| {
                tracing::error!(%topic, %error, "a cancel is not sent");
                RequestError::Overloaded
            })
        };
        let results = &place.results_topic;
        let topic = self.topics.configured(&place.request_topic).filter(|_| place.steers);
        self.sender.open(results, Purpose::Results { kept: place.kept }).await?;
        let of_result = cancel(results)?;
        let sent = self.sender.send(results, of_result, CANCELLED_WITHIN);
        let steered = async {
            let Some(control) = topic.as_ref().map(|topic| &topic.control) else {
                return Ok(());
            };
            if self.sender.open(control, Purpose::Control).await.is_err() {
                return Ok(());
            }
            self.sender
                .send(control, cancel(control)?, CANCELLED_WITHIN)
                .await
                .map_err(not_cancelled)
        };
        let (sent, steered) = tokio::join!(sent, steered);
        sent.map_err(not_cancelled).and(steered)
    }
}

/// A cancel can be sent again, whatever became of it.
fn not_cancelled(why: NotTaken) -> RequestError {
    match why {
        NotTaken::Never(error) => error,
        NotTaken::Unknown => RequestError::KafkaUnavailable,
    }
}
