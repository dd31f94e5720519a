//! A request that goes out as a record, and waits for the reply with its id.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use mq_bridge::anyhow::{Result, anyhow};
use mq_bridge::traits::Handler;
use mq_bridge::{CanonicalMessage, Handled, HandlerError, Publisher};
use tokio::sync::oneshot;

/// As long as actix-khp waits by default.
const PATIENCE: Duration = Duration::from_secs(30);
/// A client that has just joined its group may miss the first replies.
const PROBE: Duration = Duration::from_secs(1);
const PROBES: usize = 60;

/// The requests that wait, by the ids of their messages.
pub struct Exchange {
    requests: Publisher,
    waiting: DashMap<u128, oneshot::Sender<CanonicalMessage>>,
}

impl Exchange {
    pub fn new(requests: Publisher) -> Self {
        Exchange {
            requests,
            waiting: DashMap::new(),
        }
    }

    /// Sends a request and waits for its reply.
    pub async fn call(&self, request: CanonicalMessage) -> Result<CanonicalMessage> {
        self.call_within(PATIENCE, request).await
    }

    /// Waits until a request comes through.
    pub async fn ready(&self) -> Result<()> {
        for _ in 0..PROBES {
            if self.call_within(PROBE, CanonicalMessage::from("ready?")).await.is_ok() {
                return Ok(());
            }
        }
        Err(anyhow!("no reply to {PROBES} requests"))
    }

    async fn call_within(&self, limit: Duration, request: CanonicalMessage) -> Result<CanonicalMessage> {
        let id = request.message_id;
        let (sender, reply) = oneshot::channel();
        self.waiting.insert(id, sender);
        // The reply may come before Kafka's report of the request.
        let sent_and_answered = async { tokio::try_join!(self.requests.send(request), async { Ok(reply.await?) }) };
        let answered = tokio::time::timeout(limit, sent_and_answered).await;
        self.waiting.remove(&id);
        Ok(answered??.1)
    }
}

/// The route of replies: wakes the requests that wait for them.
pub struct Replies(pub Arc<Exchange>);

#[async_trait]
impl Handler for Replies {
    async fn handle(&self, reply: CanonicalMessage) -> Result<Handled, HandlerError> {
        if let Some((_, waiting)) = self.0.waiting.remove(&reply.message_id) {
            // Err: it waits no more.
            let _ = waiting.send(reply);
        }
        Ok(Handled::Ack)
    }

    fn prefers_batches(&self) -> bool {
        true
    }
}

/// The route of mq-bridge's own HTTP endpoint: each request is answered with its reply.
pub struct Endpoint(pub Arc<Exchange>);

#[async_trait]
impl Handler for Endpoint {
    async fn handle(&self, request: CanonicalMessage) -> Result<Handled, HandlerError> {
        let reply = self.0.call(request).await;
        reply.map(Handled::Publish).map_err(HandlerError::NonRetryable)
    }
}
