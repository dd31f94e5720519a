//! Keys that the configuration knows by their hashes.

use ring::digest::{SHA256, digest};

use crate::settings::ApiKey;

/// Every key that may ask.
pub struct ApiKeys(Vec<ApiKey>);

impl ApiKeys {
    pub fn new(keys: &[ApiKey]) -> Self {
        ApiKeys(keys.to_vec())
    }

    /// Whose key this is; `None`: nobody's. All keys are compared, and each of them whole: how long it takes tells nothing.
    pub fn owner(&self, key: &[u8]) -> Option<String> {
        let hash = digest(&SHA256, key);
        let mut owner = None;
        for known in &self.0 {
            if openssl::memcmp::eq(hash.as_ref(), &known.sha256) {
                owner = Some(known);
            }
        }
        owner.map(|known| known.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash() {
        let key = |name: &str, key: &str| ApiKey {
            name: name.to_owned(),
            sha256: digest(&SHA256, key.as_bytes()).as_ref().try_into().unwrap(),
        };
        let keys = ApiKeys::new(&[key("a", "one"), key("b", "two"), key("a", "three")]);
        for (sent, owner) in [
            ("one", Some("a")),
            ("two", Some("b")),
            ("three", Some("a")),
            ("", None),
            ("One", None),
        ] {
            assert_eq!(keys.owner(sent.as_bytes()).as_deref(), owner, "{sent}");
        }
    }
}
