//! Path and query in the envelope, whose writer keeps them apart and unescaped.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use serde_json::Value;

use crate::wire::json::fields::Object;

/// The names and values of a query, in the order of the names; those of a name that repeats are a list.
pub fn query_params(query: &str) -> Object<Cow<'_, str>, Value> {
    let mut params: Vec<(Cow<'_, str>, Value)> = Vec::new();
    // A head has room for thousands of names: to look through all of them for each would hold up an HTTP worker.
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = Value::String(value.into_owned());
        match places.entry(name) {
            Entry::Vacant(new) => {
                params.push((new.key().clone(), value));
                new.insert(params.len() - 1);
            }
            Entry::Occupied(known) => match &mut params[*known.get()].1 {
                Value::Array(values) => values.push(value),
                first => *first = Value::Array(vec![first.take(), value]),
            },
        }
    }
    Object(params)
}

/// The target of a request whose path and query are text: what a target cannot hold is escaped. Escapes that are there
/// stay, and so does a query in the path.
///
/// # Errors
/// A value of the query is no text.
pub fn target(path: &str, params: Option<Object<String, Value>>) -> Result<String, String> {
    let mut target = String::with_capacity(path.len());
    for (at, byte) in path.bytes().enumerate() {
        let digits = path.as_bytes().get(at + 1..at + 3);
        let is_escape = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match byte {
            b'%' if is_escape => target.push('%'),
            b'%' | b'"' | b'#' | b'<' | b'>' | b'`' | b'{' | b'}' | ..=b' ' | 0x7f.. => {
                // Writing to a string does not fail.
                let _ = write!(target, "%{byte:02X}");
            }
            _ => target.push(byte.into()),
        }
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in params.map_or_else(Vec::new, |Object(params)| params) {
        let values = match value {
            Value::Array(values) => values,
            single => vec![single],
        };
        for value in values {
            match value {
                Value::String(text) => query.append_pair(&name, &text),
                Value::Null => query.append_pair(&name, ""),
                Value::Number(_) | Value::Bool(_) => query.append_pair(&name, &value.to_string()),
                Value::Array(_) | Value::Object(_) => return Err("query_params has a value that is no text".into()),
            };
        }
    }
    let query = query.finish();
    if !query.is_empty() {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(&query);
    }
    Ok(target)
}
