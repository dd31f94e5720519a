//! The grammar of `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a String of Structured Fields (RFC 8941 3.3.3). Clients
//! that write the bare text, as many did before the draft, are understood, too, and mean the same key.

use crate::error::RequestError;

/// The longest key, in characters.
const LONGEST: usize = 255;

/// The key that the fields of this name give; `None`: there is none.
///
/// # Errors
/// `IdempotencyKeyInvalid`: there are several, or it is no key.
pub fn parse<'a>(mut fields: impl Iterator<Item = &'a [u8]>) -> Result<Option<String>, RequestError> {
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(RequestError::IdempotencyKeyInvalid);
    }
    let key = std::str::from_utf8(field).ok().and_then(key);
    key.map(Some).ok_or(RequestError::IdempotencyKeyInvalid)
}

fn key(field: &str) -> Option<String> {
    let field = field.trim_matches([' ', '\t']);
    let key = match field.strip_prefix('"') {
        Some(quoted) => string(quoted)?,
        None => bare(field)?.to_owned(),
    };
    (1..=LONGEST).contains(&key.len()).then_some(key)
}

/// What follows the first quote of a String. Parameters of the item are read over: the draft gives them no meaning.
fn string(quoted: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => match characters.next()? {
                escaped @ ('"' | '\\') => key.push(escaped),
                _ => return None,
            },
            plain @ ' '..='~' => key.push(plain),
            _ => return None,
        }
    }
    let rest = characters.as_str();
    (rest.is_empty() || rest.starts_with(';')).then_some(key)
}

/// Visible characters. A comma would join two fields to one, a semicolon begin a parameter.
fn bare(field: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    field.bytes().all(is_plain).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(field: &str) -> Result<Option<String>, RequestError> {
        parse(std::iter::once(field.as_bytes()))
    }

    #[test]
    fn the_cases_of_the_draft() {
        assert_eq!(parse(std::iter::empty()), Ok(None));
        for (field, key) in [
            (
                r#""8e03978e-40d5-43e8-bc93-6894a57f9324""#,
                "8e03978e-40d5-43e8-bc93-6894a57f9324",
            ),
            (
                "8e03978e-40d5-43e8-bc93-6894a57f9324",
                "8e03978e-40d5-43e8-bc93-6894a57f9324",
            ),
            (
                r#""clkyoesmbgybucifusbbtdsbohtyuuwz""#,
                "clkyoesmbgybucifusbbtdsbohtyuuwz",
            ),
            (r#" "a b" "#, "a b"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
            (r#""a";version=1"#, "a"),
            ("KG5LxwFBepaKHyUD", "KG5LxwFBepaKHyUD"),
            ("a=b/c+d.e_f~g", "a=b/c+d.e_f~g"),
        ] {
            assert_eq!(one(field), Ok(Some(key.to_owned())), "{field}");
        }
        let longest = "x".repeat(LONGEST);
        assert_eq!(one(&longest), Ok(Some(longest.clone())));
        for field in [
            "",
            " ",
            r#""""#,
            r#"""#,
            r#""a"#,
            r#""a\""#,
            r#""a\b""#,
            r#""a"b"#,
            r#""a", "b""#,
            "a, b",
            "a b",
            "a;b",
            "\"a\tb\"",
            "ä",
            "\"ä\"",
            &"x".repeat(LONGEST + 1),
        ] {
            assert_eq!(one(field), Err(RequestError::IdempotencyKeyInvalid), "{field}");
        }
        let twice: [&[u8]; 2] = [b"a", b"a"];
        assert_eq!(parse(twice.into_iter()), Err(RequestError::IdempotencyKeyInvalid));
        assert_eq!(
            parse(std::iter::once(&b"\xff"[..])),
            Err(RequestError::IdempotencyKeyInvalid)
        );
    }

    proptest! {
        #[test]
        fn any_key_can_be_quoted(key in "[ -~]{1,255}") {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(one(&quoted), Ok(Some(key)));
        }

        #[test]
        fn no_field_panics(field in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(std::iter::once(&field[..]));
        }
    }
}
