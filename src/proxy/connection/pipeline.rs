//! The requests of a connection and their answers, one after the other. The connection and the app tell each other about them.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_http::body::{BodySize, MessageBody};
use bytes::Bytes;

/// What is known about them on both sides. Clones share it; there is one for each connection.
#[derive(Clone, Default)]
pub struct Pipeline(Rc<State>);

#[derive(Default)]
struct State {
    /// Requests of this connection whose answer is encoded whole. Written as bodies of answers end.
    answered: Cell<u64>,
    /// The request asks to go on as a websocket. Written when its head is complete.
    wants_websocket: Cell<bool>,
}

impl Pipeline {
    /// The next request's head is complete.
    pub fn begin(&self, wants_websocket: bool) {
        self.0.wants_websocket.set(wants_websocket);
    }

    /// The request asks to go on as a websocket.
    pub fn wants_websocket(&self) -> bool {
        self.0.wants_websocket.get()
    }

    /// Requests of this connection whose answer is encoded whole.
    pub fn answered(&self) -> u64 {
        self.0.answered.get()
    }

    /// The request has no answer yet.
    pub fn answer_due(&self) -> AnswerDue {
        AnswerDue(self.clone())
    }
}

/// Dropped once the answer is encoded whole, or never will be.
pub struct AnswerDue(Pipeline);

impl Drop for AnswerDue {
    fn drop(&mut self) {
        let answered = &self.0.0.answered;
        answered.set(answered.get() + 1);
    }
}

/// The body of an answer. actix-http drops it when its last byte is encoded, or at once where there is none.
pub struct AnswerBody<B> {
    body: B,
    _due: Option<AnswerDue>,
}

impl<B> AnswerBody<B> {
    pub fn new(body: B, due: Option<AnswerDue>) -> Self {
        AnswerBody { body, _due: due }
    }
}

impl<B: MessageBody + Unpin> MessageBody for AnswerBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
