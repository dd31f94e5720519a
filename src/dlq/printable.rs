//! Foreign bytes, made safe to print: nothing in a letter may move a terminal's cursor or end a table's row.

use std::fmt::Write as _;

/// One line: control characters are escaped.
pub fn line(text: &str) -> String {
    escaped(text, &[])
}

/// Several lines: line ends and tabs stay.
pub fn lines(text: &str) -> String {
    escaped(text, &['\n', '\t'])
}

/// Text as it is, anything else as hexadecimal digits.
pub fn value(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => line(text),
        _ => format!("0x{}", hex(bytes)),
    }
}

/// Two digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn escaped(text: &str, kept: &[char]) -> String {
    // Direction marks make one text look like another.
    let is_safe = |c: char| {
        kept.contains(&c)
            || !(c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c))
    };
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        match is_safe(c) {
            true => safe.push(c),
            false => safe.extend(c.escape_default()),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(line("a\u{1b}[2Jb\nc\u{202e}ä"), "a\\u{1b}[2Jb\\nc\\u{202e}ä");
        assert_eq!(lines("a\n\tb\r"), "a\n\tb\\r");
        assert_eq!(value(b"text"), "text");
        assert_eq!(value(b"\x00\xff"), "0x00ff");
        assert_eq!(value(b"a\nb"), "0x610a62");
    }
}
