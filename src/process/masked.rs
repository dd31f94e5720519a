//! How secrets are kept out of printed texts.

/// Printed in the place of a secret.
pub const MASK: &str = "***";

/// `http://user:password@host` is refused, and the refusal must not print the password.
pub fn without_user_info(text: &str) -> String {
    match text
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)))
    {
        Some((scheme, host)) => format!("{scheme}://{MASK}@{host}"),
        None => text.to_owned(),
    }
}
