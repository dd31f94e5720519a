//! What `config/reference.yaml` says of each key.

use super::reference::uncommented;
use super::*;

/// One key, as the reference documents it.
pub struct Documented {
    /// The heading of its part: `Proxy`.
    pub part: String,
    /// `topics`, `routes` or `sealing.keys`, if it belongs to an item of that list.
    pub list: Option<String>,
    /// As in `keys`.
    pub name: String,
    /// In Markdown, without the lines that follow.
    pub text: String,
    /// What its line `Default:` says, if it has one.
    pub default: Option<String>,
    /// The value that stands there, as YAML.
    pub value: String,
}

/// Every key of the reference, in its order.
pub fn documented() -> Vec<Documented> {
    let mut found: Vec<Documented> = Vec::new();
    let mut part = String::new();
    // The keys that enclose the line at hand, each with its indentation.
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<String> = Vec::new();
    for line in uncommented().lines() {
        let text = line.trim();
        if let Some(title) = line.strip_prefix("# ---") {
            part = capitalised(title.trim_start_matches('-').trim());
        } else if let Some(sentence) = text.strip_prefix("# ") {
            comment.push(sentence.to_owned());
        } else if let Some((indent, name, value)) = key_of(line) {
            path.retain(|(outer, _)| *outer < indent);
            let mut names: Vec<String> = path.iter().map(|(_, name)| name.clone()).collect();
            path.push((indent, name.to_owned()));
            let list = match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [list @ ("topics" | "routes"), ..] => Some((list.to_owned(), 1)),
                ["sealing", "keys"] => Some(("sealing.keys".to_owned(), 2)),
                _ => None,
            };
            let list = list.map(|(list, parts)| {
                names.drain(..parts);
                list
            });
            names.push(name.to_owned());
            let said = |prefix: &str| {
                comment
                    .iter()
                    .find_map(|line| line.strip_prefix(prefix))
                    .map(str::to_owned)
            };
            let sentences = comment
                .iter()
                .filter(|line| !line.starts_with("Default: ") && !line.starts_with("Environment: "));
            found.push(Documented {
                part: part.clone(),
                list,
                name: names.join("."),
                text: sentences.cloned().collect::<Vec<_>>().join(" "),
                default: said("Default: "),
                value: value.to_owned(),
            });
            comment.clear();
        } else if let (Some(item), Some(last)) = (text.strip_prefix("- "), found.last_mut()) {
            // A list below its key becomes one line.
            last.value = match last.value.strip_suffix(']') {
                Some(before) => format!("{before}, {item}]"),
                None => format!("[{item}]"),
            };
        } else {
            comment.clear();
        }
    }
    // What only holds other keys, as `retry` does.
    let sections: Vec<bool> = found
        .iter()
        .map(|entry| {
            found
                .iter()
                .any(|other| other.list == entry.list && other.name.starts_with(&format!("{}.", entry.name)))
        })
        .collect();
    let mut is_section = sections.into_iter();
    found.retain(|_| !is_section.next().unwrap_or_default());
    found
}

/// Indentation, name and value of a line that sets a key.
fn key_of(line: &str) -> Option<(usize, &str, &str)> {
    let inner = line.trim_start().trim_start_matches("- ");
    let (name, value) = inner.split_once(':')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    is_name.then(|| (line.len() - inner.len(), name, value.trim()))
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

#[test]
fn every_key_is_documented_in_the_order_of_the_keys() {
    let all = documented();
    for (list, known) in [
        (None, keys::top::ALL),
        (Some("topics"), keys::topic::ALL),
        (Some("routes"), keys::route::ALL),
        (Some("sealing.keys"), keys::sealing_key::ALL),
    ] {
        let here = all.iter().filter(|entry| entry.list.as_deref() == list);
        let names: Vec<&str> = here.clone().map(|entry| &*entry.name).collect();
        let wanted: Vec<&str> = known.iter().map(|key| key.name).collect();
        let (mut sorted, mut wanted_sorted) = (names.clone(), wanted.clone());
        sorted.sort_unstable();
        wanted_sorted.sort_unstable();
        assert_eq!(sorted, wanted_sorted, "{list:?}");
        for entry in here {
            assert!(entry.text.ends_with('.'), "{}: {:?}", entry.name, entry.text);
        }
    }
}
