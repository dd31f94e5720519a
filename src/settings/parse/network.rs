//! Networks of addresses. Parsers as in `value`.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::settings::parse::value::Parsed;

/// Stands for all of [`PRIVATE`].
const PRIVATE_RANGES: &str = "private_ranges";
/// The loopback, private (RFC 1918, RFC 4193) and link-local addresses (RFC 3927, RFC 4291): nobody has them on the internet.
const PRIVATE: [&str; 8] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// A network, a single address, or the word for all private ones.
pub fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    const ALLOWED: &str = "private_ranges, an address, or a network such as 10.0.0.0/8";
    match text {
        PRIVATE_RANGES => PRIVATE.iter().map(|text| network(text).ok_or(ALLOWED)).collect(),
        text => Ok(vec![network(text).ok_or(ALLOWED)?]),
    }
}

fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>()
        .ok()
        .or_else(address)
        .map(|network| network.trunc())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_a_word_are_taken() {
        for (text, expected) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
        ] {
            let found = networks(text).unwrap();
            assert_eq!(found.iter().map(IpNet::to_string).collect::<Vec<_>>(), [expected]);
        }
        assert_eq!(networks(PRIVATE_RANGES).unwrap().len(), PRIVATE.len());
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "localhost",
            "private",
            "10.0.0.0-10.0.0.9",
            "fe80::1%eth0",
        ] {
            assert!(networks(text).is_err(), "{text}");
        }
    }
}
