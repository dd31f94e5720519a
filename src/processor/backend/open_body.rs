//! The body of an answer that is not read to its end before it is passed on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::processor::bodies::stream::Reading;
/// An answer that is complete so soon after its head is passed on whole.
const WHOLE_WITHIN: Duration = Duration::from_millis(20);

/// Which answers are read to their end. All others are streamed, where there is a place for one more.
pub struct WholeAnswers<'a> {
    /// The most bytes of a body that fit into one record.
    pub most: usize,
    /// The streams that the process may have at once.
    pub places: &'a Arc<Semaphore>,
}

/// Why a body is not read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{0}")]
    BrokenOff(#[from] hyper::Error),
    #[error("more than {0} bytes")]
    TooLarge(usize),
}

/// A body that goes on. Dropped, its connection is closed.
#[derive(Debug)]
pub struct OpenBody {
    body: Incoming,
    /// Its place among the streams of the process.
    pub place: OwnedSemaphorePermit,
    /// Of the request's body, where that lies elsewhere and may still be taken.
    pub reading: Option<Reading>,
}

impl OpenBody {
    /// The next bytes, as they come; `None`: that was all. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    // Trailers are not passed on.
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }

    /// Nothing comes after what was read.
    pub fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl WholeAnswers<'_> {
    /// Reads a body as long as its answer may still be whole; returns what came, and what is still open. `limit`: the most bytes of a body
    /// that is read to its end, where there is no place for a stream.
    ///
    /// # Errors
    /// The body broke off, or is too large.
    pub(super) async fn read(
        &self,
        head: &HeaderMap,
        mut body: Incoming,
        limit: usize,
    ) -> Result<(Bytes, Option<OpenBody>), ReadError> {
        let mut place = is_event_stream(head).then(|| self.place()).flatten();
        let mut read = Read::default();
        let end = Instant::now() + WHOLE_WITHIN;
        let most = self.most.min(limit);
        // One that is longer than a record streams in any case: then no more is held of it than it takes to begin.
        let most = match body.size_hint().exact() {
            Some(length) if length > most as u64 => 0,
            _ => most,
        };
        // Registered only if the body has to be waited for.
        let mut timer = std::pin::pin!(tokio::time::sleep_until(end));
        while place.is_none() {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = &mut timer, if !timer.is_elapsed() => {
                    place = self.place();
                    continue;
                }
            };
            let Some(frame) = frame else {
                return Ok((read.into_bytes(), None));
            };
            if let Ok(bytes) = frame?.into_data() {
                read.push(bytes);
            }
            if body.is_end_stream() {
                return Ok((read.into_bytes(), None));
            }
            if read.length > most {
                place = self.place();
            }
            if place.is_none() && read.length > limit {
                return Err(ReadError::TooLarge(limit));
            }
        }
        Ok((
            read.into_bytes(),
            place.map(|place| OpenBody {
                body,
                place,
                reading: None,
            }),
        ))
    }

    fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }
}

/// What was read so far.
#[derive(Default)]
struct Read {
    parts: VecDeque<Bytes>,
    length: usize,
}

impl Read {
    fn push(&mut self, bytes: Bytes) {
        self.length += bytes.len();
        self.parts.push_back(bytes);
    }

    /// One part is not copied.
    fn into_bytes(mut self) -> Bytes {
        if self.parts.len() < 2 {
            return self.parts.pop_front().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.length);
        self.parts.iter().for_each(|part| all.extend_from_slice(part));
        all.freeze()
    }
}

/// An event stream is never complete while somebody follows it.
fn is_event_stream(head: &HeaderMap) -> bool {
    let kind = head.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_streams_are_known_with_and_without_parameters() {
        for (kind, is) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("text/plain", false),
        ] {
            let head = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(is_event_stream(&head), is, "{kind}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
