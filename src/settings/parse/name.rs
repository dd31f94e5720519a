//! Texts that name something outside: topics, groups, brokers, backends. Parsers as in `value`.

use globset::Glob;

use crate::kafka::topic_name::{is_internal, is_legal};
use crate::settings::model::BackendUrl;
use crate::settings::parse::value::Parsed;

/// A topic that requests or replies may travel on. Kafka's own topics begin with `__`.
pub fn topic(name: &str) -> Parsed<String> {
    const ALLOWED: &str =
        r#"a topic name (1 to 249 of letters, digits, ".", "_", "-"; neither "." nor ".."; not beginning with "__")"#;
    (is_legal(name) && !is_internal(name))
        .then(|| name.to_owned())
        .ok_or(ALLOWED)
}

/// A static member of a consumer group; the broker refuses other names at the join.
pub fn member(name: &str) -> Parsed<String> {
    is_legal(name)
        .then(|| name.to_owned())
        .ok_or(r#"an instance id (1 to 249 of letters, digits, ".", "_", "-")"#)
}

/// A pattern of topic names.
pub fn glob(pattern: &str) -> Parsed<String> {
    let compiles = !pattern.is_empty() && Glob::new(pattern).is_ok();
    compiles
        .then(|| pattern.to_owned())
        .ok_or(r#"a glob such as "*-requests""#)
}

/// The name of a server, as a certificate has it: a host name or an IP address.
pub fn server(text: &str) -> Parsed<String> {
    let is_name = !text.contains(':') && is_authority(text);
    let sound = is_name || text.parse::<std::net::IpAddr>().is_ok();
    sound
        .then(|| text.to_owned())
        .ok_or("the name of a server: a host name or an IP address")
}

/// A pattern of host names, without a port.
pub fn host_glob(pattern: &str) -> Parsed<String> {
    let sound = glob(pattern).is_ok() && !pattern.contains([':', '/', ' ']);
    sound
        .then(|| pattern.to_ascii_lowercase())
        .ok_or(r#"a glob of host names such as "*.example.com" (without a port)"#)
}

/// Names of header fields, which have no letter case.
pub fn header_glob(pattern: &str) -> Parsed<String> {
    glob(&pattern.to_ascii_lowercase()).map_err(|_| r#"a glob of header names such as "x-internal-*""#)
}

/// Brokers, with commas between them; librdkafka adds port 9092 and understands `SSL://host:port`.
pub fn brokers(list: &str) -> Parsed<String> {
    const PROTOCOLS: [&str; 4] = ["PLAINTEXT://", "SSL://", "SASL_PLAINTEXT://", "SASL_SSL://"];
    let sound = |broker: &str| {
        let address = PROTOCOLS
            .iter()
            .find_map(|protocol| broker.strip_prefix(protocol))
            .unwrap_or(broker);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "9092"));
        let host_is_sound =
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        host_is_sound && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    let brokers: Vec<&str> = list.split(',').map(str::trim).collect();
    brokers
        .iter()
        .all(|broker| sound(broker))
        .then(|| brokers.join(","))
        .ok_or("host:port, with commas between brokers")
}

/// The path of a health check.
pub fn path(text: &str) -> Parsed<String> {
    let sound = text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic());
    sound.then(|| text.to_owned()).ok_or(r#"a path that begins with "/""#)
}

/// A backend's address. Strict, because every request is built from it: nothing of it may be left to interpretation.
pub fn backend_url(text: &str) -> Parsed<BackendUrl> {
    const ALLOWED: &str = "an http:// or https:// URL with a host, and without user info, query or fragment";
    split_url(text).ok_or(ALLOWED)
}

fn split_url(text: &str) -> Option<BackendUrl> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let known = matches!(scheme.as_str(), "http" | "https");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path_is_sound = path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\' | b'"' | b'<' | b'>'));
    (known && path_is_sound && is_authority(authority)).then(|| BackendUrl {
        scheme,
        authority: authority.to_owned(),
        base_path: path.trim_end_matches('/').to_owned(),
    })
}

/// `host`, `host:port` or `[v6]:port`.
fn is_authority(authority: &str) -> bool {
    let (host_is_sound, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, rest)) => (v6.parse::<std::net::Ipv6Addr>().is_ok(), rest),
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            (!host.is_empty() && host.bytes().all(allowed), port)
        }
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|number| number > 0)
    };
    let port_is_sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    host_is_sound && port_is_sound
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        for name in ["orders", "a.b_c-1", "_one", "...", &"x".repeat(249)] {
            assert_eq!(topic(name).as_deref(), Ok(name));
        }
        for name in ["", ".", "..", "__consumer_offsets", "a b", "a/b", "ä", &"x".repeat(250)] {
            assert!(topic(name).is_err(), "{name}");
        }
        assert!(member("proxy-1").is_ok() && member("proxy 1").is_err());
    }

    #[test]
    fn globs() {
        assert!(
            ["*-requests", "a", "{a,b}-*", "team?-*"]
                .iter()
                .all(|pattern| glob(pattern).is_ok())
        );
        assert!(["", "{a,b", "[a-"].iter().all(|pattern| glob(pattern).is_err()));
        assert!(
            ["orders.internal", "10.0.0.1", "::1"]
                .iter()
                .all(|name| server(name).is_ok())
        );
        assert!(
            ["", "a:80", "http://a", "a b", "[::1]"]
                .iter()
                .all(|name| server(name).is_err())
        );
        assert_eq!(host_glob("*.Example.com").as_deref(), Ok("*.example.com"));
        assert!(
            ["", "a:80", "http://a", "a b"]
                .iter()
                .all(|host| host_glob(host).is_err())
        );
    }

    #[test]
    fn backends() {
        for (text, scheme, authority, base_path) in [
            ("http://orders:8080", "http", "orders:8080", ""),
            ("HTTPS://Orders.example/", "https", "Orders.example", ""),
            ("http://10.0.0.1/a/b/", "http", "10.0.0.1", "/a/b"),
            ("http://[::1]:8080/x", "http", "[::1]:8080", "/x"),
            ("http://my_service:1", "http", "my_service:1", ""),
        ] {
            let url = backend_url(text).unwrap();
            assert_eq!(
                (url.scheme.as_str(), url.authority.as_str(), url.base_path.as_str()),
                (scheme, authority, base_path)
            );
        }
        for text in [
            "",
            "orders:8080",
            "ftp://orders",
            "http://",
            "http:///path",
            "http://user:pass@orders",
            "http://orders?x=1",
            "http://orders/?x=1",
            "http://orders/#top",
            "http://orders:",
            "http://orders:0",
            "http://orders:+80",
            "http://orders:65536",
            "http://[::1",
            "http://[x]:80",
            "http://a b",
            "http://a/b c",
            "http://a/\\b",
            "http://a/\r\nHost: b",
        ] {
            assert!(backend_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn brokers_and_paths() {
        assert_eq!(brokers("kafka:9092").as_deref(), Ok("kafka:9092"));
        assert_eq!(brokers("a:1, SSL://b:2").as_deref(), Ok("a:1,SSL://b:2"));
        assert!(
            ["", "a b", "a,", ",a", ":90", "http://x:1", "a:0", "a:b"]
                .iter()
                .all(|list| brokers(list).is_err())
        );
        assert!(path("/health").is_ok() && path("health").is_err() && path("/a b").is_err());
    }
}
