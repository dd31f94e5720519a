//! Digests as texts, as settings and tools write them.

use openssl::sha::sha256;

/// Bytes as hexadecimal digits, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An entry of `auth.api_keys`: `NAME:SHA256` of the key.
pub fn api_key(name: &str, key: &str) -> String {
    format!("{name}:{}", hex(&sha256(key.as_bytes())))
}
