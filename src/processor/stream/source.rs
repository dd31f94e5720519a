//! Where the bytes of a streamed answer come from: its backend, or whoever reads it on behalf of the stream.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::processor::backend::open_body::{OpenBody, ReadError};
use crate::wire::stream::StreamError;

/// What is on its way to a stream at a time. Bytes of a backend come in parts of some 100 KiB at most.
const AHEAD: usize = 2;

/// What comes of an answer's body after its beginning, and its place among the streams of the process.
pub enum Rest {
    Open(OpenBody),
    /// That was all.
    None(OwnedSemaphorePermit),
}

impl Rest {
    /// The place alone. A body that is open is closed.
    pub fn into_place(self) -> OwnedSemaphorePermit {
        match self {
            Rest::Open(body) => body.place,
            Rest::None(place) => place,
        }
    }
}

/// Where the bytes come from.
pub enum Source {
    Backend(OpenBody),
    /// Somebody reads them, and tells the end.
    Fed(mpsc::Receiver<Fed>),
}

/// What a stream is fed with: bytes, the end of the body (`None`), or why it ends early.
pub type Fed = Result<Option<Bytes>, StreamError>;

/// The end of whoever feeds a stream.
pub type Feeds = mpsc::Sender<Fed>;

/// Why no more comes.
#[derive(Debug)]
pub enum Broken {
    /// It is the backend's doing.
    Backend(ReadError),
    /// Whoever read it has said why.
    Told(StreamError),
}

impl Source {
    /// One that is fed through the other end.
    pub fn fed() -> (Feeds, Self) {
        let (feeds, fed) = mpsc::channel(AHEAD);
        (feeds, Source::Fed(fed))
    }

    /// The next bytes, as they come; `None`: that was all. Not called again after that. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, Broken>> {
        match self {
            Source::Backend(body) => body.next().await.map(|read| read.map_err(Broken::Backend)),
            Source::Fed(fed) => match fed.recv().await {
                Some(Ok(bytes)) => bytes.map(Ok),
                Some(Err(error)) => Some(Err(Broken::Told(error))),
                // Nobody may take that for the end.
                None => Some(Err(Broken::Told(StreamError::ProcessorFailed))),
            },
        }
    }

    /// Nothing comes after what was read.
    pub fn is_over(&self) -> bool {
        match self {
            Source::Backend(body) => body.is_over(),
            Source::Fed(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_an_end_that_is_told_is_one() {
        let (feeds, mut source) = Source::fed();
        feeds.send(Ok(Some(Bytes::from_static(b"a")))).await.unwrap();
        feeds.send(Ok(None)).await.unwrap();
        assert!(matches!(source.next().await, Some(Ok(bytes)) if bytes == "a"));
        assert!(source.next().await.is_none());
        let (feeds, mut source) = Source::fed();
        drop(feeds);
        let broken = source.next().await;
        assert!(matches!(broken, Some(Err(Broken::Told(StreamError::ProcessorFailed)))));
    }
}
