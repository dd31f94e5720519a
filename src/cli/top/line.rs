//! A line, and how its parts look.

use crate::dlq::printable;

/// How a part of a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Strong,
    Weak,
    Good,
    Warn,
    Bad,
}

/// A part of a line.
#[derive(Debug, Clone)]
pub struct Part {
    pub style: Style,
    pub text: String,
}

/// One line, in parts.
#[derive(Debug, Clone, Default)]
pub struct Line(pub Vec<Part>);

impl Line {
    /// The line with another part. What a process tells may hold anything, so nothing of it moves a cursor.
    pub fn then(mut self, style: Style, text: impl AsRef<str>) -> Self {
        let text = printable::line(text.as_ref());
        self.0.push(Part { style, text });
        self
    }
}

/// A line of one part that looks as any text.
pub fn plain(text: impl AsRef<str>) -> Line {
    Line::default().then(Style::Plain, text)
}
