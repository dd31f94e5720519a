//! The documents and the sources of this project.

use std::path::{Path, PathBuf};

/// Set to 1, tests write generated files again instead of comparing them.
const BLESS: &str = "KHP_BLESS";

/// A document.
pub struct Page {
    /// From the project's root: `docs/routes.md`.
    pub name: String,
    pub text: String,
}

/// The project's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One document.
pub fn page(name: &str) -> Page {
    let text = std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Page {
        name: name.to_owned(),
        text,
    }
}

/// Every document that people read: those beside the README, and all of `docs` and `examples`.
pub fn pages() -> Vec<Page> {
    let beside = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = beside.filter(|path| path.is_file()).collect();
    for folder in ["docs", "examples"] {
        found.extend(files_under(&root().join(folder)));
    }
    let mut names: Vec<String> = found
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert!(names.len() > 15, "{names:?}");
    names.iter().map(|name| page(name)).collect()
}

/// The code that is not compiled for tests only, file by file.
pub fn sources() -> Vec<String> {
    let is_code = |path: &PathBuf| {
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap();
        path.ends_with(".rs") && !path.contains("tests") && !path.contains("golden")
    };
    let files = files_under(&root().join("src")).into_iter().filter(is_code);
    let before_tests = |text: String| match text.find("#[cfg(test)]\nmod tests {") {
        Some(at) => text[..at].to_owned(),
        None => text,
    };
    files
        .map(|file| before_tests(std::fs::read_to_string(file).unwrap()))
        .collect()
}

/// Asserts that a generated file is as it would be generated now. With `KHP_BLESS=1` it is written instead.
pub fn assert_generated(name: &str, wanted: &str) {
    let path = root().join(name);
    if std::env::var(BLESS).is_ok_and(|value| value == "1") {
        return std::fs::write(&path, wanted).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = there
        .lines()
        .zip(wanted.lines())
        .position(|(there, wanted)| there != wanted);
    let line = differs.unwrap_or(there.lines().count().min(wanted.lines().count())) + 1;
    assert!(
        there == wanted,
        "{name} is stale from line {line} on; write it again: {BLESS}=1 cargo test --release --lib generated"
    );
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            // What Maven builds.
            true if path.file_name().is_some_and(|name| name == "target") => {}
            true => files.extend(files_under(&path)),
            false => files.push(path),
        }
    }
    files
}
