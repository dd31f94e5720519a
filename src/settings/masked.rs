//! How values are shown to people: secrets never.

use crate::settings::keys::{Key, Kind};

/// What stands where a secret would.
const MASK: &str = "***";

/// Parts of the names of librdkafka properties that hold secrets, or are likely to. Too many are masked rather than too few.
const SECRET_PROPERTIES: [&str; 8] = [
    "password",
    "secret",
    "key",
    "token",
    "jaas",
    "sasl.username",
    "credential",
    "oauthbearer.config",
];

/// The value of a setting, as it may be printed.
pub(super) fn value(key: &Key, text: &str) -> String {
    match key.kind {
        Kind::Secret => MASK.to_owned(),
        _ => without_user_info(text),
    }
}

/// The value of one of `kafka.properties`, as it may be printed.
pub(super) fn property(name: &str, text: &str) -> String {
    let name = name.to_ascii_lowercase();
    if SECRET_PROPERTIES.iter().any(|part| name.contains(part)) {
        MASK.to_owned()
    } else {
        without_user_info(text)
    }
}

/// `http://user:password@host` is refused, and the refusal must not print the password.
fn without_user_info(text: &str) -> String {
    match text
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)))
    {
        Some((scheme, host)) => format!("{scheme}://{MASK}@{host}"),
        None => text.to_owned(),
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
        for name in [
            "sasl.password",
            "sasl.username",
            "ssl.key.pem",
            "SSL.Key.Password",
            "sasl.jaas.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "some.token",
        ] {
            assert_eq!(property(name, "s3cret"), "***", "{name}");
        }
        assert_eq!(property("security.protocol", "SSL"), "SSL");
    }
}
