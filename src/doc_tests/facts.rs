//! Tables of facts that the code decides.

use std::collections::BTreeSet;

use regex_lite::Regex;

use super::files::{page, pages, sources};
use super::markdown::code_spans;
use crate::cli;
use crate::wire::headers;

fn found(pattern: &str, texts: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    let all = texts.into_iter().flat_map(|text| {
        let names = pattern.captures_iter(&text).map(|found| found[1].to_owned());
        names.collect::<Vec<_>>()
    });
    all.collect()
}

#[test]
fn the_metrics_page_names_every_metric_and_no_other() {
    let documented = found(r"(?m)^\| `([a-z_]+)` \|", [page("docs/metrics.md").text]);
    let mut registered = found(
        r#""(build_info|(?:proxy|processor|producer|actor|log|librdkafka|config|console|trace)_[a-z_]+)""#,
        sources(),
    );
    // Those of actix-web-prom, by the prefix that it is given.
    registered.extend(
        [
            "management_http_requests_total",
            "management_http_requests_duration_seconds",
        ]
        .map(str::to_owned),
    );
    assert!(registered.len() > 30, "{registered:?}");
    assert_eq!(documented, registered);
}

#[test]
fn metrics_named_on_other_pages_exist() {
    let metrics = found(r"(?m)^\| `([a-z_]+)` \|", [page("docs/metrics.md").text]);
    let texts = pages().into_iter().map(|page| page.text);
    let named = found(
        r"`((?:proxy|processor|actor|producer)_[a-z_]+(?:total|seconds|lag|up|state))`",
        texts,
    );
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        assert!(metrics.contains(&name), "{name}");
    }
}

/// The lines that the code logs, each with its level.
fn log_lines() -> Vec<(String, String)> {
    let call = Regex::new(r"\b(error|warn|info)!\(").unwrap();
    let mut lines = Vec::new();
    for source in sources() {
        for found in call.captures_iter(&source) {
            let arguments = &source[found.get(0).unwrap().end()..];
            lines.push((found[1].to_owned(), message(arguments)));
        }
    }
    assert!(lines.len() > 40, "{}", lines.len());
    lines
}

/// The last text among the arguments of a macro, which begin `rest`.
fn message(rest: &str) -> String {
    let (mut depth, mut text, mut last) = (1, None::<String>, String::new());
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        match (&mut text, character) {
            (Some(inside), '\\') => inside.extend(characters.next()),
            (Some(inside), '"') => {
                last = std::mem::take(inside);
                text = None;
            }
            (Some(inside), other) => inside.push(other),
            (None, '"') => text = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            break;
        }
    }
    last
}

/// The rows of a table of all pages about trouble.
fn troubleshooting(title: &str) -> Vec<Vec<String>> {
    let pages = [
        "docs/troubleshooting.md",
        "docs/troubleshooting-streams.md",
        "docs/idempotency.md",
        "docs/reload.md",
        "docs/tracing.md",
    ];
    let pages = pages.map(page).into_iter();
    let with_table = pages.filter(|page| page.text.contains(&format!("## {title}")));
    with_table.flat_map(|page| page.rows(title)).collect()
}

#[test]
fn the_log_lines_are_those_of_the_code() {
    let lines = log_lines();
    for row in troubleshooting("By log line") {
        let text = code_spans(&row[0])[0];
        let levels = lines
            .iter()
            .filter(|(_, line)| line.starts_with(text))
            .map(|(level, _)| level.clone());
        let levels: BTreeSet<String> = levels.collect();
        let documented: BTreeSet<String> = row[1].split(", ").map(str::to_owned).collect();
        assert_eq!(documented, levels, "{text}");
    }
}

#[test]
fn every_warning_and_error_in_the_log_is_explained() {
    let rows = troubleshooting("By log line");
    let explained: Vec<&str> = rows.iter().map(|row| code_spans(&row[0])[0]).collect();
    for (level, line) in log_lines() {
        let is_ours = level != "info" && line != "{message}" && line != "{warning}";
        assert!(
            !is_ours || explained.iter().any(|known| line.starts_with(known)),
            "{level} {line}"
        );
    }
}

