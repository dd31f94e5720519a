//! Who is at the other end of a TLS connection.

use std::rc::Rc;

use actix_web::{HttpMessage as _, HttpRequest};
use bytes::Bytes;
use openssl::hash::MessageDigest;
use openssl::x509::{X509, X509NameRef};
use tokio_rustls::rustls::ServerConnection;

use crate::wire::hex::hex;

/// As many names of one kind are passed on.
const MAX_NAMES: usize = 16;

/// What is known of the client of a TLS connection.
#[derive(Debug, Default)]
pub struct Peer {
    /// Its certificate, which was verified; `None`: it has shown none.
    pub certificate: Option<ClientCertificate>,
}

/// A client's certificate.
#[derive(Debug)]
pub struct ClientCertificate {
    /// As RFC 4514 writes it, in ASCII: `CN=orders,O=Acme`.
    pub subject: String,
    /// As a value of `X-Forwarded-Client-Cert`.
    pub forwarded: Bytes,
}

impl Peer {
    /// The client of a connection whose handshake is complete.
    pub fn of_session(session: &ServerConnection) -> Self {
        let first = session.peer_certificates().and_then(<[_]>::first);
        // rustls has verified it. One that OpenSSL cannot read proves nothing to us.
        let certificate = first.and_then(|der| ClientCertificate::from_der(der));
        Peer { certificate }
    }

    /// The client of a request; `None`: its connection is plain.
    pub fn of(request: &HttpRequest) -> Option<Rc<Peer>> {
        let of_stream = || request.extensions().get::<Rc<Peer>>().cloned();
        request.conn_data::<Rc<Peer>>().cloned().or_else(of_stream)
    }
}

impl ClientCertificate {
    fn from_der(der: &[u8]) -> Option<Self> {
        let certificate = X509::from_der(der).ok()?;
        let subject = subject(certificate.subject_name());
        let hash = certificate.digest(MessageDigest::sha256()).ok()?;
        // Nothing in it is a quote: see `push_escaped`.
        let mut forwarded = format!("Hash={};Subject=\"{subject}\"", hex(&hash));
        let names = certificate.subject_alt_names();
        let names = || names.iter().flatten();
        let uris = names().filter_map(|name| name.uri()).take(MAX_NAMES);
        let hosts = names().filter_map(|name| name.dnsname()).take(MAX_NAMES);
        let named = uris.map(|uri| ("URI", uri)).chain(hosts.map(|host| ("DNS", host)));
        for (kind, name) in named {
            if let Some(value) = element(name) {
                forwarded.push_str(&format!(";{kind}={value}"));
            }
        }
        Some(ClientCertificate {
            subject,
            forwarded: forwarded.into(),
        })
    }
}

/// A value as Envoy writes it: in quotes where it would end otherwise. `None`: it holds what no such name needs.
fn element(value: &str) -> Option<String> {
    let is_sound = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    let ends = value.contains([',', ';', '=']);
    value
        .bytes()
        .all(is_sound)
        .then(|| if ends { format!("\"{value}\"") } else { value.to_owned() })
}

/// The last part first (RFC 4514 2.1).
fn subject(name: &X509NameRef) -> String {
    let mut text = String::new();
    let entries: Vec<_> = name.entries().collect();
    for entry in entries.into_iter().rev() {
        if !text.is_empty() {
            text.push(',');
        }
        let kind = entry.object();
        match kind.nid().short_name() {
            Ok(kind) if kind != "UNDEF" => text.push_str(kind),
            _ => text.push_str(&kind.to_string()),
        }
        text.push('=');
        // A NUL stays in it: cut there, it would be another's name.
        match entry.data().to_string() {
            Ok(value) => push_escaped(&mut text, value.as_bytes()),
            Err(_) => push_escaped(&mut text, entry.data().as_slice()),
        }
    }
    text
}

/// Escapes by hexadecimal digits (RFC 4514 2.4): no reader of a header takes those for the end of a quoted value.
fn push_escaped(text: &mut String, value: &[u8]) {
    for (at, &byte) in value.iter().enumerate() {
        let at_an_end = at == 0 || at + 1 == value.len();
        let is_plain = match byte {
            b' ' => !at_an_end,
            b'#' => at > 0,
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => false,
            byte => byte.is_ascii_graphic(),
        };
        match is_plain {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("\\{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tls::test_files;
    use proptest::prelude::*;

    #[test]
    fn a_certificate_is_written_as_envoy_does() {
        let (certificate, _) = test_files::certificate("orders");
        let client = ClientCertificate::from_der(&certificate.to_der().unwrap()).unwrap();
        assert_eq!(client.subject, "CN=orders");
        let forwarded = std::str::from_utf8(&client.forwarded).unwrap();
        let (hash, subject) = forwarded.split_once(';').unwrap();
        assert_eq!(hash.len(), "Hash=".len() + 64, "{hash}");
        assert_eq!(subject, "Subject=\"CN=orders\"");
        assert!(ClientCertificate::from_der(b"no certificate").is_none());
    }

    #[test]
    fn names_that_could_forge_another_element_are_left_out() {
        for (name, written) in [
            ("spiffe://cluster/ns/a", Some("spiffe://cluster/ns/a")),
            ("https://a/?b=c", Some("\"https://a/?b=c\"")),
            ("a;URI=b", Some("\"a;URI=b\"")),
            ("a\";URI=b", None),
            ("a\\", None),
            ("a b", None),
            ("é", None),
        ] {
            assert_eq!(element(name).as_deref(), written, "{name}");
        }
    }

    proptest! {
        /// Whatever a certificate's name holds, it stays one value of one part.
        #[test]
        fn a_name_never_ends_its_part(value in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut text = String::new();
            push_escaped(&mut text, &value);
            let is_sound = |byte: u8| byte == b' ' || byte.is_ascii_graphic() && !b"\",;=+<>".contains(&byte);
            prop_assert!(text.bytes().all(is_sound), "{text}");
            prop_assert_eq!(text.matches('\\').count() * 2 + value.len(), text.len());
        }
    }
}
