//! Which trace a request belongs to: the value of `traceparent` (W3C Trace Context, level 2, section 3.2).

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::wire::headers::{KHP_TRACEPARENT, TRACEPARENT, TRACESTATE};
use crate::wire::message::{Fields, RawRecord, Record};

/// Hexadecimal digits and hyphens of version 00.
const LENGTH: usize = 55;

/// A trace, and the span in it that whatever comes next is a child of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Never 0.
    pub trace: u128,
    /// Never 0.
    pub span: u64,
    /// Whoever began the trace records its spans.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads a value; `None`: it says nothing, and is passed over (section 3.2.2.3). A later version may have more behind what is known.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, further) = value.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = parts(known)?;
        let version = number(version)?;
        let is_known = version == 0 && further.is_empty();
        let is_later = version != 0 && version != 0xff && further.first().is_none_or(|byte| *byte == b'-');
        if !is_known && !is_later {
            return None;
        }
        let found = TraceParent {
            trace: number(trace)?,
            span: u64::try_from(number(span)?).ok()?,
            sampled: number(flags)? & 1 == 1,
        };
        (found.trace != 0 && found.span != 0).then_some(found)
    }

    /// The same trace, with another span of it.
    pub fn with_span(self, span: u64) -> Self {
        TraceParent { span, ..self }
    }
}

/// The trace that a request tells of. More than one value says nothing, as none does (section 3.2.1).
pub fn of_request(fields: &Fields) -> Option<TraceParent> {
    let values = fields.iter().filter(|(name, _)| name == TRACEPARENT);
    of_values(values.map(|(_, value)| &**value))
}

/// The trace that these values of `traceparent` tell of.
pub fn of_values<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<TraceParent> {
    let only = values.next()?;
    values.next().is_none().then(|| TraceParent::parse(only))?
}

/// Tells of this trace in a request, instead of what came with it. `begins`: what came with it is no part of it.
pub fn set(fields: &mut Fields, parent: TraceParent, begins: bool) {
    fields.retain(|(name, _)| name != TRACEPARENT && !(begins && name == TRACESTATE));
    fields.push((Cow::Borrowed(TRACEPARENT), parent.to_string().into()));
}

/// Tells in an encoded reply which span wrote it.
pub fn mark_reply(reply: &mut Record, writer: TraceParent) {
    let value = Bytes::from(writer.to_string());
    reply.headers.push((Cow::Borrowed(KHP_TRACEPARENT), value));
}

/// Which span wrote a reply. Other repliers tell it where OpenTelemetry does.
pub fn of_reply(reply: &RawRecord) -> Option<TraceParent> {
    let writer = reply.header(KHP_TRACEPARENT).or_else(|| reply.header(TRACEPARENT));
    TraceParent::parse(writer?)
}

/// The value of `traceparent`.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.sampled)
        )
    }
}

fn parts(known: &[u8]) -> Option<[&[u8]; 4]> {
    let hyphens = [2, 35, 52].iter().all(|at| known.get(*at) == Some(&b'-'));
    hyphens.then(|| [&known[..2], &known[3..35], &known[36..52], &known[53..55]])
}

/// A number in lower-case digits, and nothing else.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((number << 4) | u128::from(digit))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let parent = TraceParent::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!((parent.span, parent.sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(parent.to_string(), EXAMPLE);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings";
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parent));
    }

    #[test]
    fn what_is_malformed_says_nothing() {
        for value in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(value.as_bytes()), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..80)) {
            TraceParent::parse(&value);
        }

        #[test]
        fn what_is_written_is_read(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let parent = TraceParent { trace, span, sampled };
            prop_assert_eq!(TraceParent::parse(parent.to_string().as_bytes()), Some(parent));
        }
    }
}
