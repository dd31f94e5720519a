//! Fenced commands parse, and fenced configurations load.

use std::os::unix::fs::PermissionsExt;

use regex_lite::Regex;

use super::files::{pages, root};
use super::markdown::Fence;
use crate::cli;
use crate::process::tls::test_files::TestFiles;
use crate::settings::{self, Mode};

/// Commands of other programs, which are not looked into.
const OTHERS: [&str; 13] = [
    "apt",
    "cargo",
    "curl",
    "docker",
    "export",
    "helm",
    "java",
    "kafka-acls",
    "mvn",
    "openssl",
    "python3",
    "systemctl",
    "KHP_BLESS=1",
];

/// Every fence of this language, with where it stands.
fn fences(language: &str) -> Vec<(String, Fence)> {
    let all = pages().into_iter().flat_map(|page| {
        let name = page.name.clone();
        let fences = page.fences().into_iter();
        fences
            .map(move |fence| (format!("{name}:{}", fence.line), fence))
            .collect::<Vec<_>>()
    });
    let fences: Vec<_> = all.filter(|(_, fence)| fence.language == language).collect();
    assert!(fences.len() > 3, "{language}");
    fences
}

/// The words of a shell command: quotes are taken off, and what follows ` #` is left out.
fn words(command: &str) -> Vec<String> {
    let word = Regex::new(r#"'([^']*)'|"([^"]*)"|([^\s'"]+)"#).unwrap();
    let all = word.captures_iter(command).map(|found| {
        let parts = (1..=3).filter_map(|index| found.get(index));
        (
            found.get(0).unwrap().start(),
            parts.map(|part| part.as_str()).collect::<String>(),
        )
    });
    let mut words: Vec<String> = Vec::new();
    let mut end = None;
    for (start, text) in all {
        if text.starts_with('#') {
            break;
        }
        match (end == Some(start), words.last_mut()) {
            // `a'b c'` is one word.
            (true, Some(last)) => last.push_str(&text),
            _ => words.push(text.clone()),
        }
        let quotes = if command[start..].starts_with(['\'', '"']) {
            2
        } else {
            0
        };
        end = Some(start + text.len() + quotes);
    }
    words
}

/// The commands of shell fences, each with where it stands. A line that ends with a backslash goes on.
fn commands() -> Vec<(String, Vec<String>)> {
    let commands = fences("sh").into_iter().flat_map(|(place, fence)| {
        let lines = fence.text.replace("\\\n", " ");
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        lines.into_iter().map(move |line| (place.clone(), words(&line)))
    });
    commands.filter(|(_, words)| !words.is_empty()).collect()
}

#[test]
fn words_are_split_as_a_shell_does() {
    assert_eq!(words("a  'b c' d=\"e f\" # g"), ["a", "b c", "d=e f"]);
}

#[test]
fn every_command_of_ours_parses() {
    let mut count = 0;
    for (place, words) in commands() {
        if words[0] == "actix-khp" {
            cli::parses(&words).unwrap_or_else(|error| panic!("{place}: {}\n{error}", words.join(" ")));
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn every_other_command_is_known() {
    for (place, words) in commands() {
        let program = &*words[0];
        if program == "actix-khp" || OTHERS.contains(&program) {
            continue;
        }
        let script = root().join(program);
        let metadata = script
            .metadata()
            .unwrap_or_else(|error| panic!("{place}: {program}: {error}"));
        assert!(
            metadata.permissions().mode() & 0o111 != 0,
            "{place}: {program} cannot be run"
        );
    }
}

#[test]
fn every_configuration_loads() {
    let reference = Regex::new(r"\$\{file:[^}]+\}").unwrap();
    // In the place of files of the reader.
    let files = TestFiles::create();
    for (place, fence) in fences("yaml") {
        // A secret of the reader's.
        let text = reference.replace_all(&fence.text, "a-secret-of-the-reader-that-is-long-enough");
        let text = text
            .replace("/etc/khp/tls.key", files.key.to_str().unwrap())
            .replace("/etc/khp/tls.crt", files.cert.to_str().unwrap())
            .replace("/etc/khp/client-ca.crt", files.cert.to_str().unwrap());
        let file = std::env::temp_dir().join(format!("khp-docs-{}.yaml", place.replace(['/', ':'], "-")));
        std::fs::write(&file, &*text).unwrap();
        let mode = match text.lines().any(|line| line.starts_with("topics:")) {
            true => Mode::Processor,
            false => Mode::Proxy,
        };
        let loaded = settings::load(mode, std::slice::from_ref(&file), &Default::default());
        std::fs::remove_file(&file).unwrap();
        let loaded = loaded.unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(loaded.warnings.is_empty(), "{place}: {:?}", loaded.warnings);
    }
}
