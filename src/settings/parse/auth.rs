//! Who may ask: keys, claims and methods. Parsers as in `value`.

use std::path::PathBuf;

use crate::settings::model::{ApiKey, AuthMethod, Claim, JwksSource};
use crate::settings::parse::value::{self, Parsed};
use crate::wire::headers;

/// Names of RFC 7518 that `algorithms` takes. The last three are of shared secrets.
const ALGORITHMS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512",
];

/// Headers that belong to HTTP itself, or to this gateway: none of them names a client.
const TAKEN: [&str; 9] = [
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    headers::X_FORWARDED_CLIENT_CERT,
    headers::X_FORWARDED_FOR,
    headers::X_REQUEST_ID,
];

/// See [`AuthMethod`].
pub fn method(text: &str) -> Parsed<AuthMethod> {
    let known = [
        AuthMethod::None,
        AuthMethod::ApiKey,
        AuthMethod::Jwt,
        AuthMethod::ClientCertificate,
    ];
    let found = known.into_iter().find(|method| method.as_str() == text);
    found.ok_or("none, api-key, jwt or client-certificate")
}

/// `NAME:SHA256`.
pub fn api_key(text: &str) -> Parsed<ApiKey> {
    const ALLOWED: &str = "NAME:SHA256, the SHA-256 of the key in 64 hexadecimal digits";
    let (name, digits) = text.rsplit_once(':').ok_or(ALLOWED)?;
    let name = value::text(name.trim()).map_err(|_| ALLOWED)?;
    let sha256 = bytes_of_hex(digits.trim()).ok_or(ALLOWED)?;
    Ok(ApiKey { name, sha256 })
}

fn bytes_of_hex(digits: &str) -> Option<[u8; 32]> {
    let digits: Vec<u32> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect();
    bytes.try_into().ok().filter(|_| digits.len() == 64)
}

/// A header of HTTP, in lower case.
pub fn header(text: &str) -> Parsed<String> {
    let name = text.to_ascii_lowercase();
    let is_free = !headers::is_reserved(&name) && !headers::is_hop_by_hop(&name) && !TAKEN.contains(&name.as_str());
    let sound = headers::name_is_legal(text) && is_free;
    sound.then_some(name).ok_or("a header's name such as X-Principal")
}

/// A file or a URL.
pub fn jwks(text: &str) -> Parsed<JwksSource> {
    const ALLOWED: &str = "a text of one line that is not empty, the path or the http:// or https:// URL of a JWKS";
    let text = value::text(text).map_err(|_| ALLOWED)?;
    match text.split_once("://") {
        None => Ok(JwksSource::File(PathBuf::from(text))),
        Some(("http" | "https", _)) if text.parse::<hyper::Uri>().is_ok_and(|uri| uri.host().is_some()) => {
            Ok(JwksSource::Url(text))
        }
        Some(_) => Err(ALLOWED),
    }
}

/// `NAME`, or `NAME=VALUE`.
pub fn claim(text: &str) -> Parsed<Claim> {
    const ALLOWED: &str = "a text of one line that is not empty, NAME or NAME=VALUE";
    let text = value::text(text).map_err(|_| ALLOWED)?;
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (&*text, None),
    };
    let sound = !name.is_empty() && value.as_deref() != Some("");
    sound
        .then(|| Claim {
            name: name.to_owned(),
            value,
        })
        .ok_or(ALLOWED)
}

/// How a token may be signed.
pub fn algorithm(text: &str) -> Parsed<String> {
    let known = ALGORITHMS.contains(&text);
    known
        .then(|| text.to_owned())
        .ok_or("an algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384 or HS512")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn api_keys() {
        let digits = "00ff".repeat(16);
        let key = api_key(&format!("orders: {digits}")).unwrap();
        assert_eq!((&*key.name, &key.sha256[..4]), ("orders", &[0, 255, 0, 255][..]));
        assert_eq!(api_key(&format!("a:b:{}", digits.to_uppercase())).unwrap().name, "a:b");
        for text in [
            "",
            "orders",
            &digits,
            &format!(":{digits}"),
            &format!("a:{}", &digits[1..]),
            &format!("a:{digits}0"),
            &format!("a:{}g", &digits[1..]),
            &format!("a:{}é", &digits[1..]),
        ] {
            assert!(api_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_that_name_a_client() {
        assert_eq!(header("X-Principal").as_deref(), Ok("x-principal"));
        for text in [
            "",
            "a b",
            "Host",
            "khp-principal",
            "x-kafka-topic",
            "Connection",
            "Authorization",
            "Cookie",
        ] {
            assert!(header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sources_and_claims() {
        assert_eq!(jwks("/a/jwks.json"), Ok(JwksSource::File("/a/jwks.json".into())));
        assert_eq!(jwks("https://a/b"), Ok(JwksSource::Url("https://a/b".into())));
        assert!(
            ["", "ftp://a/b", "https://", "http:///b"]
                .iter()
                .all(|text| jwks(text).is_err())
        );
        let of = |text| claim(text).map(|claim| (claim.name, claim.value));
        assert_eq!(of("role"), Ok(("role".into(), None)));
        assert_eq!(of("scope=a=b"), Ok(("scope".into(), Some("a=b".into()))));
        assert!(["", "=a", "a="].iter().all(|text| claim(text).is_err()));
        assert!(algorithm("ES256").is_ok() && algorithm("none").is_err() && algorithm("rs256").is_err());
    }
}
