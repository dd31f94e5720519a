//! Seals requests and opens their replies, where keys are configured.

use std::borrow::Cow;

use super::messages::Forward;
use crate::wire::sealing::{Binding, NotSealed};
use crate::wire::{RawRecord, Sealing};

/// Seals a request: everything that is authenticated is known only when it is sent.
///
/// # Errors
/// OpenSSL failed.
pub(super) fn seal(sealing: &Sealing, forward: &mut Forward) -> Result<(), NotSealed> {
    let request_topic = &forward.request_topic.name;
    let record = std::mem::take(&mut forward.record);
    forward.record = sealing.seal(record, Binding::Request { request_topic })?;
    Ok(())
}

/// A reply as it was before it was sealed, where it is believed. `logged`: that one was not.
pub(super) fn open(
    sealing: &Sealing,
    logged: &mut bool,
    (request_topic, reply_topic): (&str, &str),
    reply: RawRecord,
) -> Option<RawRecord> {
    let binding = Binding::Reply {
        request_topic,
        reply_topic,
    };
    let opened = sealing.open(&reply, binding).map(|opened| match opened {
        Cow::Owned(opened) => Some(opened),
        Cow::Borrowed(_) => None,
    });
    match opened {
        Ok(opened) => Some(opened.unwrap_or(reply)),
        Err(error) => {
            if !std::mem::replace(logged, true) {
                tracing::warn!(topic = %reply.topic, partition = reply.partition, offset = reply.offset, %error,
                    "a reply is not believed, and its request goes on to wait (said once)");
            }
            None
        }
    }
}
