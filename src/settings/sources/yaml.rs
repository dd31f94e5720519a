//! A YAML file as a tree of texts: every scalar is the characters that were written.
//!
//! YAML would make `2024.10` the number 2024.1 and `007` the number 7 before anybody knows whether the setting is a text. Here each
//! setting's own parser reads its text. `null`, `~` and nothing at all still mean: not set.

use std::collections::HashMap;

use config::{Value, ValueKind};
use yaml_rust2::Event;
use yaml_rust2::parser::Parser;
use yaml_rust2::scanner::{Marker, ScanError, TScalarStyle};

use crate::settings::sources::layer::Table;

/// Pulls the mappings of its value into its own (<https://yaml.org/type/merge.html>).
const MERGE: &str = "<<";

/// Reads a file.
///
/// # Errors
/// It is not YAML, holds more than one document, or is not a mapping; with the line and column where the parser knows them.
pub fn parse(text: &str) -> Result<Table, String> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
    };
    reader.document().map_err(|error| error.to_string())
}

struct Reader<'a> {
    parser: Parser<std::str::Chars<'a>>,
    /// What aliases stand for, by the parser's number of the anchor.
    anchors: HashMap<usize, ValueKind>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Table, ScanError> {
        let mut root = None;
        loop {
            match self.parser.next_token()? {
                (Event::StreamEnd, _) => return Ok(root.unwrap_or_default()),
                (Event::StreamStart | Event::DocumentStart | Event::DocumentEnd | Event::Nothing, _) => {}
                (_, at) if root.is_some() => return Err(problem(at, "there is more than one document")),
                (event, at) => {
                    root = Some(match self.value(event, at)? {
                        ValueKind::Table(table) => table,
                        ValueKind::Nil => Table::new(),
                        _ => return Err(problem(at, "the file is a mapping of settings, not a value")),
                    });
                }
            }
        }
    }

    fn value(&mut self, event: Event, at: Marker) -> Result<ValueKind, ScanError> {
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor).cloned();
                return target.ok_or_else(|| problem(at, "the alias stands inside its own anchor"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != TScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                let is_null = !is_text && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
                (
                    anchor,
                    if is_null {
                        ValueKind::Nil
                    } else {
                        ValueKind::String(text)
                    },
                )
            }
            Event::SequenceStart(anchor, _) => (anchor, ValueKind::Array(self.items()?)),
            Event::MappingStart(anchor, _) => (anchor, ValueKind::Table(self.mapping()?)),
            _ => return Err(problem(at, "a value is missing")),
        };
        // 0: it has none.
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn items(&mut self) -> Result<Vec<Value>, ScanError> {
        let mut items = Vec::new();
        loop {
            match self.parser.next_token()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, at) => items.push(Value::from(self.value(event, at)?)),
            }
        }
    }

    fn mapping(&mut self) -> Result<Table, ScanError> {
        let (mut own, mut merged) = (Table::new(), None);
        loop {
            let (key, is_merge, at) = match self.parser.next_token()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(key, style, ..), at) => {
                    let is_merge = style == TScalarStyle::Plain && key == MERGE;
                    (key, is_merge, at)
                }
                (Event::Alias(anchor), at) => match self.anchors.get(&anchor) {
                    Some(ValueKind::String(key)) => (key.clone(), false, at),
                    _ => return Err(problem(at, "a key is a text")),
                },
                (_, at) => return Err(problem(at, "a key is a text")),
            };
            let (event, value_at) = self.parser.next_token()?;
            let value = self.value(event, value_at)?;
            let is_duplicate = match is_merge {
                true => merged.replace(tables(value, value_at)?).is_some(),
                false => own.insert(key.clone(), Value::from(value)).is_some(),
            };
            if is_duplicate {
                return Err(problem(at, &format!("{key:?}: duplicated key in mapping")));
            }
        }
        // The mapping's own keys win, then the earlier of the merged ones, wherever the merge key stands.
        for (key, value) in merged.into_iter().flatten().flatten() {
            own.entry(key).or_insert(value);
        }
        Ok(own)
    }
}

/// The mappings that a merge key names.
fn tables(value: ValueKind, at: Marker) -> Result<Vec<Table>, ScanError> {
    let each = match value {
        ValueKind::Array(items) => items.into_iter().map(|item| item.kind).collect(),
        single => vec![single],
    };
    let table = |kind| match kind {
        ValueKind::Table(table) => Ok(table),
        _ => Err(problem(at, "<<: merges a mapping, or a list of mappings")),
    };
    each.into_iter().map(table).collect()
}

fn problem(at: Marker, what: &str) -> ScanError {
    ScanError::new(at, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(yaml: &str, path: &[&str]) -> String {
        let mut kind = ValueKind::Table(parse(yaml).unwrap());
        for key in path {
            kind = match kind {
                ValueKind::Table(table) => table[*key].kind.clone(),
                ValueKind::Array(items) => items[key.parse::<usize>().unwrap()].kind.clone(),
                other => panic!("{key} of {other:?}"),
            };
        }
        match kind {
            ValueKind::String(text) => text,
            other => panic!("{yaml}: {other:?}"),
        }
    }

    #[test]
    fn a_scalar_is_what_was_written() {
        for written in [
            "2024.10",
            "007",
            "1e3",
            "0x10",
            "0o17",
            "1_000",
            "true",
            "no",
            "2024-01-01",
            ".5",
            "+1",
            ".inf",
            "1.",
            "12:30:45",
        ] {
            assert_eq!(text(&format!("a: {written}"), &["a"]), written);
            assert_eq!(text(&format!("a: [x, {written}]"), &["a", "1"]), written);
            assert_eq!(text(&format!("a: &b {written}\nc: *b"), &["c"]), written);
        }
        assert_eq!(text("a: '~'", &["a"]), "~");
        assert_eq!(text("a: \"null\"", &["a"]), "null");
        assert_eq!(text("a: !!str null", &["a"]), "null");
        assert_eq!(text("1: a", &["1"]), "a");
        for unset in ["a:", "a: ~", "a: null"] {
            assert_eq!(parse(unset).unwrap()["a"].kind, ValueKind::Nil, "{unset}");
        }
    }

    #[test]
    fn merged_keys_give_way_to_a_mappings_own_and_to_earlier_ones() {
        let yaml = "base: &base {a: 1, b: 2, c: 3}\nmore: &more {b: 20, d: 4}\nall:\n  a: 100\n  <<: [*more, *base]\n  e: 5\none: {<<: *base}";
        for (key, value) in [("a", "100"), ("b", "20"), ("c", "3"), ("d", "4"), ("e", "5")] {
            assert_eq!(text(yaml, &["all", key]), value, "{key}");
        }
        assert_eq!(text(yaml, &["one", "c"]), "3");
        assert_eq!(text("'<<': 1", &["<<"]), "1");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (yaml, problem) in [
            (
                "a: 1\na: 2",
                "\"a\": duplicated key in mapping at byte 5 line 2 column 1",
            ),
            ("<<: 5", "<<: merges a mapping"),
            ("<<: {a: 1}\n<<: {b: 1}", "duplicated key"),
            ("- a", "is a mapping of settings"),
            ("a: 1\n---\nb: 2", "more than one document"),
            ("[a]: 1", "a key is a text"),
            ("a: *b", "unknown anchor"),
            ("a: &b [*b]", "inside its own anchor"),
            ("a: [1", "line "),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(problem), "{yaml}: {error}");
        }
    }
}
