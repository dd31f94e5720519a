//! Which topic names are legal, which are internal, and patterns of names.

use globset::{Glob, GlobSet, GlobSetBuilder};

/// Whether Kafka accepts the name for a topic. Static group members follow the same rule.
pub fn is_legal(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Whether it is one of Kafka's own topics (`__consumer_offsets`, …), which no client may name.
pub fn is_internal(name: &str) -> bool {
    name.starts_with("__")
}

/// Whether applications keep it to themselves: internal topics, those of Confluent's and Kafka Streams' (`_schemas`, …) and of Kafka
/// Connect (`connect-configs`, …).
pub fn is_private(name: &str) -> bool {
    name.starts_with('_') || name.starts_with("connect-")
}

/// Globs as one matcher. A glob that does not compile matches nothing; the settings have refused such globs before.
pub fn globs(patterns: &[String]) -> GlobSet {
    let mut builder = GlobSetBuilder::new();
    patterns
        .iter()
        .filter_map(|pattern| Glob::new(pattern).ok())
        .for_each(|glob| {
            builder.add(glob);
        });
    builder.build().unwrap_or_else(|_| GlobSet::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_are_kafkas() {
        for name in ["a", "orders-requests", "a.b_c-1", &"x".repeat(249)] {
            assert!(is_legal(name), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(!is_legal(name), "{name}");
        }
    }
}