#[test]
fn the_reasons_not_to_be_ready_are_those_of_the_code() {
    let sources = sources().join("\n");
    let quoted = Regex::new("^Ready says \"([^…\"]*)(?:… ([^\"]*))?\"").unwrap();
    let rows = troubleshooting("By symptom");
    let reasons = rows.iter().filter_map(|row| quoted.captures(&row[0]));
    let mut count = 0;
    for reason in reasons {
        for part in (1..=2).filter_map(|index| reason.get(index)) {
            assert!(sources.contains(part.as_str()), "{}", part.as_str());
        }
        count += 1;
    }
    assert_eq!(count, 9);
}

#[test]
fn the_versions_are_those_of_the_project() {
    let rust = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    assert!(page("README.md").text.contains(&rust), "{rust}");
    let tested = found(r"Apache Kafka ([0-9.]+[0-9])", [page("docs/operations.md").text]);
    let pom = page("integration/kafka-pom.xml").text;
    assert_eq!(tested, found(r"(?s)kafka_2.13.*?<version>([0-9.]+)</version>", [pom]));
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    let rows = page("docs/operations.md").rows("Running it");
    let documented: BTreeSet<u8> = rows.iter().filter_map(|row| row[0].parse().ok()).collect();
    let codes = found(
        r"(?m)^pub const [A-Z_]+: u8 = ([0-9]+);",
        [page("src/process/exit.rs").text],
    );
    let codes: BTreeSet<u8> = codes.iter().map(|code| code.parse().unwrap()).collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_wire_page_names_every_header_of_a_record() {
    let pages = [
        "docs/wire-format.md",
        "docs/wire-streams.md",
        "docs/wire-keys.md",
        "docs/dead-letters.md",
    ];
    let wire: String = pages.iter().map(|name| page(name).text).collect();
    for source in sources() {
        let constant = Regex::new(r#"pub const [A-Z_]+: &str = "((?:khp-|kafka_|:)[A-Za-z_-]+)";"#).unwrap();
        for name in constant.captures_iter(&source).map(|found| found[1].to_owned()) {
            let is_prefix = name == headers::DLT_PREFIX;
            assert!(is_prefix || wire.contains(&format!("`{name}`")), "{name}");
        }
    }
    for name in found(r"(?m)^\| `((?:khp-|kafka_)[^`]+)`", [wire]) {
        let quoted = format!("\"{name}\"");
        assert!(sources().iter().any(|source| source.contains(&quoted)), "{name}");
    }
}

#[test]
fn the_filters_and_flags_of_dead_letters_are_those_of_the_program() {
    let page = page("docs/dead-letters.md");
    let parses = |arguments: &str| {
        let words = format!("actix-khp dlq redrive {arguments}");
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        cli::parses(&words).unwrap_or_else(|error| panic!("{arguments}: {error}"));
    };
    for row in page.rows("Filters") {
        code_spans(&row[0])
            .into_iter()
            .for_each(|field| parses(&format!("--filter {field}=x")));
    }
    for row in page.rows("Sending them back") {
        let flag = code_spans(&row[0])[0].replace("FILTER", "id=x");
        parses(&flag.replace(" N", " 1"));
    }
}

#[test]
fn the_settings_page_names_every_variable_that_is_no_key() {
    let settings = page("docs/settings.md").text;
    let variables = found(r#""(MODE|RUST_LOG|CONFIG_[A-Z]+|CONSUMER_GROUP_)""#, sources());
    assert!(variables.len() > 3, "{variables:?}");
    for name in variables.iter().map(|name| &**name).chain(["RUST_LOG"]) {
        assert!(settings.contains(&format!("`{name}")), "{name}");
    }
}
