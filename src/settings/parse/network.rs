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

/// `host:port`; an IPv6 address stands in brackets.
pub fn host_port(text: &str) -> Parsed<String> {
    const ALLOWED: &str = "host:port, as in proxies.internal:8081";
    let (host, port) = text.rsplit_once(':').ok_or(ALLOWED)?;
    let is_address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match is_address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    if is_host && is_port {
        Ok(text.to_owned())
    } else {
        Err(ALLOWED)
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
    fn a_peer_is_a_host_and_a_port() {
        for text in ["proxies:8081", "10.0.0.7:1", "[::1]:8081", "a.b-c.internal:65535"] {
            assert_eq!(host_port(text).unwrap(), text);
        }
        for text in [
            "",
            "proxies",
            ":8081",
            "proxies:0",
            "proxies:65536",
            "http://a:1",
            "a/b:1",
            "::1:8081",
            "[a]:1",
        ] {
            assert!(host_port(text).is_err(), "{text}");
        }
    }

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
