//! How values are shown to people: secrets never.

use crate::process::masked::{MASK, without_user_info};
use crate::settings::keys::{Key, Kind};

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
    use crate::settings::keys::top;

    #[test]
    fn secrets_are_masked() {
        assert_eq!(value(&top::MANAGEMENT_TOKEN, "s3cret"), "***");
        assert_eq!(value(&top::PORT, "8080"), "8080");
        assert_eq!(value(&top::PORT, "http://me:pa@ss@host/x"), "http://***@host/x");
    }
}
