//! The parts of a page.

use std::collections::HashSet;

use regex_lite::Regex;

use super::files::Page;

/// A fenced block.
pub struct Fence {
    /// `sh`, `yaml`, …
    pub language: String,
    /// Of its first line, from 1.
    pub line: usize,
    pub text: String,
}

impl Page {
    /// The lines outside fences, each with its number.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut fenced = false;
        let mut lines = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                lines.push((index + 1, line));
            }
        }
        assert!(!fenced, "{}: a fence is open at the end", self.name);
        lines
    }

    /// The fenced blocks.
    pub fn fences(&self) -> Vec<Fence> {
        let mut fences: Vec<Fence> = Vec::new();
        let mut fenced = false;
        for (index, line) in self.text.lines().enumerate() {
            match (line.strip_prefix("```"), fenced) {
                (Some(language), false) => fences.push(Fence {
                    language: language.to_owned(),
                    line: index + 2,
                    text: String::new(),
                }),
                (None, true) => {
                    let text = &mut fences.last_mut().unwrap().text;
                    text.push_str(line);
                    text.push('\n');
                }
                _ => {}
            }
            fenced ^= line.starts_with("```");
        }
        fences
    }

    /// What a link can name behind `#`, as GitHub makes it of each heading.
    pub fn anchors(&self) -> HashSet<String> {
        let headings = self.prose().into_iter().filter(|(_, line)| line.starts_with('#'));
        headings
            .map(|(_, line)| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect()
    }

    /// The targets of all links, each with its line.
    pub fn links(&self) -> Vec<(usize, String)> {
        let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
        let lines = self.prose().into_iter();
        lines
            .flat_map(|(number, line)| {
                let targets = link.captures_iter(line).map(|found| found[1].to_owned());
                targets.map(move |target| (number, target)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The lines below the heading `title`, up to the next one of its rank or above.
    pub fn section(&self, title: &str) -> Vec<&str> {
        let rank = |line: &str| line.len() - line.trim_start_matches('#').len();
        let mut lines = self.prose().into_iter().map(|(_, line)| line);
        let heading = lines.find(|line| line.starts_with('#') && line.trim_start_matches('#').trim() == title);
        let heading = rank(heading.unwrap_or_else(|| panic!("{}: no heading {title}", self.name)));
        lines
            .take_while(|line| !line.starts_with('#') || rank(line) > heading)
            .collect()
    }

    /// The rows of the tables below a heading, without their heads; each cell trimmed.
    pub fn rows(&self, title: &str) -> Vec<Vec<String>> {
        let lines = self.section(title);
        let is_row = |line: &str| line.starts_with('|');
        let is_rule = |line: &str| line.starts_with("|---");
        let pairs = lines.iter().zip(lines.iter().skip(1).chain([&""]));
        let body = pairs.filter(|(line, next)| is_row(line) && !is_rule(line) && !is_rule(next));
        let cells = |line: &str| {
            let inner = line.trim_start_matches('|').trim_end_matches('|');
            inner.split('|').map(|cell| cell.trim().to_owned()).collect()
        };
        let rows: Vec<Vec<String>> = body.map(|(line, _)| cells(line)).collect();
        assert!(!rows.is_empty(), "{}: no table below {title}", self.name);
        rows
    }
}

/// The code spans of a text: `a` and `b` of "`a` or `b`".
pub fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn a_page_is_taken_apart() {
    let text = "# One two\n\nSee [x](y.md#z), [w](v).\n\n| A | B |\n|---|---|\n| `a` | b c |\n\n## Three: `four`?\n\n\
                ```sh\n# no heading\nls\n```\n";
    let page = Page {
        name: "test".into(),
        text: text.into(),
    };
    assert_eq!(page.anchors(), ["one-two", "three-four"].map(str::to_owned).into());
    assert_eq!(page.links(), [(3, "y.md#z".to_owned()), (3, "v".to_owned())]);
    assert_eq!(page.rows("One two"), [["`a`", "b c"]]);
    let fences = page.fences();
    assert_eq!(
        (&*fences[0].language, fences[0].line, &*fences[0].text),
        ("sh", 12, "# no heading\nls\n")
    );
    assert_eq!(code_spans("`a` or `b c`"), ["a", "b c"]);
}
