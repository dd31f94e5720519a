//! What a commit says beside its offset: of which topic it is, how the group began, and which records beyond the offset are done.
//!
//! `khp1:` and base64 of the topic's id (16 bytes), the committed offset (8 bytes), the group's first partition count (4 bytes) and the
//! code of the done set. Whoever does not know it ignores it, and what is not of this form is ignored here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use super::done_set::DoneSet;
use crate::kafka::cluster::describe::TopicId;

/// Tells our metadata, and its form, from anybody else's.
const PREFIX: &str = "khp1:";
/// Bytes before the done set: topic id, offset, partition count.
const HEAD: usize = 16 + 8 + 4;

/// How long a commit's metadata may be, where nobody configured the broker: its `offset.metadata.max.bytes`.
pub const DEFAULT_LIMIT: usize = 4096;

/// What a commit says beside its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitMetadata {
    /// Of the topic that the offset is of. `None`: the brokers tell none.
    pub topic: Option<TopicId>,
    /// With `start: latest`: how many partitions the topic had when the group began. 0: it began at the beginning, or before this was kept.
    pub began_with: i32,
    /// Beyond the committed offset.
    pub done: DoneSet,
}

impl CommitMetadata {
    /// The text, of at most `limit` bytes. Done records that do not fit are left out, and all of it where not even the rest fits.
    pub fn encode(&self, offset: i64, limit: usize) -> String {
        if self.topic.is_none() && self.began_with == 0 && self.done.is_empty() {
            return String::new();
        }
        let Some(room) = room(limit) else { return String::new() };
        let mut bytes = Vec::with_capacity(HEAD + 64);
        bytes.extend(self.topic.map_or([0; 16], TopicId::to_bytes));
        bytes.extend(offset.to_be_bytes());
        bytes.extend(self.began_with.to_be_bytes());
        bytes.extend(self.done.encode(offset, room));
        format!("{PREFIX}{}", BASE64.encode(bytes))
    }

    /// Reads the metadata of a commit of this offset. `None`: it is not ours, or of another offset, as a tool leaves it that moves offsets.
    pub fn decode(offset: i64, text: &[u8]) -> Option<Self> {
        let bytes = BASE64.decode(text.strip_prefix(PREFIX.as_bytes())?).ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (of, rest) = rest.split_first_chunk::<8>()?;
        let (began_with, code) = rest.split_first_chunk::<4>()?;
        if i64::from_be_bytes(*of) != offset {
            return None;
        }
        Some(CommitMetadata {
            topic: (*id != [0; 16]).then(|| TopicId::from_bytes(*id)),
            began_with: i32::from_be_bytes(*began_with),
            done: DoneSet::decode(offset, code)?,
        })
    }
}

/// Bytes that a done set may take in metadata of at most `limit` bytes.
pub fn room(limit: usize) -> Option<usize> {
    (limit.checked_sub(PREFIX.len())? * 3 / 4).checked_sub(HEAD)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use proptest::prelude::*;

    fn metadata(done: impl IntoIterator<Item = Range<i64>>) -> CommitMetadata {
        let mut set = DoneSet::default();
        done.into_iter().for_each(|run| set.push(run));
        CommitMetadata {
            topic: Some(TopicId::of(7)),
            began_with: 12,
            done: set,
        }
    }

    #[test]
    fn it_is_read_only_beside_its_own_offset() {
        let metadata = metadata(std::iter::once(6..9));
        let text = metadata.encode(5, DEFAULT_LIMIT);
        assert_eq!(CommitMetadata::decode(5, text.as_bytes()), Some(metadata));
        assert_eq!(CommitMetadata::decode(6, text.as_bytes()), None);
    }

    #[test]
    fn what_is_not_ours_is_ignored() {
        for text in [
            "",
            "khp1",
            "khp1:",
            "khp2:AAAA",
            "khp1:!!!!",
            "khp1:AAAA",
            "{\"host\": \"a\"}",
        ] {
            assert_eq!(CommitMetadata::decode(0, text.as_bytes()), None, "{text}");
        }
        assert_eq!(CommitMetadata::decode(0, &[0xff, 0xfe]), None);
    }

    #[test]
    fn without_anything_to_say_it_is_empty() {
        let nothing = CommitMetadata {
            topic: None,
            began_with: 0,
            done: DoneSet::default(),
        };
        assert_eq!(nothing.encode(5, DEFAULT_LIMIT), "");
    }

    proptest! {
        #[test]
        fn it_survives_within_its_limit(
            offset in 0i64..1 << 40,
            lengths in prop::collection::vec((1i64..300, 1i64..300), 0..2000),
            limit in 0usize..5000,
        ) {
            let mut at = offset;
            let runs = lengths.iter().map(|(undone, done)| {
                at += undone + done;
                at - done..at
            });
            let full = metadata(runs);
            let text = full.encode(offset, limit);
            prop_assert!(text.len() <= limit);
            if let Some(read) = CommitMetadata::decode(offset, text.as_bytes()) {
                prop_assert_eq!(read.topic, full.topic);
                prop_assert!(read.done == full.done || text.len() + 16 > limit);
            } else {
                prop_assert!(text.is_empty());
            }
        }
    }
}
