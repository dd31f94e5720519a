//! The tables of `docs/settings.md`, made of the reference and of what the program takes.

use std::fmt::Write as _;

use super::allowed::{Allowed, allowed};
use super::documented::{Documented, documented};
use super::*;
use crate::settings::keys::Reload;
use regex_lite::Regex;

use crate::doc_tests::files::{assert_generated, page, pages};
use crate::doc_tests::markdown::code_spans;

const PAGE: &str = "docs/settings.md";
const BEGIN: &str = "<!-- Generated from config/reference.yaml; KHP_BLESS=1 cargo test --release --lib generated -->";

#[test]
fn the_tables_of_the_page_are_as_generated() {
    let before = page(PAGE).text;
    let (written, _) = before
        .split_once(BEGIN)
        .expect("the page has a line where the tables begin");
    assert_generated(PAGE, &format!("{written}{BEGIN}\n{}", tables()));
}

/// One table for each part, and for an item of each list.
fn tables() -> String {
    let mut parts: Vec<(String, String)> = Vec::new();
    for entry in documented() {
        let title = match entry.list.as_deref() {
            Some("routes") => "A route",
            Some("sealing.keys") => "A sealing key",
            Some(_) => "A topic",
            None => &entry.part,
        };
        let row = row(&entry);
        match parts.iter_mut().find(|(known, _)| known == title) {
            Some((_, rows)) => rows.push_str(&row),
            None => parts.push((title.to_owned(), row)),
        }
    }
    let head = "| Key | Value | Default | Reload | What it does |\n|---|---|---|---|---|";
    let part = |(title, rows): (String, String)| format!("\n## {title}\n\n{head}\n{rows}");
    parts.into_iter().map(part).collect()
}

fn row(entry: &Documented) -> String {
    let (value, default) = (value(entry), default(entry));
    let mut what = entry.text.clone();
    let keys = keys::top::ALL.iter().filter(|_| entry.list.is_none());
    if let Some(name) = keys.filter(|key| key.name == entry.name).find_map(|key| key.env) {
        write!(what, " Environment: `{name}`.").unwrap();
    }
    let cells = [format!("`{}`", entry.name), value, default, reload(entry).into(), what];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// Whether a reload applies it. What holds of a list holds of its items, unless their own keys are refused.
fn reload(entry: &Documented) -> &'static str {
    let name = entry.list.as_deref().unwrap_or(&entry.name);
    let key = keys::top::ALL.iter().find(|key| key.name == name);
    let of_routes = keys::route::ALL.iter().filter(|_| name == keys::top::ROUTES.name);
    let refused = of_routes.filter(|key| key.name == entry.name && key.reload == Reload::Refused);
    match refused.chain(key).next().expect("a key of the program").reload {
        Reload::Applied => "yes",
        Reload::Restart => "no",
        Reload::Refused => "no: refused",
    }
}

/// What the key takes, in a few words.
fn value(entry: &Documented) -> String {
    let list = entry.list.as_deref();
    match (list, &*entry.name) {
        (None, "kafka.properties") | (Some("topics"), "set_headers") => "a mapping".into(),
        (None, "topics") => "a list of [topics](#a-topic)".into(),
        (None, "routes") => "a list of [routes](#a-route)".into(),
        (None, "sealing.keys") => "a list of [keys](#a-sealing-key)".into(),
        (_, name) => {
            let Allowed { words, is_list } = allowed(list, name);
            // What follows explains it, and `check` says it all.
            let explained = [" (", " such as", " of one line", " with ", " that "];
            let ends = explained.iter().filter_map(|begin| words.find(begin)).min();
            let words = words[..ends.unwrap_or(words.len())].trim_end_matches(',');
            if is_list {
                format!("a list; each is {words}")
            } else {
                words.to_owned()
            }
        }
    }
}

fn default(entry: &Documented) -> String {
    match (&entry.default, &*entry.value) {
        (Some(words), _) => words.clone(),
        (None, "{}") => "none".into(),
        (None, value) => format!("`{value}`"),
    }
}

#[test]
fn every_prefixed_variable_in_the_documents_is_a_key() {
    let variable = Regex::new("KHP__[A-Z_]*[A-Z]").unwrap();
    let mut count = 0;
    for page in pages() {
        for name in variable.find_iter(&page.text).map(|found| found.as_str()) {
            let faults = faults(Mode::All, ONE_TOPIC, &[(name, "60")]);
            assert!(
                !faults.iter().any(|fault| fault.contains("unknown key")),
                "{}: {faults:?}",
                page.name
            );
            count += 1;
        }
    }
    assert!(count > 3, "{count}");
}

#[test]
fn the_variables_of_the_predecessor_are_known() {
    let page = page("docs/migrating.md");
    let line = page.section("What stays").join(" ");
    let (_, rest) = line.split_once("- The environment: ").unwrap();
    let (names, _) = rest.split_once("- ").unwrap();
    for name in code_spans(names) {
        let is_other = ["MODE", "CONFIG_PATH", "CONFIG_SOURCE", "CONSUMER_GROUP_{NAME}"].contains(&name);
        assert!(
            is_other || keys::top::ALL.iter().any(|key| key.env == Some(name)),
            "{name}"
        );
    }
}
