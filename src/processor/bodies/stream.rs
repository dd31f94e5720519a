//! A large body as the HTTP client sends it to the backend. It ends with its last byte, or with an error that cuts the connection: never
//! short of its length.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::processor::bodies::BodyError;

/// Pieces on their way from a reader to the HTTP client.
pub type Pieces = mpsc::Receiver<Result<Bytes, BodyError>>;

/// The body of one call.
pub struct StreamedBody {
    first: Option<Bytes>,
    pieces: Pieces,
    /// Bytes still to be sent.
    left: u64,
    failure: Arc<OnceLock<BodyError>>,
}

/// Held as long as the call lasts, the streaming of its answer included. Its drop ends the reading: a backend that answers early and takes no more must not keep a reader.
#[derive(Debug)]
pub struct Reading {
    failure: Arc<OnceLock<BodyError>>,
    _stop: DropGuard,
}

impl Reading {
    /// Why the body broke off, if it did.
    pub fn failure(&self) -> Option<BodyError> {
        self.failure.get().cloned()
    }
}

/// The body whose first piece has come, of this length in all. `stop` ends its reading.
pub fn streamed(first: Bytes, pieces: Pieces, length: u64, stop: CancellationToken) -> (StreamedBody, Reading) {
    let failure = Arc::new(OnceLock::new());
    let body = StreamedBody {
        first: Some(first),
        pieces,
        left: length,
        failure: failure.clone(),
    };
    let reading = Reading {
        failure,
        _stop: stop.drop_guard(),
    };
    (body, reading)
}

impl StreamedBody {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(first));
        }
        let ended = || BodyError::Unread("its reader has ended".into());
        Poll::Ready(ready!(self.pieces.poll_recv(cx)).unwrap_or_else(|| Err(ended())))
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match ready!(self.next(cx)) {
            Ok(piece) => piece,
            Err(error) => {
                // Err: never, the client polls no further.
                let _ = self.failure.set(error.clone());
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
