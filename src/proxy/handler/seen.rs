//! What the proxy sees of a request, from its head to the last byte of its answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;

use crate::error::RequestError;
use crate::exchange::{ByKey, Ending, Exchanges, Id, Phase, Role, Trace, UnderWay};
use crate::proxy::handler::request::request_id;
use crate::proxy::stream::body::CutOff;
use crate::proxy::trust::Origin;
use crate::wire::trace_parent::{self, TraceParent};
use crate::wire::{self, CorrelationId, ReplyError, headers};

/// Begins the record of a request.
pub fn begin(exchanges: &Exchanges, request: &HttpRequest, id: CorrelationId, origin: &Origin) -> UnderWay {
    let mut seen = UnderWay::begin(exchanges, Role::Proxy);
    seen.correlation_id = Id::Ours(id);
    seen.client = origin.client;
    let target = request.uri().path_and_query().map_or("*", |target| target.as_str());
    seen.asks(request.method().as_str(), target);
    if let Some(id) = request_id(request.headers()) {
        seen.called(id.as_bytes());
    }
    let came = request.headers().get_all(headers::TRACEPARENT);
    let came = trace_parent::of_values(came.map(HeaderValue::as_bytes));
    seen.trace = match exchanges.sampler() {
        Some(sampler) => Some(Trace::begin(sampler, came)),
        None => came.map(Trace::passes),
    };
    seen
}

/// Tells whoever reads the request's record of its trace, and notes its key.
pub fn sends(seen: &mut UnderWay, content: &mut wire::Request) {
    seen.keyed(content.key.as_deref());
    if let Some(trace) = &seen.trace
        && let Some(sent) = trace.of_sent()
    {
        trace_parent::set(&mut content.headers, sent, trace.link.is_some());
    }
}

/// Notes who wrote the reply.
pub fn replied(seen: &mut UnderWay, writer: Option<TraceParent>) {
    if let Some(trace) = &mut seen.trace {
        trace.replied = writer;
    }
}

/// What its key made of a request that has one, as far as its reply tells.
pub fn by_key(response: &HttpResponse, error: Option<ReplyError>) -> Option<ByKey> {
    match error {
        None if response.headers().contains_key(headers::IDEMPOTENCY_REPLAYED) => Some(ByKey::Replayed),
        Some(error) if error.is_of_key() => Some(ByKey::Refused),
        _ => None,
    }
}

/// Notes the error that a client gets instead of an answer.
pub fn refused(seen: &mut UnderWay, error: RequestError) {
    seen.ending = Ending::error(error.status().as_u16(), error.code());
}

/// The answer, whose record ends once the connection has taken all of it, or is gone.
pub fn until_written(response: HttpResponse, method: &Method, mut seen: UnderWay) -> HttpResponse {
    let size = response.body().size();
    // What follows no such request is written with the head.
    let is_whole = *method == Method::HEAD || matches!(size, BodySize::None | BodySize::Sized(0));
    if let Some(status) = &mut seen.ending.status {
        *status = response.status().as_u16();
    }
    response.map_body(|_, body| SeenBody { body, seen, is_whole }.boxed())
}

/// A body whose bytes are counted as the connection takes them.
struct SeenBody {
    body: BoxBody,
    seen: UnderWay,
    /// All of it was taken, or it was cut off and the reason is known.
    is_whole: bool,
}

impl MessageBody for SeenBody {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let size = self.body.size();
        let next = ready!(Pin::new(&mut self.body).poll_next(cx));
        match &next {
            Some(Ok(bytes)) => {
                self.seen.response_bytes += bytes.len() as u64;
                // A connection that knows the length does not ask for the end.
                self.is_whole |= size == BodySize::Sized(self.seen.response_bytes);
            }
            Some(Err(error)) => {
                let reason = error.downcast_ref::<CutOff>().map_or("cut-off", CutOff::reason);
                self.seen.ending.code = Some(reason);
                self.is_whole = true;
            }
            None => self.is_whole = true,
        }
        Poll::Ready(next)
    }
}

impl Drop for SeenBody {
    fn drop(&mut self) {
        self.seen.ends(Phase::Write);
        if !self.is_whole {
            self.seen.ending.code = Some(Ending::CLIENT_LEFT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use actix_web::body::SizedStream;
    use futures_util::FutureExt;

    use super::*;
    use crate::exchange::{Exchange, Watcher};

    #[derive(Default)]
    struct Last(OnceLock<Arc<Exchange>>);

    impl Watcher for Last {
        fn wants(&self, _: &Exchange) -> bool {
            true
        }

        fn ended(&self, exchange: &Arc<Exchange>) {
            assert!(self.0.set(exchange.clone()).is_ok(), "told once");
        }
    }

    /// Takes so many chunks of an answer, and leaves.
    fn written(response: HttpResponse, method: Method, chunks: usize) -> (Ending, u64) {
        let last = Arc::new(Last::default());
        let exchanges = Exchanges::new(vec![last.clone()], false);
        let mut seen = UnderWay::begin(&exchanges, Role::Proxy);
        seen.ending = Ending::answered(200);
        let mut body = until_written(response, &method, seen).into_body();
        for _ in 0..chunks {
            let next = std::future::poll_fn(|cx| Pin::new(&mut body).poll_next(cx));
            drop(next.now_or_never());
        }
        assert!(last.0.get().is_none(), "it has not ended");
        drop(body);
        let exchange = last.0.get().unwrap();
        assert!(exchange.phases.get(Phase::Write).is_some());
        (exchange.ending, exchange.response_bytes)
    }

    fn sized(length: u64) -> HttpResponse {
        let chunks = [Bytes::from_static(b"one"), Bytes::from_static(b"two")].map(Ok::<_, std::io::Error>);
        let stream = futures_util::stream::iter(chunks);
        HttpResponse::Ok().body(SizedStream::new(length, stream))
    }

    #[test]
    fn an_answer_that_is_not_taken_whole_is_one_whose_client_left() {
        let (whole, left) = (Ending::answered(200), Ending::error(200, Ending::CLIENT_LEFT));
        assert_eq!(written(sized(6), Method::GET, 2), (whole, 6));
        assert_eq!(written(sized(6), Method::GET, 1), (left, 3));
        assert_eq!(written(sized(6), Method::HEAD, 0), (whole, 0));
        assert_eq!(written(HttpResponse::Ok().finish(), Method::GET, 0), (whole, 0));
        let cut = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
        let cut = HttpResponse::Ok().streaming(cut);
        assert_eq!(written(cut, Method::GET, 1), (Ending::error(200, "cut-off"), 0));
    }

    #[test]
    fn a_reply_tells_what_its_key_made_of_it() {
        let plain = HttpResponse::Ok().finish();
        let replayed = HttpResponse::Ok()
            .insert_header((headers::IDEMPOTENCY_REPLAYED, "true"))
            .finish();
        assert_eq!(
            (by_key(&plain, None), by_key(&replayed, None)),
            (None, Some(ByKey::Replayed))
        );
        for (error, expected) in [
            (ReplyError::IdempotencyKeyInUse, Some(ByKey::Refused)),
            (ReplyError::OutcomeUnknown, Some(ByKey::Refused)),
            (ReplyError::BackendReset, None),
        ] {
            assert_eq!(by_key(&plain, Some(error)), expected, "{error:?}");
        }
    }
}
