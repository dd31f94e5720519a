//! Foreign bytes, made safe to print: nothing in a letter may move a terminal's cursor or end a table's row.

use std::ops::RangeInclusive;

use crate::wire::hex::hex;

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

/// Unicode's categories Cf, Zl and Zp (16.0): invisible, they change the direction of a text or end its line, and make one text look like
/// another.
const INVISIBLE: [RangeInclusive<char>; 20] = [
    '\u{ad}'..='\u{ad}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{180e}'..='\u{180e}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{2064}',
    '\u{2066}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{fff9}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0001}'..='\u{e007f}',
];

fn escaped(text: &str, kept: &[char]) -> String {
    let is_safe = |c: char| kept.contains(&c) || !(c.is_control() || INVISIBLE.iter().any(|range| range.contains(&c)));
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
        // Each would be invisible, or would end the line.
        for c in [
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{2060}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            assert_eq!(lines(&format!("a{c}b")), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
        assert_eq!(line("ä €\u{a0}字😀"), "ä €\u{a0}字😀");
    }
}
