//! Limits and links of all pages.

use std::path::Path;

use super::files::{page, pages, root};

const README_LINES: usize = 120;
const README_WORDS: usize = 900;
/// Characters of a line that is no row of a table.
const WIDTH: usize = 120;
const PAGE_LINES: usize = 150;

#[test]
fn the_readme_is_a_front_door() {
    let text = page("README.md").text;
    assert!(text.lines().count() <= README_LINES, "{}", text.lines().count());
    assert!(
        text.split_whitespace().count() <= README_WORDS,
        "{}",
        text.split_whitespace().count()
    );
}

#[test]
fn a_page_is_short() {
    // Its tables have a row for each of all settings.
    let long = ["docs/settings.md"];
    for page in pages().iter().filter(|page| !long.contains(&&*page.name)) {
        let lines = page.text.lines().count();
        assert!(lines <= PAGE_LINES, "{}: {lines} lines", page.name);
    }
}

#[test]
fn lines_are_narrow() {
    for page in pages() {
        for (index, line) in page.text.lines().enumerate() {
            let fits = line.starts_with('|') || line.chars().count() <= WIDTH;
            assert!(fits, "{}:{}: over {WIDTH} characters", page.name, index + 1);
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    for page in &pages {
        for (line, target) in page.links() {
            let place = format!("{}:{line}: {target}", page.name);
            if target.contains("://") {
                assert!(target.starts_with("https://"), "{place} is not https");
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = Path::new(&page.name).parent().unwrap();
            let path = match file {
                "" => root().join(&page.name),
                file => root().join(folder).join(file),
            };
            let path = path.canonicalize().unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(
                path.starts_with(root().canonicalize().unwrap()),
                "{place} leaves the project"
            );
            if !anchor.is_empty() {
                let linked = pages
                    .iter()
                    .find(|page| root().join(&page.name).canonicalize().unwrap() == path);
                let linked = linked.unwrap_or_else(|| panic!("{place} is no page"));
                assert!(linked.anchors().contains(anchor), "{place}: no such heading");
            }
        }
    }
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let links = |name: &str| {
        page(name)
            .links()
            .into_iter()
            .map(|(_, target)| target)
            .collect::<Vec<_>>()
    };
    let (readme, examples) = (links("README.md"), links("examples/README.md"));
    for page in pages() {
        let linked = match page.name.split_once('/') {
            Some(("docs", _)) => readme.contains(&page.name),
            Some(("examples", rest)) => rest == "README.md" || examples.contains(&rest.replace("/README.md", "")),
            _ => true,
        };
        assert!(linked, "{}", page.name);
    }
}
