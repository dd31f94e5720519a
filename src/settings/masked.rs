//! How values are shown to people: secrets never.

use crate::process::masked::{MASK, without_user_info};
use crate::settings::keys::{Key, Kind};

/// The value of a setting that is at fault, as it may be printed. An address that is none may hold a password anywhere: of it, only the
/// scheme is told.
pub fn faulty(key: &Key, text: &str) -> String {
    match key.kind {
        Kind::Address if text.is_empty() => String::new(),
        Kind::Address => match text.split_once("://") {
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => format!("{scheme}://…"),
            _ => "…".to_owned(),
        },
        _ => value(key, text),
    }
}

/// The value of a setting, as it may be printed.
pub fn value(key: &Key, text: &str) -> String {
    match key.kind {
        Kind::Secret => MASK.to_owned(),
        _ => without_user_info(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::keys::{top, topic};

    #[test]
    fn secrets_are_masked() {
        assert_eq!(value(&top::MANAGEMENT_TOKEN, "s3cret"), "***");
        assert_eq!(value(&top::PORT, "8080"), "8080");
        assert_eq!(value(&top::PORT, "http://me:pa@ss@host/x"), "http://***@host/x");
    }

    #[test]
    fn no_part_of_a_faulty_address_but_its_scheme_is_told() {
        for (written, shown) in [
            ("http://me:s3cret@host", "http://…"),
            ("http://me:s3cret", "http://…"),
            ("ftp://host/?token=s3cret", "ftp://…"),
            ("me:s3cret@host", "…"),
            ("s3cret@x://host", "…"),
            ("", ""),
        ] {
            assert_eq!(faulty(&topic::BACKEND_URL, written), shown);
            assert_eq!(faulty(&top::BOOTSTRAP_SERVERS, written), shown);
        }
        assert_eq!(faulty(&top::PORT, "eighty"), "eighty");
    }
}
