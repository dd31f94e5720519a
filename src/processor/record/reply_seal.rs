//! Seals the replies to sealed requests: whoever holds a key asked, and only such a one may read the answer.

use std::borrow::Cow;
use std::sync::Arc;

use crate::processor::record::error_reply::too_large;
use crate::wire::sealing::{Binding, SealError, is_sealed};
use crate::wire::{self, RawRecord, Record, SharedSealing, WireError, headers};

/// The keys, and the request topic that replies are bound to. Clones share it.
#[derive(Clone)]
pub struct ReplySeal {
    pub sealing: SharedSealing,
    pub request_topic: Arc<str>,
}

impl ReplySeal {
    /// A request as it was before it was sealed.
    ///
    /// # Errors
    /// Nothing of it is believed.
    pub fn open<'r>(&self, request: &'r RawRecord) -> Result<Cow<'r, RawRecord>, SealError> {
        let request_topic = &self.request_topic;
        self.sealing.load().open(request, Binding::Request { request_topic })
    }

    /// Where an answer to a request goes that cannot be worked on. `None`: nothing shows that who asks for one may ask.
    pub fn reply_address(&self, request: &RawRecord) -> Option<WireError> {
        let opened = self.open(request).ok()?;
        Some(wire::reply_address(&opened))
    }

    /// The reply, sealed if its request was. `None`: it cannot be, and must not go out in clear.
    pub fn seal(&self, request: &RawRecord, reply: Record, reply_topic: &str) -> Option<Record> {
        self.seal_if(is_sealed(request), reply, reply_topic)
    }

    /// The same, for a request that was sealed or was not.
    pub fn seal_if(&self, was_sealed: bool, reply: Record, reply_topic: &str) -> Option<Record> {
        match was_sealed {
            true => self.sealed(reply, reply_topic),
            false => Some(reply),
        }
    }

    /// The small reply that takes the place of one too large for its topic; `None` where `reply` is that already.
    pub fn too_large(&self, reply: &Record, reply_topic: &str) -> Option<Record> {
        let is_sealed = reply.headers.iter().any(|(name, _)| name == headers::KHP_SEAL_KEY);
        let mut smaller = too_large(reply)?;
        if is_sealed {
            smaller = self.sealed(smaller, reply_topic)?;
        }
        (smaller.encoded_size() < reply.encoded_size()).then_some(smaller)
    }

    /// A sign of life, sealed as the pieces are that go to the same reply topic.
    pub fn seal_alive(&self, is_sealed: bool, alive: Record, topic: &str) -> Option<Record> {
        match is_sealed {
            true => self.bound(alive, Binding::Control { topic }),
            false => Some(alive),
        }
    }

    fn sealed(&self, reply: Record, reply_topic: &str) -> Option<Record> {
        let binding = Binding::Reply {
            request_topic: &self.request_topic,
            reply_topic,
        };
        self.bound(reply, binding)
    }

    fn bound(&self, record: Record, binding: Binding<'_>) -> Option<Record> {
        let sealed = self.sealing.load().seal(record, binding);
        sealed
            .inspect_err(|error| tracing::error!(topic = %self.request_topic, %error, "a reply is not sent"))
            .ok()
    }
}
