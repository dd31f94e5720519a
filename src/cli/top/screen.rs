//! Lines as the text that a terminal gets.

use std::io::{self, IsTerminal};

use crate::cli::top::line::{Line, Style};

/// Whether parts of a line are told apart by colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    On,
    Off,
}

impl Colours {
    /// As standard output takes them, and as whoever reads it wants them (<https://no-color.org>).
    pub fn of_output() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match io::stdout().is_terminal() && !is_unwanted {
            true => Colours::On,
            false => Colours::Off,
        }
    }
}

/// The lines, each with its end; none is longer than `columns`.
pub fn text(lines: &[Line], columns: Option<usize>, colours: Colours) -> String {
    let mut text = String::new();
    for line in lines {
        let mut left = columns.unwrap_or(usize::MAX);
        for part in &line.0 {
            let fits: String = part.text.chars().take(left).collect();
            left -= fits.chars().count();
            match (colours, code(part.style)) {
                (Colours::On, Some(code)) => text.push_str(&format!("\x1b[{code}m{fits}\x1b[0m")),
                _ => text.push_str(&fits),
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// Of "Select Graphic Rendition" (ECMA-48, 8.3.117): the sixteen colours that whoever uses a terminal has chosen for it.
fn code(style: Style) -> Option<u8> {
    match style {
        Style::Plain => None,
        Style::Strong => Some(1),
        Style::Weak => Some(2),
        Style::Good => Some(32),
        Style::Warn => Some(33),
        Style::Bad => Some(31),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_edge_and_coloured_where_that_is_wanted() {
        let line = Line::default().then(Style::Bad, "bäd").then(Style::Plain, " rest  ");
        let lines = [line];
        assert_eq!(text(&lines, None, Colours::Off), "bäd rest\n");
        assert_eq!(text(&lines, Some(5), Colours::Off), "bäd r\n");
        assert_eq!(text(&lines, Some(2), Colours::On), "\x1b[31mbä\x1b[0m\n");
    }
}
