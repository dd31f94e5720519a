//! What pairs a reply with its request.

use std::fmt;

use uuid::{Uuid, Variant};

use crate::wire::headers;
use crate::wire::hex::hex;

/// A correlation id of ours: a UUIDv8 (RFC 9562 5.8), which other programs can read as a UUID. Its first 16 bits are the tag of the
/// instance that waits, 106 random bits follow. By the tag an instance knows a late reply of its own from one for another instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CorrelationId(u128);

impl CorrelationId {
    /// Makes a new one for the instance of that tag.
    pub fn new(tag: u16) -> Self {
        let mut bytes = rand::random::<[u8; 16]>();
        bytes[..2].copy_from_slice(&tag.to_be_bytes());
        Self(Uuid::new_v8(bytes).as_u128())
    }

    /// The tag of the instance that made it: the first four digits of its text.
    pub const fn tag(self) -> u16 {
        (self.0 >> 112) as u16
    }

    /// As `kafka_correlationId` has it: most significant byte first, Spring Kafka's convention.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads the 16 bytes, or the 36 characters that `json` and repliers without binary ids write. `None` if it cannot
    /// be one of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let uuid = match bytes.len() {
            16 => Uuid::from_slice(bytes).ok()?,
            36 => Uuid::try_parse_ascii(bytes).ok()?,
            _ => return None,
        };
        let ours = uuid.get_version_num() == 8 && uuid.get_variant() == Variant::RFC4122;
        ours.then(|| Self(uuid.as_u128()))
    }

    /// 62 random bits after the variant's two: enough of a key where ids live for a minute, and what fits librdkafka's
    /// opaque pointer. Never 0, which would be no pointer, because the variant is not.
    pub const fn low64(self) -> u64 {
        self.0 as u64
    }
}

/// The text of the UUID, lower case with hyphens.
impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_u128(self.0).as_hyphenated().fmt(f)
    }
}

/// A longer id of others is shown by its beginning.
pub const MAX_ID_TEXT: usize = 128;

/// A correlation id as HTTP shows it: ours as a UUID, anybody's text as it is, other bytes in hexadecimal.
pub fn id_text(id: &[u8]) -> String {
    match (CorrelationId::from_bytes(id), std::str::from_utf8(id)) {
        (Some(id), _) => id.to_string(),
        (None, Ok(text)) if headers::name_is_legal(text) && text.len() <= MAX_ID_TEXT => text.to_string(),
        _ => hex(&id[..id.len().min(MAX_ID_TEXT / 2)]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 9562, appendix B.1: an example of a UUIDv8.
    const EXAMPLE: [u8; 16] = [
        0x24, 0x89, 0xe9, 0xad, 0x2e, 0xe2, 0x8e, 0x00, 0x8e, 0xc9, 0x32, 0xd5, 0xf6, 0x91, 0x81, 0xc0,
    ];
    const EXAMPLE_TEXT: &str = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0";

    #[test]
    fn the_example_is_read_and_written() {
        let id = CorrelationId::from_bytes(&EXAMPLE).unwrap();
        assert_eq!(id.to_string(), EXAMPLE_TEXT);
        assert_eq!(
            CorrelationId::from_bytes(EXAMPLE_TEXT.to_uppercase().as_bytes()),
            Some(id)
        );
        assert_eq!(
            (id.tag(), id.low64(), id.to_bytes()),
            (0x2489, 0x8ec9_32d5_f691_81c0, EXAMPLE)
        );
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let v4 = Uuid::from_u128(0x2489_e9ad_2ee2_4e00_8ec9_32d5_f691_81c0);
        let other_variant = Uuid::from_u128(0x2489_e9ad_2ee2_8e00_cec9_32d5_f691_81c0);
        for uuid in [v4, other_variant, Uuid::nil(), Uuid::max()] {
            assert_eq!(CorrelationId::from_bytes(uuid.as_bytes()), None);
            assert_eq!(CorrelationId::from_bytes(uuid.to_string().as_bytes()), None);
        }
        for bytes in [
            &b""[..],
            &EXAMPLE[..15],
            &[0; 17],
            b"2489e9ad2ee28e008ec932d5f69181c0",
            &[b'-'; 36],
            &[0xff; 36],
        ] {
            assert_eq!(CorrelationId::from_bytes(bytes), None);
        }
    }

    #[test]
    fn ids_of_others_are_shown_safely() {
        assert_eq!(id_text(b"abc-1"), "abc-1");
        assert_eq!(id_text(b"a b\r\n"), "6120620d0a");
    }

    proptest! {
        #[test]
        fn an_id_keeps_its_tag_and_survives_both_forms(tag: u16) {
            let id = CorrelationId::new(tag);
            prop_assert_eq!(id.tag(), tag);
            prop_assert_ne!(id.low64(), 0);
            prop_assert_ne!(id, CorrelationId::new(tag));
            prop_assert_eq!(CorrelationId::from_bytes(&id.to_bytes()), Some(id));
            prop_assert_eq!(CorrelationId::from_bytes(id.to_string().as_bytes()), Some(id));
        }
    }
}
