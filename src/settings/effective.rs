//! The effective settings, written in the order in which they are read: as YAML, which `actix-khp check` prints, and one by one, each with
//! where it came from, which the console shows. Beside them, the values that are used.

use serde::Serialize;

use crate::settings::difference::Values;

/// YAML under construction. Scalars and lists of scalars at the top level, in sections, in the items of lists and in their sections.
#[derive(Debug, Default)]
pub struct Yaml {
    text: String,
    entries: Vec<Entry>,
    /// What the last entry was in: empty, `kafka`, `topics[0]` or `topics[0].retry`.
    place: String,
    values: Values,
}

/// One effective setting, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its path, as in `topics[0].retry.on`.
    pub name: String,
    /// Its value as YAML; secrets are masked, references stand as they are written.
    pub value: String,
    /// The files or environment names it was written in; `None`: it is the default.
    pub source: Option<String>,
}

/// Every effective setting.
#[derive(Clone)]
pub struct Effective {
    /// All of them as YAML, which can be loaded again.
    pub yaml: String,
    /// The same one by one.
    pub entries: Vec<Entry>,
    /// The values that are used; secrets are among them.
    pub values: Values,
}

impl Yaml {
    /// Writes one key with its value, which `scalar`, `list` or `mapping` made. `source` is where it was written.
    pub fn entry(&mut self, place: &str, name: &str, value: &str, source: Option<String>) {
        let indent = self.enter(place);
        self.text.push_str(&format!("{indent}{name}: {value}\n"));
        let dot = if place.is_empty() { "" } else { "." };
        self.entries.push(Entry {
            name: format!("{place}{dot}{name}"),
            value: value.to_owned(),
            source,
        });
    }

    /// Notes what a setting is, its references followed.
    pub fn value(&mut self, path: String, resolved: &str) {
        self.values.set(path, resolved);
    }

    /// What was written.
    pub fn finish(self) -> Effective {
        Effective {
            yaml: self.text,
            entries: self.entries,
            values: self.values,
        }
    }

    fn enter(&mut self, place: &str) -> &'static str {
        let before = std::mem::replace(&mut self.place, place.to_owned());
        let (old, new) = (Place::of(&before), Place::of(place));
        if let Some((section, list)) = new.list.split_once('.') {
            return Self::enter_within(&mut self.text, section, list, (old, new));
        }
        if !new.list.is_empty() && new.list != old.list {
            self.text.push_str(&format!("{}:\n", new.list));
        }
        if !new.section.is_empty() && place != before {
            let indent = if new.item.is_empty() { "" } else { "    " };
            self.text.push_str(&format!("{indent}{}:\n", new.section));
        }
        match (new.item.is_empty(), new.section.is_empty()) {
            (true, true) => "",
            (true, false) => "  ",
            (false, true) if new.item != old.item => "  - ",
            (false, true) => "    ",
            // An item's own keys come before its sections.
            (false, false) => "      ",
        }
    }

    /// Enters an item of a list that is in a section, as `sealing.keys[0]`. Its items have no sections.
    fn enter_within(text: &mut String, section: &str, list: &str, (old, new): (Place<'_>, Place<'_>)) -> &'static str {
        if new.list != old.list {
            if old.section != section || !old.item.is_empty() {
                text.push_str(&format!("{section}:\n"));
            }
            text.push_str(&format!("  {list}:\n"));
        }
        match new.item != old.item {
            true => "    - ",
            false => "      ",
        }
    }
}

/// The parts of `topics[0].retry`: list, item and section, each empty where there is none.
struct Place<'a> {
    list: &'a str,
    item: &'a str,
    section: &'a str,
}

impl<'a> Place<'a> {
    fn of(place: &'a str) -> Self {
        let Some((item, section)) = place.split_once(']') else {
            return Place {
                list: "",
                item: "",
                section: place,
            };
        };
        Place {
            list: item.split('[').next().unwrap_or_default(),
            item,
            section: section.trim_start_matches('.'),
        }
    }
}

/// A scalar, quoted unless it reads back as the same text.
pub fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// A list of texts, in one line.
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    format!(
        "[{}]",
        items
            .into_iter()
            .map(|item| scalar(&item))
            .collect::<Vec<_>>()
            .join(", ")
    )
}

/// A mapping of texts, in one line.
pub fn mapping(entries: impl IntoIterator<Item = (String, String)>) -> String {
    let entries = entries
        .into_iter()
        .map(|(name, value)| format!("{}: {}", scalar(&name), scalar(&value)));
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

fn is_plain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(allowed)
        && !text.ends_with(':')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "null" | "yes" | "no" | "on" | "off" | "true" | "false"
        );
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
        || text
            .parse::<f64>()
            .is_ok_and(|number| number.is_finite() && number.to_string() == text);
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    is_word || is_number || is_address || matches!(text, "true" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_is_quoted() {
        for text in [
            "kafka:9092",
            "0.0.0.0",
            "http://a:80/b",
            "8080",
            "-1",
            "0.5",
            "true",
            "/health",
        ] {
            assert_eq!(scalar(text), text);
        }
        for text in [
            "",
            "*-requests",
            "007",
            "250ms",
            "1e5",
            "null",
            "No",
            "TRUE",
            "a b",
            "a: b",
            "a#b",
            "***",
            "-",
            "${env:A}",
            "a:",
        ] {
            assert_eq!(scalar(text), format!("\"{text}\""));
        }
        assert_eq!(scalar("a\"b\n"), r#""a\"b\n""#);
    }

    #[test]
    fn sections_and_items_are_indented() {
        let mut yaml = Yaml::default();
        yaml.entry("kafka", "a", "1", None);
        yaml.entry("kafka", "b", &mapping([("x.y".to_owned(), "z".to_owned())]), None);
        yaml.entry("", "port", "2", None);
        yaml.entry("topics[0]", "a", &list(["x".to_owned(), "*".to_owned()]), None);
        yaml.entry("topics[0]", "b", "4", None);
        yaml.entry("topics[1]", "a", "5", None);
        yaml.entry("log", "level", "info", None);
        let expected = "kafka:\n  a: 1\n  b: {x.y: z}\nport: 2\ntopics:\n  - a: [x, \"*\"]\n    b: 4\n  - a: 5\nlog:\n  level: info\n";
        let effective = yaml.finish();
        assert_eq!(effective.yaml, expected);
        let names: Vec<&str> = effective.entries.iter().map(|entry| &*entry.name).collect();
        assert_eq!(names[..3], ["kafka.a", "kafka.b", "port"]);
        assert_eq!(names[3..], ["topics[0].a", "topics[0].b", "topics[1].a", "log.level"]);
    }
}
