//! When certificates expire: those in our files, and those that backends and brokers show.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use humantime::format_duration;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::pkcs12::Pkcs12;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::X509;

use crate::cli::connect::finding::{Finding, Kind};
use crate::cli::connect::report::Report;
use crate::settings::{BackendUrl, Settings, Topic};

/// A certificate that expires within this is worth a warning. Certificates of 90 days are renewed a month before their end.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long a connection and a handshake may take.
const TIMEOUT: Duration = Duration::from_secs(5);
const HTTPS_PORT: u16 = 443;

/// Looks at every certificate that can be looked at. One that cannot be read is named where it is used.
pub fn check(settings: &Settings, report: &mut Report) {
    for (subject, days) in certificates(settings) {
        report.add(&subject, finding(&subject, days));
    }
}

/// Seconds until each certificate expires; below zero, it has expired.
fn certificates(settings: &Settings) -> Vec<(String, i64)> {
    let kafka = &settings.kafka.properties;
    let property = |name: &str| kafka.get(name).map(String::as_str);
    let mut found: Vec<(String, Option<i64>)> = Vec::new();
    let mut add = |subject: String, expires: Option<i64>| found.push((subject, expires));
    if let Some(file) = property("ssl.certificate.location") {
        add(format!("certificate {file}"), own(&read(file)));
    }
    if let Some(pem) = property("ssl.certificate.pem") {
        add("certificate ssl.certificate.pem".to_owned(), own(pem.as_bytes()));
    }
    if let Some(file) = property("ssl.keystore.location") {
        let password = property("ssl.keystore.password").unwrap_or_default();
        add(format!("certificate {file}"), kept(&read(file), password));
    }
    for file in ["ssl.ca.location", "https.ca.location"]
        .into_iter()
        .filter_map(property)
    {
        add(format!("certificate {file}"), trusted(&read(file)));
    }
    if let Some(pem) = property("ssl.ca.pem") {
        add("certificate ssl.ca.pem".to_owned(), trusted(pem.as_bytes()));
    }
    let is_tls = property("security.protocol").is_some_and(|protocol| protocol.to_ascii_lowercase().contains("ssl"));
    for broker in settings.kafka.bootstrap_servers.split(',').filter(|_| is_tls) {
        add(
            format!("certificate of {}", broker.trim()),
            shown_by(broker.trim(), host(broker)),
        );
    }
    if let Some(tls) = settings.proxy.tls.as_ref().filter(|_| settings.mode.is_proxy()) {
        add(
            format!("certificate {}", tls.cert.display()),
            own(&read(tls.cert.to_string_lossy())),
        );
        if let Some(ca) = &tls.client_ca {
            add(
                format!("certificate {}", ca.display()),
                trusted(&read(ca.to_string_lossy())),
            );
        }
    }
    let topics: &[Topic] = if settings.mode.is_processor() {
        &settings.processor.topics
    } else {
        &[]
    };
    for topic in topics {
        if let Some(file) = &topic.tls.cert {
            add(format!("certificate {file}"), own(&read(file)));
        }
        if let Some(file) = &topic.tls.ca {
            add(format!("certificate {file}"), trusted(&read(file)));
        }
        // Nobody looks at the dates where nothing is verified.
        if topic.backend_url.scheme == "https" && topic.tls.verify {
            let address = address(&topic.backend_url);
            let name = topic.tls.server_name.as_deref().unwrap_or_else(|| host(&address));
            add(
                format!("certificate of {}", topic.backend_url),
                shown_by(&address, name),
            );
        }
    }
    found
        .into_iter()
        .filter_map(|(subject, expires)| Some((subject, expires?)))
        .collect()
}

fn finding(subject: &str, seconds: i64) -> Option<Finding> {
    let (kind, cure) = (Kind::Certificate, "renew it");
    if seconds <= 0 {
        return Some(Finding::stops(kind, subject, "it has expired", cure));
    }
    let left = Duration::from_secs(seconds.unsigned_abs());
    (left < SOON).then(|| {
        let hours = Duration::from_secs(left.as_secs() / 3600 * 3600);
        Finding::warns(kind, subject, format!("it expires in {}", format_duration(hours)), cure)
    })
}

fn read(file: impl AsRef<str>) -> Vec<u8> {
    // Err: it is named where it is used.
    std::fs::read(file.as_ref()).unwrap_or_default()
}

/// A chain is as good as the certificate in it that expires first.
fn own(pem: &[u8]) -> Option<i64> {
    expiries(pem).into_iter().min()
}

/// The same of a keystore (PKCS#12). One that its password does not open is refused by librdkafka, which is named.
fn kept(keystore: &[u8], password: &str) -> Option<i64> {
    let opened = Pkcs12::from_der(keystore).ok()?.parse2(password).ok()?;
    let chain = opened.ca.into_iter().flatten();
    let expiries = opened.cert.into_iter().chain(chain);
    expiries
        .filter_map(|certificate| seconds_until(certificate.not_after()))
        .min()
}

/// Of several authorities one is enough.
fn trusted(pem: &[u8]) -> Option<i64> {
    expiries(pem).into_iter().max()
}

fn expiries(pem: &[u8]) -> Vec<i64> {
    let all = X509::stack_from_pem(pem).unwrap_or_default();
    all.iter()
        .filter_map(|certificate| seconds_until(certificate.not_after()))
        .collect()
}

