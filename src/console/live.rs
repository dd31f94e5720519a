//! What happens, as it happens: server-sent events (WHATWG HTML, 9.2) for a bounded number of subscribers. Whoever reads too slowly is
//! cut off, connects again, and asks for everything anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::HttpResponse;
use actix_web::http::header;
use bytes::Bytes;
use futures_util::{Stream, stream};
use prometheus::{IntGauge, Registry};
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::metrics::register;

/// Subscribers at one time.
const SUBSCRIBERS: usize = 32;
/// Messages that a subscriber may be behind.
const BEHIND: usize = 64;

/// Everybody who listens. Clones share it.
#[derive(Clone)]
pub struct Live {
    messages: broadcast::Sender<Bytes>,
    count: Arc<AtomicUsize>,
    gauge: IntGauge,
}

impl Live {
    /// # Errors
    /// The metric's name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = IntGauge::new("console_subscribers", "Readers of /api/live; at most 32")?;
        Ok(Live {
            messages: broadcast::Sender::new(BEHIND),
            count: Arc::default(),
            gauge: register(registry, gauge)?,
        })
    }

    /// Does anybody listen?
    pub fn is_heard(&self) -> bool {
        self.messages.receiver_count() > 0
    }

    /// Tells everybody.
    pub fn tell(&self, event: &str, data: &impl Serialize) {
        // Text of JSON has no line end in it, which would end the field.
        if let Ok(data) = serde_json::to_string(data) {
            // Err: nobody listens.
            let _ = self.messages.send(format!("event: {event}\ndata: {data}\n\n").into());
        }
    }

    /// The answer to a subscriber.
    pub fn subscribe(&self) -> HttpResponse {
        let Some(place) = Place::take(self) else {
            return HttpResponse::ServiceUnavailable()
                .insert_header((header::RETRY_AFTER, "10"))
                .json(json!({"error": format!("{SUBSCRIBERS} others listen already")}));
        };
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/event-stream"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .streaming(messages(self.messages.subscribe(), place))
    }
}

/// A comment first, so that the head goes out at once; then what is told, until the subscriber is too far behind.
fn messages(
    receiver: broadcast::Receiver<Bytes>,
    place: Place,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    let first = stream::iter([Ok(Bytes::from_static(b": live\n\n"))]);
    let rest = stream::unfold((receiver, place), async |(mut receiver, place)| {
        match receiver.recv().await {
            Ok(message) => Some((Ok(message), (receiver, place))),
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    });
    stream::StreamExt::chain(first, rest)
}

/// A subscriber's place, given back on drop.
struct Place(Live);

impl Place {
    fn take(live: &Live) -> Option<Self> {
        let one_more = |count: usize| (count < SUBSCRIBERS).then_some(count + 1);
        let taken = live.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| {
            live.gauge.inc();
            Place(live.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt};

    #[test]
    fn places_are_bounded_and_come_back() {
        let live = Live::new(&Registry::new()).unwrap();
        let mut places: Vec<_> = (0..SUBSCRIBERS).map(|_| Place::take(&live).unwrap()).collect();
        assert!(Place::take(&live).is_none());
        assert_eq!(live.subscribe().status().as_u16(), 503);
        places.pop();
        assert_eq!(live.subscribe().status().as_u16(), 200);
        drop(places);
        assert_eq!(live.gauge.get(), 0);
    }

    #[tokio::test]
    async fn who_is_too_far_behind_is_cut_off() {
        let live = Live::new(&Registry::new()).unwrap();
        let place = Place::take(&live).unwrap();
        let mut messages = Box::pin(messages(live.messages.subscribe(), place));
        assert!(live.is_heard() && messages.next().await.unwrap().unwrap().starts_with(b":"));
        live.tell("now", &json!({"a": "\n"}));
        let told = messages.next().await.unwrap().unwrap();
        assert_eq!(told, "event: now\ndata: {\"a\":\"\\n\"}\n\n");
        assert!(messages.next().now_or_never().is_none());
        (0..=BEHIND).for_each(|number| live.tell("now", &number));
        assert!(messages.next().await.is_none());
    }
}
