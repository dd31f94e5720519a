//! A JSON file as a tree of texts: a number is the characters that were written, so that a topic `1.10` is not `1.1`.

use std::collections::HashMap;

use config::{Value, ValueKind};
use serde_json::value::RawValue;

use crate::settings::sources::layer::Table;

/// Reads a file.
///
/// # Errors
/// It is not JSON, or no object.
pub fn parse(text: &str) -> Result<Table, String> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match value(raw).map_err(|error| error.to_string())? {
        ValueKind::Table(table) => Ok(table),
        _ => Err("the file is an object of settings, not a value".to_owned()),
    }
}

fn value(raw: &RawValue) -> serde_json::Result<ValueKind> {
    let json = raw.get();
    Ok(match json.as_bytes().first() {
        Some(b'{') => {
            let members: HashMap<String, &RawValue> = serde_json::from_str(json)?;
            let members = members.into_iter();
            ValueKind::Table(
                members
                    .map(|(name, raw)| Ok((name, Value::from(value(raw)?))))
                    .collect::<serde_json::Result<_>>()?,
            )
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            let items = items.into_iter();
            ValueKind::Array(
                items
                    .map(|raw| Ok(Value::from(value(raw)?)))
                    .collect::<serde_json::Result<_>>()?,
            )
        }
        Some(b'"') => ValueKind::String(serde_json::from_str(json)?),
        Some(b'n') => ValueKind::Nil,
        _ => ValueKind::String(json.to_owned()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_was_written() {
        let table = parse(r#"{"a": 1.10, "b": "\u00e9\"x", "c": [1e3, true, null], "d": {"e": -0}}"#).unwrap();
        assert_eq!(table["a"].kind, ValueKind::String("1.10".to_owned()));
        assert_eq!(table["b"].kind, ValueKind::String("é\"x".to_owned()));
        let items = table["c"].clone().into_array().unwrap();
        let kinds: Vec<ValueKind> = items.into_iter().map(|item| item.kind).collect();
        assert_eq!(
            kinds,
            ["1e3", "true"]
                .map(|text| ValueKind::String(text.to_owned()))
                .into_iter()
                .chain([ValueKind::Nil])
                .collect::<Vec<_>>()
        );
        assert_eq!(
            table["d"].clone().into_table().unwrap()["e"].kind,
            ValueKind::String("-0".to_owned())
        );
        assert!(parse("[1]").is_err());
        assert!(parse("{\"a\": 1,\n}").unwrap_err().contains("line 2"));
    }
}
