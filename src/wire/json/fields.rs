//! Header fields as JSON: an object, as kafka-http-proxy has them, and beside it a list where that is not enough.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::http::{self, MAX_HEADERS};
use crate::wire::message::Fields;

/// A JSON object whose order is kept.
pub struct Object<K, V>(pub Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for Object<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Object<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
            type Value = Object<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// Every field in order, as it was.
pub type HeaderList<'a> = Vec<(Cow<'a, str>, ListedValue<'a>)>;

/// A field's value.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum ListedValue<'a> {
    Text(Cow<'a, str>),
    /// It is not UTF-8.
    Bytes {
        base64: String,
    },
}

/// The object, and the list where the object cannot say it all: a name repeats, or a value is not UTF-8.
pub fn write_fields(fields: &Fields) -> (Object<&str, Cow<'_, str>>, Option<HeaderList<'_>>) {
    let mut object: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(fields.len());
    let mut says_it_all = true;
    for (name, value) in fields {
        let text = std::str::from_utf8(value).map_or_else(
            |_| {
                says_it_all = false;
                // As HTTP once meant it (RFC 9110 5.5).
                value.iter().map(|&byte| char::from(byte)).collect::<String>().into()
            },
            Cow::Borrowed,
        );
        match object.iter_mut().find(|(known, _)| known == name) {
            None => object.push((name, text)),
            Some((_, earlier)) => {
                says_it_all = false;
                combine(name, earlier, &text);
            }
        }
    }
    let listed = |value: &'_ Bytes| match std::str::from_utf8(value) {
        Ok(text) => ListedValue::Text(text.to_owned().into()),
        Err(_) => ListedValue::Bytes {
            base64: BASE64.encode(value),
        },
    };
    let list = (!says_it_all).then(|| {
        let fields = fields.iter();
        fields
            .map(|(name, value)| (Cow::Borrowed(&**name), listed(value)))
            .collect()
    });
    (Object(object), list)
}

/// One value for all of a name (RFC 9110 5.3; cookies: RFC 9113 8.2.3). Set-Cookie cannot be combined: the last stands.
fn combine(name: &str, earlier: &mut Cow<'_, str>, value: &str) {
    match name {
        "set-cookie" => *earlier = value.to_owned().into(),
        "cookie" => *earlier.to_mut() += &format!("; {value}"),
        _ => *earlier.to_mut() += &format!(", {value}"),
    }
}

/// Reads the list, or else the object.
pub fn read_fields(object: Option<Object<String, String>>, list: Option<HeaderList<'_>>) -> Result<Fields, String> {
    let fields: Vec<(Cow<'_, str>, Bytes)> = match (list, object) {
        (Some(list), _) => list
            .into_iter()
            .map(|(name, value)| Ok((name, listed_bytes(value)?)))
            .collect::<Result<_, String>>()?,
        (None, Some(Object(object))) => object
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        (None, None) => Vec::new(),
    };
    if fields.len() > MAX_HEADERS {
        return Err(format!("more than {MAX_HEADERS} headers"));
    }
    http::read_fields(fields.iter().map(|(name, value)| (name.as_bytes(), value)))
}

fn listed_bytes(value: ListedValue<'_>) -> Result<Bytes, String> {
    match value {
        ListedValue::Text(text) => Ok(text.into_owned().into()),
        ListedValue::Bytes { base64 } => match BASE64.decode(base64) {
            Ok(bytes) => Ok(bytes.into()),
            Err(_) => Err("header_list has a value that is not base64".into()),
        },
    }
}
