//! One dead letter, as people ask about it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::wire::{self, RawRecord, headers, redrive};

/// Where a letter is: `PARTITION:OFFSET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { partition, offset } = self;
        // `pad`: a table gives it a width.
        f.pad(&format!("{partition}:{offset}"))
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':');
        let numbers = parts.and_then(|(partition, offset)| Some((partition.parse().ok()?, offset.parse().ok()?)));
        match numbers {
            Some((partition, offset)) if partition >= 0 && offset >= 0 => Ok(Place { partition, offset }),
            _ => Err("PARTITION:OFFSET, as in 0:17"),
        }
    }
}

/// A record of the dead letter topic that is not a mark.
pub struct Letter {
    pub record: RawRecord,
    /// The request in it, where it was sealed and a configured key opens it.
    pub opened: Option<RawRecord>,
    /// A mark names it: it went back already.
    pub redriven: bool,
}

impl Letter {
    pub fn place(&self) -> Place {
        Place {
            partition: self.record.partition,
            offset: self.record.offset,
        }
    }

    /// The record with its seal taken off, where there is one that opens.
    pub fn content(&self) -> &RawRecord {
        self.opened.as_ref().unwrap_or(&self.record)
    }

    /// The values of a record header, whatever the case of its name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Bytes> {
        self.record.headers_named(name).flatten()
    }

    /// The last value of a record header, which is the one that counts; bytes that are no text are replaced.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.all(name).last().map(|value| String::from_utf8_lossy(value))
    }

    /// The topic it came from, from its own headers.
    pub fn original_topic(&self) -> Option<Cow<'_, str>> {
        self.text(headers::DLT_ORIGINAL_TOPIC)
    }

    /// How often it was redriven.
    pub fn rounds(&self) -> u32 {
        redrive::rounds(&self.record)
    }

    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.record.headers.iter();
        headers.map(|(name, value)| name.len() + part(value)).sum::<usize>()
            + part(&self.record.key)
            + part(&self.record.value)
    }

    /// The request in it, of whatever format, where it is one.
    pub fn request(&self) -> Option<wire::Request> {
        wire::decode_request(self.content()).ok()
    }

    /// When it was given up, as Kafka knows it.
    pub fn time(&self) -> String {
        let ms = self.record.timestamp.and_then(|ms| u64::try_from(ms).ok());
        let time = ms.and_then(|ms| std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(ms)));
        // humantime writes years up to 9999.
        time.filter(|_| ms < Some(253_402_300_800_000)).map_or_else(
            || "-".into(),
            |time| humantime::format_rfc3339_seconds(time).to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let place: Place = "3:17".parse().unwrap();
        assert_eq!((place.partition, place.offset), (3, 17));
        assert_eq!(place.to_string(), "3:17");
        assert_eq!(format!("{place:>6}|"), "  3:17|");
        for bad in ["", "3", "3:", ":3", "-1:3", "3:-1", "a:b", "1:2:3"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_any_record_are_printed() {
        for (timestamp, text) in [
            (Some(1_700_000_000_999), "2023-11-14T22:13:20Z"),
            (Some(-5), "-"),
            (Some(i64::MAX), "-"),
            (None, "-"),
        ] {
            let record = RawRecord {
                timestamp,
                ..super::super::tests::record(&[], b"")
            };
            let letter = Letter {
                record,
                redriven: false,
                opened: None,
            };
            assert_eq!(letter.time(), text);
        }
    }
}
