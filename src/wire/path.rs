//! Dot segments of a path, in every form that some server undoes: `..`, `%2e%2e`, `..%2f`, `..\`, `..;x`.
//!
//! A path passes byte for byte. But where a prefix was chosen for it, or cut off it, it must not lead out of there.

/// Whether a path has any dot segment.
pub fn has_dots(path: &str) -> bool {
    segments(path).any(|segment| dots(segment) > 0)
}

/// Whether a path leads above where it begins, be it only on its way. Empty segments count as none: some servers merge slashes.
pub fn climbs(path: &str) -> bool {
    let mut depth = 0_usize;
    for segment in segments(path) {
        match dots(segment) {
            2 if depth == 0 => return true,
            2 => depth -= 1,
            0 if !segment.is_empty() => depth += 1,
            _ => {}
        }
    }
    false
}

/// A path as a server sees it that resolves dot segments (RFC 3986 5.2.4), and merges slashes if so asked.
pub fn resolved(path: &str, merges_slashes: bool) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_with_slash = false;
    // What is before the first slash is empty.
    for segment in segments(path).skip(1) {
        let dots = dots(segment);
        ends_with_slash = dots > 0 || segment.is_empty();
        match dots {
            2 => drop(kept.pop()),
            0 if !(merges_slashes && segment.is_empty()) => kept.push(segment),
            _ => {}
        }
    }
    let end = if ends_with_slash && kept.last().is_some_and(|last| !last.is_empty()) {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", kept.join("/"))
}

/// The pieces between slashes, encoded ones and backslashes included.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let text = rest?;
        let found = (0..text.len()).find_map(|at| Some((at, separator(&text.as_bytes()[at..])?)));
        let Some((at, length)) = found else {
            rest = None;
            return Some(text);
        };
        rest = Some(&text[at + length..]);
        Some(&text[..at])
    })
}

/// The length of a separator that these bytes begin with.
fn separator(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'/' | b'\\', ..] => Some(1),
        [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => Some(3),
        _ => None,
    }
}

/// 1 for a segment that means its parent's child itself, 2 for one that means the parent, 0 for any other.
fn dots(segment: &str) -> usize {
    let mut rest = segment.as_bytes();
    let mut count = 0;
    loop {
        rest = match rest {
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            // What follows a semicolon are parameters, which some servers drop first.
            [] | [b';', ..] | [b'%', b'3', b'b' | b'B', ..] => return if count <= 2 { count } else { 0 },
            _ => return 0,
        };
        count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_that_leads_out_is_known_in_every_form() {
        for path in [
            "/..",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/%2E./x",
            "/..%2fx",
            "/..%2Fx",
            "/..\\x",
            "/..%5cx",
            "/..;/x",
            "/..;a=b/x",
            "/..%3bx",
            "//../x",
            "/a//../../x",
            "/./..",
            "/a/..;/../b/c",
        ] {
            assert!(climbs(path), "{path}");
            assert!(has_dots(path), "{path}");
        }
        for path in [
            "/",
            "/a/../b",
            "/...",
            "/..a",
            "/a..",
            "/a/b/../..",
            "/%2e",
            "/.;x/a",
            "/a;../b",
            "//",
            "/%2e%2e%2e",
            "*",
        ] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn paths_are_resolved_as_servers_do() {
        for (path, plain, merged) in [
            ("/a/../b", "/b", "/b"),
            ("/a/./b/", "/a/b/", "/a/b/"),
            ("/a/b/..", "/a/", "/a/"),
            ("/..", "/", "/"),
            ("/a//../b", "/a/b", "/b"),
            ("/a/x/..//b", "/a//b", "/a/b"),
            ("/a%2f..%2fb", "/b", "/b"),
            ("/a\\..;x\\b", "/b", "/b"),
            ("/a//", "/a//", "/a/"),
        ] {
            assert_eq!(
                (&*resolved(path, false), &*resolved(path, true)),
                (plain, merged),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_resolved_path_has_no_dots_left_and_keeps_what_has_none(path in "(/|\\\\|%2f|%5C|[.]|%2e|;|a|b){0,12}") {
            let path = format!("/{path}");
            for merges in [false, true] {
                let once = resolved(&path, merges);
                prop_assert!(!has_dots(&once), "{once}");
                prop_assert_eq!(&resolved(&once, merges), &once);
            }
            if !has_dots(&path) {
                prop_assert!(!climbs(&path));
            }
        }

        #[test]
        fn what_stays_below_a_base_stays_there_when_it_is_resolved(path in "(/|%2f|[.]|%2E|;|a){0,12}") {
            let path = format!("/base/{path}");
            if !climbs(&path["/base".len()..]) {
                for merges in [false, true] {
                    let there = resolved(&path, merges);
                    prop_assert!(there == "/base" || there.starts_with("/base/"), "{there}");
                }
            }
        }
    }
}
