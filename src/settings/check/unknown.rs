//! A key that is no setting is a mistake, and most are misspelt: each is reported with the nearest key there is.

use std::cmp::Reverse;

use config::ValueKind;
use strsim::damerau_levenshtein;

use crate::settings::fault::Report;
use crate::settings::keys::{self, Key};
use crate::settings::sources::layer::{self, Table};

/// Reports every key of the merged tree that is not a setting, and every section that is not a mapping.
pub fn check(tree: &Table, report: &mut Report) {
    check_table(tree, "", "", keys::top::ALL, report);
    for (list, known) in [
        (keys::top::ROUTES.name, keys::route::ALL),
        (keys::top::TOPICS.name, keys::topic::ALL),
        (keys::top::SEALING_KEYS.name, keys::sealing_key::ALL),
    ] {
        let Some(ValueKind::Array(items)) = layer::get(tree, list).map(|value| &value.kind) else {
            continue;
        };
        for (index, item) in items.iter().enumerate() {
            if let ValueKind::Table(table) = &item.kind {
                check_table(table, &keys::item(list, index), "", known, report);
            }
        }
    }
}

/// `place` is where the keys of `known` begin (empty, or `topics[0]`), `section` where `table` is below that.
fn check_table(table: &Table, place: &str, section: &str, known: &[Key], report: &mut Report) {
    let mut names: Vec<&String> = table.keys().collect();
    names.sort(); // the table's own order changes from run to run
    for name in names {
        let (name, value) = (keys::join(section, name), &table[name]);
        let path = keys::join(place, &name);
        if known.iter().any(|key| key.name == name) || is_extension(&name) {
            continue;
        }
        if !known.iter().any(|key| is_section(&name, key)) {
            report.fault(
                path,
                format!("unknown key (nearest: {})", nearest(&name, known)),
                value.origin(),
            );
        } else if let ValueKind::Table(inner) = &value.kind {
            check_table(inner, place, &name, known, report);
        } else {
            report.fault(path, "holds further keys, not a value", value.origin());
        }
    }
}

/// As in compose files, a key that begins with `x-` is the operator's own: a place for anchors and notes.
fn is_extension(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|last| last.starts_with("x-"))
}

fn is_section(name: &str, key: &Key) -> bool {
    key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
}

/// The key (or section) that `name` was probably meant to be: alike as a whole, or in its last part if only the section is missing.
fn nearest(name: &str, known: &[Key]) -> &'static str {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |candidate: &str| {
        let in_last_part = damerau_levenshtein(&last(name), &last(candidate)) + 1;
        damerau_levenshtein(name, candidate).min(in_last_part)
    };
    // Among equals, the one that begins alike.
    let begins_alike = |candidate: &str| {
        let alike = name.bytes().zip(candidate.bytes()).take_while(|(a, b)| a == b);
        Reverse(alike.count())
    };
    let sections = known.iter().filter_map(|key| Some(key.name.split_once('.')?.0));
    known
        .iter()
        .map(|key| key.name)
        .chain(sections)
        .min_by_key(|candidate| (distance(candidate), begins_alike(candidate)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key() {
        for (written, meant) in [
            ("prot", "port"),
            ("bootstrap_servers", "kafka.bootstrap_servers"),
            ("kafka.bootstrap_server", "kafka.bootstrap_servers"),
            ("kafak", "kafka"),
            ("max_body", "max_body_size"),
            ("default_timeuot", "default_timeout"),
            ("logs", "log"),
            ("topic", "topics"),
        ] {
            assert_eq!(nearest(written, keys::top::ALL), meant);
        }
        assert_eq!(nearest("timout", keys::topic::ALL), "timeout");
        assert_eq!(nearest("backend", keys::topic::ALL), "backend_url");
        assert_eq!(nearest("order", keys::topic::ALL), "ordering");
    }
}
