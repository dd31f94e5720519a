//! The id in a result's Location: everything that any proxy needs to find the result, and a check value.
//!
//! Its text is URL-safe base64 of 47 bytes: version, correlation id, which topics, deadline, how long the request had, and the check
//! value. That one covers the principal of who asked, which the id does not tell: another principal's id is nobody's.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use ring::hmac;

use crate::wire::CorrelationId;

const VERSION: u8 = 1;
/// Bytes before the check value.
const CONTENT: usize = 1 + 16 + 4 + 6 + 4;
/// Bytes of the check value: half of SHA-256, as RFC 2104 5 has it.
const CHECK: usize = 16;
/// Characters of the text.
const LENGTH: usize = ((CONTENT + CHECK) * 8).div_ceil(6);

/// What is known of a request whose result is fetched later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultId {
    pub id: CorrelationId,
    /// Which request topic and which results topic: `place_of`.
    pub place: u32,
    /// Unix time in ms after which no result is begun.
    pub deadline_ms: i64,
    /// From the request's arrival to its deadline; whole seconds.
    pub timeout: Duration,
}

impl ResultId {
    /// When the request came, in Unix time in ms.
    pub fn since_ms(&self) -> i64 {
        self.deadline_ms - self.timeout.as_millis() as i64
    }

    fn content(&self) -> [u8; CONTENT] {
        let mut content = [0; CONTENT];
        content[0] = VERSION;
        content[1..17].copy_from_slice(&self.id.to_bytes());
        content[17..21].copy_from_slice(&self.place.to_be_bytes());
        content[21..27].copy_from_slice(&self.deadline_ms.to_be_bytes()[2..]);
        let seconds = u32::try_from(self.timeout.as_secs()).unwrap_or(u32::MAX);
        content[27..].copy_from_slice(&seconds.to_be_bytes());
        content
    }

    fn of_content(content: &[u8; CONTENT]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        (content[0] == VERSION).then_some(())?;
        Some(ResultId {
            id: CorrelationId::from_bytes(&content[1..17])?,
            place: number(&content[17..21]) as u32,
            deadline_ms: number(&content[21..27]) as i64,
            timeout: Duration::from_secs(number(&content[27..])),
        })
    }
}

/// Names two topics in four bytes: every proxy with the same routes finds them by it.
pub fn place_of(request_topic: &str, results_topic: &str) -> u32 {
    let mut hash = Context::new(&SHA256);
    hash.update(request_topic.as_bytes());
    // In no topic's name.
    hash.update(b"\n");
    hash.update(results_topic.as_bytes());
    let hash = hash.finish();
    hash.as_ref()
        .iter()
        .take(4)
        .fold(0, |place, byte| place << 8 | u32::from(*byte))
}

/// An id as a client sent it, whose check value was not looked at yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchecked {
    pub result: ResultId,
    check: [u8; CHECK],
}

/// Writes and checks ids.
pub struct Locations {
    /// `None`: check values find mistakes, and no forgery.
    key: Option<hmac::Key>,
}

impl Locations {
    /// Signs with this secret, where there is one.
    pub fn new(secret: Option<&str>) -> Self {
        Locations {
            key: secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())),
        }
    }

    /// The text of an id that this principal may use; `None`: nobody was asked who it is.
    pub fn write(&self, result: &ResultId, principal: Option<&str>) -> String {
        let content = result.content();
        let mut all = content.to_vec();
        all.extend_from_slice(&self.check_of(&content, principal));
        URL_SAFE_NO_PAD.encode(all)
    }

    /// Reads a text. `None`: it is none that was ever written.
    pub fn read(text: &str) -> Option<Unchecked> {
        (text.len() == LENGTH).then_some(())?;
        let all = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (content, check) = all.split_first_chunk::<CONTENT>()?;
        Some(Unchecked {
            result: ResultId::of_content(content)?,
            check: check.try_into().ok()?,
        })
    }

    /// Whether this principal may use it. Takes the same time whatever the answer is.
    pub fn is_of(&self, unchecked: &Unchecked, principal: Option<&str>) -> bool {
        let expected = self.check_of(&unchecked.result.content(), principal);
        openssl::memcmp::eq(&expected, &unchecked.check)
    }

    fn check_of(&self, content: &[u8; CONTENT], principal: Option<&str>) -> [u8; CHECK] {
        let principal = (
            &[u8::from(principal.is_some())][..],
            principal.unwrap_or_default().as_bytes(),
        );
        let parts = [b"khp-result".as_slice(), content, principal.0, principal.1];
        let mut check = [0; CHECK];
        match &self.key {
            Some(key) => {
                let mut signer = hmac::Context::with_key(key);
                parts.iter().for_each(|part| signer.update(part));
                check.copy_from_slice(&signer.sign().as_ref()[..CHECK]);
            }
            None => {
                let mut hash = Context::new(&SHA256);
                parts.iter().for_each(|part| hash.update(part));
                check.copy_from_slice(&hash.finish().as_ref()[..CHECK]);
            }
        }
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn result(deadline_ms: i64, seconds: u32, place: u32) -> ResultId {
        ResultId {
            id: CorrelationId::new(7),
            place,
            deadline_ms,
            timeout: Duration::from_secs(seconds.into()),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_by_whoever_has_the_key(
            deadline_ms in 0_i64..1 << 47, seconds: u32, place: u32,
            secret in prop::option::of("[ -~]{16,40}"), principal in prop::option::of("[ -~]{0,20}"), other in "[ -~]{0,20}",
        ) {
            let (locations, result) = (Locations::new(secret.as_deref()), result(deadline_ms, seconds, place));
            let text = locations.write(&result, principal.as_deref());
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
            let read = Locations::read(&text).unwrap();
            prop_assert_eq!(read.result, result);
            prop_assert!(locations.is_of(&read, principal.as_deref()));
            prop_assert_eq!(locations.is_of(&read, Some(&other)), principal.as_deref() == Some(&other));
            prop_assert_eq!(locations.is_of(&read, None), principal.is_none());
            prop_assert!(!Locations::new(Some("another secret here")).is_of(&read, principal.as_deref()));
        }

        #[test]
        fn a_changed_id_is_nobodys(place in 0_usize..63, with in "[A-Za-z0-9_-]") {
            let locations = Locations::new(Some("0123456789abcdef"));
            let text = locations.write(&result(1, 2, 3), Some("a"));
            let mut changed = text.clone();
            changed.replace_range(place..=place, &with);
            let counts = Locations::read(&changed).is_some_and(|read| locations.is_of(&read, Some("a")));
            prop_assert_eq!(counts, changed == text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let read = Locations::read(&text);
            prop_assert!(read.is_none_or(|read| !Locations::new(None).is_of(&read, None)));
        }
    }

    #[test]
    fn a_place_names_two_topics() {
        let place = place_of("orders-requests", "orders-results");
        assert_eq!(place, place_of("orders-requests", "orders-results"));
        assert_ne!(place, place_of("orders-request", "sorders-results"));
        assert_ne!(place, place_of("orders-results", "orders-requests"));
    }

    #[test]
    fn an_id_tells_when_its_request_came() {
        assert_eq!(result(70_000, 60, 0).since_ms(), 10_000);
    }
}
