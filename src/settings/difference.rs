//! What differs between two configurations: by what is written, with references followed, so that a secret counts that
//! stands in a file. `30` and `30s` differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::settings::keys::top;

/// The value of each setting, by its path. Holds secrets, and is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<String, String>);

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({})", self.0.len())
    }
}

impl Values {
    pub fn set(&mut self, path: String, value: &str) {
        self.0.insert(path, value.to_owned());
    }

    /// The value at a path.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Has the settings of these names be as they are in `other`.
    pub fn keep(&mut self, names: &[String], other: &Values) {
        let is_kept = |path: &str| names.contains(&name(path));
        self.0.retain(|path, _| !is_kept(path));
        let kept = other.0.iter().filter(|(path, _)| is_kept(path));
        self.0.extend(kept.map(|(path, value)| (path.clone(), value.clone())));
    }

    /// The names of the settings that differ. What belongs to an item of a list counts for the list.
    pub fn differing(&self, other: &Values) -> BTreeSet<String> {
        let paths = self.0.keys().chain(other.0.keys());
        let differ = paths.filter(|path| self.0.get(*path) != other.0.get(*path));
        differ.map(|path| name(path)).collect()
    }
}

fn name(path: &str) -> String {
    let properties = format!("{}.", top::PROPERTIES.name);
    match path.split_once('[') {
        Some((list, _)) if !path.starts_with(&properties) => list.to_owned(),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        let mut values = Values::default();
        pairs
            .iter()
            .for_each(|(path, value)| values.set((*path).to_owned(), value));
        values
    }

    #[test]
    fn what_differs_is_told_by_name() {
        let old = values(&[
            ("port", "1"),
            ("topics[0].name", "a"),
            ("topics[1].timeout", "1"),
            ("kafka.properties.sasl.password", "old"),
            ("same", "x"),
        ]);
        let new = values(&[
            ("port", "2"),
            ("topics[0].name", "a"),
            ("topics[0].set_headers.x", "b"),
            ("kafka.properties.sasl.password", "new"),
            ("sealing.keys[0].secret", "s"),
            ("same", "x"),
        ]);
        let expected = ["kafka.properties.sasl.password", "port", "sealing.keys", "topics"];
        assert_eq!(Vec::from_iter(new.differing(&old)), expected);
        assert!(old.differing(&old).is_empty());
        let mut kept = new.clone();
        kept.keep(&["topics".into(), "sealing.keys".into()], &old);
        let expected = ["kafka.properties.sasl.password", "port"];
        assert_eq!(Vec::from_iter(kept.differing(&old)), expected);
        assert_eq!(format!("{old:?}"), "Values(5)");
    }
}
