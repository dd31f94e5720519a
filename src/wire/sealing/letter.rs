//! A dead letter that was sealed: opened for who may read it, and sealed again for its way back.

use std::borrow::Cow;

use bytes::Bytes;

use crate::wire::headers;
use crate::wire::message::{RawFields, RawRecord};
use crate::wire::redrive::Redriven;
use crate::wire::sealing::{Binding, NotSealed, SealError, Sealing, is_in_clear, is_sealed, seal};

impl Sealing {
    /// The request in a dead letter, opened where it was sealed; what a processor wrote beside it is left out then. Seals are not required:
    /// an operator looks at what was given up, and that is given up for want of a seal, too.
    ///
    /// # Errors
    /// It is sealed, and does not open.
    pub fn open_letter<'r>(&self, letter: &'r RawRecord) -> Result<Cow<'r, RawRecord>, SealError> {
        if !is_sealed(letter) {
            return Ok(Cow::Borrowed(letter));
        }
        let topic = letter
            .header(headers::DLT_ORIGINAL_TOPIC)
            .map(|topic| String::from_utf8_lossy(topic));
        let request_topic = topic.as_deref().unwrap_or_default();
        // A letter that came back is sealed for the topic it went to.
        self.open(letter, Binding::Request { request_topic })
    }

    /// Seals a request that goes back, for the topic it goes to.
    ///
    /// # Errors
    /// OpenSSL failed.
    pub fn seal_redriven(&self, redriven: Redriven, request_topic: &str) -> Result<Redriven, NotSealed> {
        let Some(key) = self.keys.first() else {
            return Ok(redriven);
        };
        let (clear, hidden): (RawFields, RawFields) =
            redriven.headers.into_iter().partition(|(name, _)| is_in_clear(name));
        let binding = Binding::Request { request_topic };
        let sealed = seal(
            key,
            &clear,
            &hidden,
            redriven.key.as_ref(),
            redriven.value.as_ref(),
            binding,
        )?;
        let own = |name: &'static str, value| (Bytes::from_static(name.as_bytes()), Some(value));
        let mut headers = clear;
        headers.push(own(headers::KHP_SEAL_KEY, key.id.clone().into()));
        headers.push(own(headers::KHP_SEAL_NONCE, sealed.nonce));
        Ok(Redriven {
            key: sealed.key,
            value: Some(sealed.value),
            headers,
        })
    }
}
