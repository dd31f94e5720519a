//! How many answers may come in pieces at once: a bound for memory, together with the window of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::{Method, Version};
use prometheus::IntGauge;

use crate::settings::{Streaming, Streams};
use crate::wire::Format;

/// What holds for the streams of a route.
#[derive(Debug)]
pub struct StreamTerms {
    /// Its answers may come in pieces. Requests in the json format have no field for that.
    pub streams: bool,
    /// How long a stream may be silent; `None`: as long as it likes.
    pub idle_timeout: Option<Duration>,
    /// How long it may take in all; `None`: as long as it likes.
    pub max_duration: Option<Duration>,
}

impl StreamTerms {
    /// Those of the settings.
    pub fn new(streams: &Streams, format: Format) -> Self {
        let limit = |limit: Duration| (!limit.is_zero()).then_some(limit);
        StreamTerms {
            streams: streams.streaming != Streaming::Off && format == Format::Native,
            idle_timeout: limit(streams.idle_timeout),
            max_duration: limit(streams.max_duration),
        }
    }
}

/// The places for streams. Clones share them.
#[derive(Clone)]
pub struct StreamPlaces(Arc<Places>);

struct Places {
    taken: AtomicUsize,
    max: usize,
    gauge: IntGauge,
}

/// A request may be answered by a stream. Its place is given back on drop.
pub struct Offer {
    places: Arc<Places>,
    pub terms: Arc<StreamTerms>,
}

impl StreamPlaces {
    /// `gauge` shows the places taken.
    pub fn new(max: usize, gauge: IntGauge) -> Self {
        let taken = AtomicUsize::new(0);
        StreamPlaces(Arc::new(Places { taken, max, gauge }))
    }

    /// `None`: the answer is to be whole, because the route or the client takes no other, or because all places are taken. HTTP/1.0 has no
    /// body that ends before its connection does, unless its length is known; so one that is cut off would be taken for whole.
    pub fn offer(&self, request: &HttpRequest, terms: &Arc<StreamTerms>) -> Option<Offer> {
        let takes = matches!(request.version(), Version::HTTP_11 | Version::HTTP_2) && request.method() != Method::HEAD;
        (terms.streams && takes).then(|| self.take(terms)).flatten()
    }

    fn take(&self, terms: &Arc<StreamTerms>) -> Option<Offer> {
        let places = &self.0;
        let one_more = |taken| (taken < places.max).then_some(taken + 1);
        places
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        places.gauge.inc();
        Some(Offer {
            places: places.clone(),
            terms: terms.clone(),
        })
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        self.places.gauge.dec();
    }
}

#[cfg(test)]
impl Offer {
    /// One without limits of time.
    pub fn unlimited() -> Self {
        let places = StreamPlaces::new(1, IntGauge::new("g", "g").unwrap());
        let terms = StreamTerms {
            streams: true,
            idle_timeout: None,
            max_duration: None,
        };
        places.take(&Arc::new(terms)).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn terms(format: Format, streaming: Streaming) -> Arc<StreamTerms> {
        let streams = Streams {
            streaming,
            ..Streams::default()
        };
        Arc::new(StreamTerms::new(&streams, format))
    }

    #[test]
    fn a_request_may_be_answered_so_where_a_cut_shows_and_a_place_is_free() {
        let gauge = IntGauge::new("g", "g").unwrap();
        let places = StreamPlaces::new(2, gauge.clone());
        let get = |version| TestRequest::get().version(version).to_http_request();
        let native = terms(Format::Native, Streaming::Auto);
        for (request, terms, offered) in [
            (get(Version::HTTP_11), &native, true),
            (get(Version::HTTP_2), &native, true),
            (get(Version::HTTP_10), &native, false),
            (
                TestRequest::default().method(Method::HEAD).to_http_request(),
                &native,
                false,
            ),
            (get(Version::HTTP_11), &terms(Format::Json, Streaming::Auto), false),
            (get(Version::HTTP_11), &terms(Format::Native, Streaming::Off), false),
            (get(Version::HTTP_11), &terms(Format::Native, Streaming::Required), true),
        ] {
            assert_eq!(
                places.offer(&request, terms).is_some(),
                offered,
                "{request:?} {terms:?}"
            );
        }
        let request = get(Version::HTTP_11);
        let held: Vec<_> = std::iter::from_fn(|| places.offer(&request, &native)).collect();
        assert_eq!((held.len(), gauge.get()), (2, 2));
        drop(held);
        assert!(places.offer(&request, &native).is_some());
        assert_eq!(gauge.get(), 0);
    }
}
