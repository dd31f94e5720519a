//! A TOML file as a tree of texts: a number is the digits that were written.

use config::{Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::settings::sources::layer::Table;

/// Reads a file.
///
/// # Errors
/// It is not TOML.
pub fn parse(text: &str) -> Result<Table, String> {
    let root = DeTable::parse(text).map_err(|error| error.to_string())?;
    Ok(table(root.get_ref()))
}

fn table(entries: &DeTable<'_>) -> Table {
    let entries = entries.iter();
    entries
        .map(|(name, entry)| (name.get_ref().to_string(), value(entry)))
        .collect()
}

fn value(entry: &Spanned<DeValue<'_>>) -> Value {
    Value::from(match entry.get_ref() {
        DeValue::String(text) => ValueKind::String(text.to_string()),
        DeValue::Integer(number) => ValueKind::String(number.to_string()),
        DeValue::Float(number) => ValueKind::String(number.as_str().to_owned()),
        DeValue::Boolean(flag) => ValueKind::String(flag.to_string()),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Array(items) => ValueKind::Array(items.iter().map(value).collect()),
        DeValue::Table(entries) => ValueKind::Table(table(entries)),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_was_written() {
        let table = parse("a = 2024.10\nb = 0x10\nc = [1, 'x']\n[d]\ne = true\nf = 2024-01-01").unwrap();
        let text = |value: &Value| value.clone().into_string().unwrap();
        assert_eq!(
            (text(&table["a"]), text(&table["b"])),
            ("2024.10".to_owned(), "0x10".to_owned())
        );
        let items = table["c"].clone().into_array().unwrap();
        assert_eq!(items.iter().map(text).collect::<Vec<_>>(), ["1", "x"]);
        let inner = table["d"].clone().into_table().unwrap();
        assert_eq!(
            (text(&inner["e"]), text(&inner["f"])),
            ("true".to_owned(), "2024-01-01".to_owned())
        );
        assert!(parse("a = ").unwrap_err().contains("line 1"));
    }
}
