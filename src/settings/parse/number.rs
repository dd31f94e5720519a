//! Numbers, in every spelling that YAML, TOML or JSON has for them: a file and the environment are read alike.

/// Above it an `f64` does not tell whole numbers apart.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number: `10`, `+10`, `0x0a`, `0o12`, `1e1` or `10.0`.
pub fn whole<T: TryFrom<i128>>(text: &str) -> Option<T> {
    T::try_from(parse(text)?).ok()
}

/// Any number that is not infinite: the above, and `0.5`, `.5`, `5e-1`.
pub fn real(text: &str) -> Option<f64> {
    let number = text.parse().ok().or_else(|| Some(parse(text)? as f64));
    number.filter(|number| number.is_finite())
}

fn parse(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let magnitude: i128 = match (digits.strip_prefix("0x"), digits.strip_prefix("0o")) {
        (Some(hex), _) => unsigned(hex, 16)?,
        (_, Some(octal)) => unsigned(octal, 8)?,
        _ => match digits.parse() {
            Ok(number) => number,
            Err(_) => digits
                .parse()
                .ok()
                .filter(|number: &f64| number.fract() == 0.0 && *number <= LARGEST_EXACT)?
                as i128,
        },
    };
    Some(sign * magnitude)
}

fn unsigned(digits: &str, radix: u32) -> Option<i128> {
    // `from_str_radix` takes a sign.
    let legal = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    legal.then(|| i128::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_the_same_number() {
        for text in [
            "1000000",
            "+1000000",
            "1e6",
            "1e+06",
            "1E6",
            "1000000.0",
            "0xF4240",
            "0o3641100",
            "001000000",
        ] {
            assert_eq!(whole(text), Some(1_000_000_u32), "{text}");
            assert_eq!(real(text), Some(1_000_000.0), "{text}");
        }
        assert_eq!((whole("-1"), whole("-0x10")), (Some(-1), Some(-16)));
        assert_eq!(
            (real(".5"), real("5e-1"), real("-0.5")),
            (Some(0.5), Some(0.5), Some(-0.5))
        );
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in [
            "", "+", "-", "abc", "1_000", "0x", "0x-1", "0o9", "inf", "nan", "NaN", "1 000", "1e", "--1", "infinity",
        ] {
            assert_eq!(whole::<i64>(text), None, "{text}");
            assert_eq!(real(text), None, "{text}");
        }
        assert_eq!(whole::<u8>("256"), None);
        assert_eq!(whole::<u32>("-1"), None);
        assert_eq!(whole::<i64>("1.5"), None);
        assert_eq!(whole::<i64>("1e300"), None);
        assert_eq!(real("1e300"), Some(1e300));
    }
}
