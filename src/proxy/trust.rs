//! Whom this proxy believes, and who a request comes from.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::wire::headers;

/// What stands in front of this proxy.
pub struct TrustedProxies(Vec<IpNet>);

/// Who a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// The peer is a trusted proxy: what it says about the client counts.
    pub is_trusted: bool,
    /// The client, as far as it is known: the last address on the request's way that no trusted proxy has.
    pub client: Option<IpAddr>,
}

impl TrustedProxies {
    /// Trusts these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        TrustedProxies(networks.to_vec())
    }

    /// Who a request comes from.
    pub fn origin(&self, request: &HttpRequest) -> Origin {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        self.origin_of(peer, request.headers())
    }

    /// Whether a request comes from a trusted proxy, and on behalf of nobody else.
    pub fn is_own(&self, request: &HttpRequest) -> bool {
        self.origin(request).client.is_some_and(|client| self.has(client))
    }

    fn origin_of(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Origin {
        let is_trusted = peer.is_some_and(|peer| self.has(peer));
        let client = if is_trusted { self.told(headers).or(peer) } else { peer };
        Origin {
            peer,
            is_trusted,
            client,
        }
    }

    /// The client that a trusted peer tells. `X-Real-IP` counts where there is no `X-Forwarded-For`.
    fn told(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values: Vec<&[u8]> = headers
            .get_all(headers::X_FORWARDED_FOR)
            .map(HeaderValue::as_bytes)
            .collect();
        if values.is_empty() {
            return address(headers.get(headers::X_REAL_IP)?.as_bytes());
        }
        let hops = values.iter().rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
        let mut client = None;
        for hop in hops.map(address) {
            // What is no address was written by nobody whom we trust to know one.
            let Some(hop) = hop else { break };
            client = Some(hop);
            if !self.has(hop) {
                break;
            }
        }
        client
    }

    fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as gateways write it: some add the port, and brackets around one of IPv6.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse()
        .ok()
        .or_else(with_port)
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;
    use proptest::prelude::*;

    fn origin(trusted: &[&str], peer: &str, fields: &[(&'static str, &str)]) -> Origin {
        let networks: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        TrustedProxies::new(&networks).origin_of(Some(peer.parse().unwrap()), &headers)
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        const OURS: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];
        const FOR: &str = "x-forwarded-for";
        for (peer, fields, client) in [
            ("10.0.0.1", &[][..], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[(FOR, "6.6.6.6, 192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            (
                "10.0.0.1",
                &[(FOR, "6.6.6.6"), (FOR, "192.0.2.1,10.0.0.2")],
                "192.0.2.1",
            ),
            ("10.0.0.1", &[(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("10.0.0.1", &[(FOR, "6.6.6.6, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", &[(FOR, "unknown")], "10.0.0.1"),
            ("10.0.0.1", &[(FOR, "192.0.2.1:4711")], "192.0.2.1"),
            ("fd00::1", &[(FOR, "[2001:db8::1]:443")], "2001:db8::1"),
            ("fd00::1", &[(FOR, "[2001:db8::1]")], "2001:db8::1"),
            ("10.0.0.1", &[(FOR, "::ffff:192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[("x-real-ip", "192.0.2.1")], "192.0.2.1"),
            ("10.0.0.1", &[("x-real-ip", "6.6.6.6"), (FOR, "192.0.2.1")], "192.0.2.1"),
            ("192.0.2.9", &[(FOR, "6.6.6.6"), ("x-real-ip", "6.6.6.6")], "192.0.2.9"),
        ] {
            let found = origin(&OURS, peer, fields);
            assert_eq!(found.client, Some(client.parse().unwrap()), "{peer} {fields:?}");
        }
        assert!(!origin(&[], "127.0.0.1", &[]).is_trusted, "nobody is trusted");
    }

    proptest! {
        #[test]
        fn whatever_is_forwarded_a_stranger_stays_itself(
            hops in "(6[.]6[.]6[.]6|10[.]0[.]0[.]9|unknown|\\[::1\\]:1|,| |x){0,8}",
            trusted in any::<bool>(),
        ) {
            let peer = if trusted { "10.0.0.1" } else { "192.0.2.9" };
            let found = origin(&["10.0.0.0/8"], peer, &[("x-forwarded-for", &hops)]);
            prop_assert_eq!(found.is_trusted, trusted);
            let client = found.client.unwrap().to_string();
            prop_assert!(client == peer || trusted && hops.contains(&client), "{client} of {hops:?}");
        }
    }
}
