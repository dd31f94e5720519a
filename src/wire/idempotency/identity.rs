//! Whose key it is, and which request came with it first. Both are digests: no key and no body lies in a topic of ours in clear.

use std::fmt;

use bytes::Bytes;
use openssl::sha::Sha256;

use crate::wire::hex::hex;

/// Bytes of SHA-256 that are kept of each: two requests of one client that happen to share them are not to be expected.
const KEPT: usize = 16;

/// The beginning of a SHA-256, in hexadecimal text on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; KEPT]);

impl Fingerprint {
    /// As it stands in a record: 32 digits in lower case.
    pub fn to_text(self) -> Bytes {
        hex(&self.0).into()
    }

    /// Reads what `to_text` writes. `None`: it is no such text.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let (digits, []) = text.as_chunks::<2>() else {
            return None;
        };
        let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
        let bytes = digits
            .iter()
            .map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8));
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        bytes.try_into().ok().map(Fingerprint)
    }
}

/// Who a key belongs to: two owners may use the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The proven name of the client.
    Principal(&'a str),
    /// The subject of the certificate that the client has shown.
    Certificate(&'a str),
    /// Everybody who uses this route.
    Route(&'a str),
}

/// The key of the request's record: the digest of the owner and the client's key.
pub fn record_key(owner: Owner<'_>, key: &str) -> Bytes {
    let (kind, name) = match owner {
        Owner::Principal(name) => ("principal", name),
        Owner::Certificate(subject) => ("certificate", subject),
        Owner::Route(route) => ("route", route),
    };
    digest([kind.as_bytes(), name.as_bytes(), key.as_bytes()]).to_text()
}

/// The digest of a body that comes piece by piece. No body counts as an empty one.
#[derive(Clone, Default)]
pub struct BodyDigest(Sha256);

impl fmt::Debug for BodyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyDigest")
    }
}

impl BodyDigest {
    /// Takes in more of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The fingerprint of the request that has this body. `path` is what the record says.
    pub fn fingerprint(self, method: &str, path: &str) -> Fingerprint {
        digest([method.as_bytes(), path.as_bytes(), &self.0.finish()])
    }
}

/// Each part with its length, so that none can pass for another.
fn digest<const N: usize>(parts: [&[u8]; N]) -> Fingerprint {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(&(part.len() as u32).to_be_bytes());
        sha.update(part);
    }
    let whole = sha.finish();
    let mut kept = [0; KEPT];
    kept.copy_from_slice(&whole[..KEPT]);
    Fingerprint(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fingerprint(method: &str, path: &str, body: &[u8]) -> Fingerprint {
        let mut digest = BodyDigest::default();
        digest.update(body);
        digest.fingerprint(method, path)
    }

    #[test]
    fn what_others_have_to_write() {
        // Printed in docs/wire-format.md, so that other programs can be checked against it.
        assert_eq!(
            record_key(Owner::Route("/pay orders"), "k"),
            Bytes::from(printed(&[b"route", b"/pay orders", b"k"]))
        );
        assert_eq!(
            fingerprint("POST", "/pay", b"x").to_text(),
            Bytes::from(printed(&[b"POST", b"/pay", &openssl::sha::sha256(b"x")]))
        );
    }

    fn printed(parts: &[&[u8]]) -> String {
        let joined: Vec<u8> = parts
            .iter()
            .flat_map(|part| {
                (part.len() as u32)
                    .to_be_bytes()
                    .into_iter()
                    .chain(part.iter().copied())
            })
            .collect();
        hex(&openssl::sha::sha256(&joined)[..16])
    }

    #[test]
    fn owners_are_told_apart() {
        let keys = [
            record_key(Owner::Principal("a"), "k"),
            record_key(Owner::Certificate("a"), "k"),
            record_key(Owner::Route("a"), "k"),
            record_key(Owner::Route("ak"), ""),
            record_key(Owner::Route(""), "ak"),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{index}");
        }
    }

    #[test]
    fn method_path_and_body_tell_requests_apart() {
        let first = fingerprint("POST", "/a", b"b");
        for (method, path, body) in [
            ("PUT", "/a", "b"),
            ("POST", "/b", "b"),
            ("POST", "/a", ""),
            ("POST", "/ab", ""),
        ] {
            assert_ne!(
                fingerprint(method, path, body.as_bytes()),
                first,
                "{method} {path} {body}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_in_any_pieces(body in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let (first, rest) = body.split_at(at.min(body.len()));
            let mut pieces = BodyDigest::default();
            pieces.update(first);
            pieces.update(rest);
            prop_assert_eq!(pieces.fingerprint("POST", "/"), fingerprint("POST", "/", &body));
        }

        #[test]
        fn text_comes_back(bytes in any::<[u8; 16]>(), noise in "\\PC{0,40}") {
            let print = Fingerprint(bytes);
            prop_assert_eq!(Fingerprint::from_text(&print.to_text()), Some(print));
            if let Some(read) = Fingerprint::from_text(noise.as_bytes()) {
                prop_assert_eq!(&read.to_text()[..], noise.as_bytes());
            }
        }
    }
}