fn seconds_until(time: &Asn1TimeRef) -> Option<i64> {
    let left = Asn1Time::days_from_now(0).ok()?.diff(time).ok()?;
    Some(i64::from(left.days) * 24 * 3600 + i64::from(left.secs))
}

/// When the certificate of a server expires; `None`: it cannot be reached, which is named elsewhere.
fn shown_by(address: &str, name: &str) -> Option<i64> {
    let resolved = address.to_socket_addrs().ok()?;
    let stream = resolved
        .into_iter()
        .find_map(|to| TcpStream::connect_timeout(&to, TIMEOUT).ok())?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    let mut builder = SslConnector::builder(SslMethod::tls()).ok()?;
    // Only its dates are looked at, and nothing is sent.
    builder.set_verify(SslVerifyMode::NONE);
    let mut configuration = builder.build().configure().ok()?;
    configuration.set_verify_hostname(false);
    let stream = configuration.connect(name, stream).ok()?;
    seconds_until(stream.ssl().peer_certificate()?.not_after())
}

fn address(url: &BackendUrl) -> String {
    let has_port = url
        .authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match has_port {
        true => url.authority.clone(),
        false => format!("{}:{HTTPS_PORT}", url.authority),
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
fn host(address: &str) -> &str {
    let host = address.trim().rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::{PKey, Private};

    use super::*;
    use crate::cli::connect::finding::Severity;
    use crate::settings::{self, Mode};

    const DAY: i64 = 24 * 3600;

    fn certificate(days: u32) -> (PKey<Private>, X509) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(days).unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        (key, builder.build())
    }

    #[test]
    fn certificates_are_found_in_each_property_that_may_hold_one() {
        let dir = std::env::temp_dir().join(format!("khp-certificates-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let file = dir.join(name);
            std::fs::write(&file, bytes).unwrap();
            file.to_str().unwrap().to_owned()
        };
        let pem = |days| String::from_utf8(certificate(days).1.to_pem().unwrap()).unwrap();
        let (key, own) = certificate(2);
        let mut keystore = Pkcs12::builder();
        let keystore = keystore.pkey(&key).cert(&own).build2("s3cret").unwrap();
        let keystore = file("keystore.p12", &keystore.to_der().unwrap());
        let (certificate_file, ca, oidc_ca) = (
            file("cert.pem", pem(3).as_bytes()),
            file("ca.pem", pem(4).as_bytes()),
            file("oidc.pem", pem(5).as_bytes()),
        );
        let found = |properties: &[(&str, &str)]| {
            let variable = |(name, value): &(&str, &str)| {
                let name = format!("KHP__KAFKA__PROPERTIES__{}", name.replace('.', "_").to_uppercase());
                (name, (*value).to_owned())
            };
            let env: BTreeMap<String, String> = properties.iter().map(variable).collect();
            let loaded = settings::load(Mode::Proxy, &[], &env).unwrap();
            let days = |(subject, seconds): (String, i64)| (subject, (seconds + DAY / 2) / DAY);
            certificates(&loaded.settings).into_iter().map(days).collect::<Vec<_>>()
        };
        let pem = (pem(6), pem(7));
        let named = |name: &str, days| (format!("certificate {name}"), days);
        assert_eq!(
            found(&[
                ("ssl.keystore.location", &keystore),
                ("ssl.keystore.password", "s3cret"),
                ("ssl.ca.location", &ca),
                // Of a token endpoint.
                ("https.ca.location", &oidc_ca),
                ("sasl.oauthbearer.method", "oidc"),
                ("sasl.oauthbearer.token.endpoint.url", "https://issuer/token"),
                ("sasl.oauthbearer.client.id", "khp"),
                ("sasl.oauthbearer.client.secret", "s3cret"),
            ]),
            [named(&keystore, 2), named(&ca, 4), named(&oidc_ca, 5)]
        );
        assert_eq!(
            found(&[("ssl.certificate.location", &certificate_file), ("ssl.ca.pem", &pem.0)]),
            [named(&certificate_file, 3), named("ssl.ca.pem", 6)]
        );
        assert_eq!(
            found(&[("ssl.certificate.pem", &pem.1)]),
            [named("ssl.certificate.pem", 7)]
        );
        // What its password does not open is librdkafka's to refuse.
        assert_eq!(
            found(&[("ssl.keystore.location", &keystore), ("ssl.keystore.password", "other")]),
            []
        );
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_certificate_near_its_end_warns_and_one_past_it_stops() {
        let day = 24 * 3600;
        assert_eq!(finding("c", 15 * day), None);
        let soon = finding("c", 2 * day + 30).unwrap();
        assert_eq!(
            (soon.severity, soon.problem.as_str()),
            (Severity::Warns, "it expires in 2days")
        );
        assert_eq!(finding("c", 0).unwrap().severity, Severity::Stops);
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(host("[::1]:9092"), "::1");
        assert_eq!(host("kafka:9092"), "kafka");
        let url = |authority: &str| BackendUrl {
            authority: authority.into(),
            ..BackendUrl::default()
        };
        assert_eq!(address(&url("orders")), "orders:443");
        assert_eq!(address(&url("orders:8443")), "orders:8443");
        assert_eq!(address(&url("[::1]")), "[::1]:443");
    }
}
