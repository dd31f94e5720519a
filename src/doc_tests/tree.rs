//! The page about architecture names what is there.

use regex_lite::Regex;

use super::files::{page, root, sources};
use super::markdown::code_spans;

#[test]
fn the_folders_of_the_page_are_there_and_none_is_missing() {
    let page = page("docs/architecture.md");
    let mut named: Vec<String> = Vec::new();
    for path in code_spans(&page.text)
        .into_iter()
        .filter(|span| span.starts_with("src/"))
    {
        assert!(root().join(path).exists(), "{path}");
        named.push(path.to_owned());
    }
    for entry in std::fs::read_dir(root().join("src")).unwrap() {
        let name = format!("src/{}", entry.unwrap().file_name().to_str().unwrap());
        let of_tests = ["src/lib.rs", "src/doc_tests"].contains(&&*name);
        assert!(
            of_tests || named.contains(&name),
            "{name} is not in the table of folders"
        );
    }
}

#[test]
fn the_folders_stand_in_the_order_of_imports() {
    let order = |text: &str, pattern: &str| -> Vec<String> {
        let pattern = Regex::new(pattern).unwrap();
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    let library = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let wanted = order(&library, r"(?m)^//! - \[`([a-z]+)`\]");
    let shown = order(
        &page("docs/architecture.md").text,
        r"(?m)^\| `src/([a-z]+)(?:\.rs)?` \|",
    );
    assert!(wanted.len() > 10, "{wanted:?}");
    assert_eq!(shown[1..], wanted, "main is the first");
}

#[test]
fn the_names_of_the_page_are_those_of_the_code() {
    let page = page("docs/architecture.md");
    let code = sources().join("\n");
    let mut count = 0;
    for name in code_spans(&page.text) {
        let is_type = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
        let is_thread = name.starts_with("khp-") || name == "pump-…";
        if is_type {
            let item = Regex::new(&format!(r"\b(?:struct|enum|trait) {name}\b")).unwrap();
            assert!(item.is_match(&code), "{name}");
            count += 1;
        }
        if is_thread {
            assert!(code.contains(&format!("\"{}", name.trim_end_matches('…'))), "{name}");
        }
    }
    assert!(count > 8, "{count}");
}
