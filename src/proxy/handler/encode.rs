//! A request as its record: its body taken in, its head encoded, and what is said of it beside HTTP.

use std::time::Duration;

use actix_web::{HttpRequest, web};
use tokio::time::Instant;

use super::receive::Owner;
use super::request::to_wire;
use super::{Destination, Proxy, seen};
use crate::error::RequestError;
use crate::exchange::UnderWay;
use crate::proxy::admission::bytes::HeldBytes;
use crate::proxy::idempotency::Keyed;
use crate::wire::native::afterwards;
use crate::wire::{self, CorrelationId, Record};

/// What is said of a request, besides what it says itself.
pub struct Terms<'a> {
    pub id: CorrelationId,
    pub reply_topic: &'a str,
    pub arrived: Instant,
    /// How long its answer may take from then on. Where its body lies elsewhere, from its end on.
    pub timeout: Duration,
    /// `Some`: it runs once.
    pub keyed: Option<Keyed>,
}

/// A request that can be sent.
pub struct Encoded {
    pub record: Record,
    /// Its body was written to a topic of bodies: nothing of it is held.
    pub is_elsewhere: bool,
}

impl Proxy {
    /// Takes in the body of a request, and encodes it. `complete` changes what is encoded.
    ///
    /// # Errors
    /// As `Bodies::receive`.
    pub(super) async fn encode(
        &self,
        (request, payload): (&HttpRequest, &mut web::Payload),
        to: &Destination<'_>,
        terms: Terms<'_>,
        (held, seen): (&mut HeldBytes, &mut UnderWay),
        complete: impl FnOnce(&mut wire::Request),
    ) -> Result<Encoded, RequestError> {
        let Terms {
            id,
            reply_topic,
            arrived,
            timeout,
            keyed,
        } = terms;
        let owner = Owner {
            id,
            topic: &to.request_topic,
            format: to.route.wire_format,
            runs_once: keyed.is_some(),
            limits: to.limits,
        };
        let until = arrived + to.route.timeout;
        let body = self.bodies.receive(request, payload, owner, until, held).await?;
        seen.request_bytes = body.length();
        let (mut record, later) = {
            let keyed = keyed.map(|keyed| (keyed, body.digest()));
            let (inline, later) = body.split(owner.format);
            let remaining = timeout.saturating_sub(arrived.elapsed());
            let mut content = to_wire(request, &to.target, to.route, inline, id, reply_topic, remaining);
            to.caller.mark(&mut content);
            if let Some((keyed, digest)) = keyed {
                keyed.mark(&mut content, digest);
            }
            complete(&mut content);
            seen::sends(seen, &mut content);
            (owner.format.encode_request(content), later)
        };
        let is_elsewhere = self.bodies.put_into(&mut record, later, owner).await?;
        if is_elsewhere {
            // A large body may take as long as it comes.
            afterwards::set_deadline(&mut record, timeout);
        }
        Ok(Encoded { record, is_elsewhere })
    }
}
