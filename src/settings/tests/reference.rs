//! `config/` agrees with the code.

use super::keys::Key;
use super::*;
use crate::process::tls::ClientAuth;
use crate::process::tls::test_files::TestFiles;

/// The reference with its "#key:" lines, and the blocks under "#topics:" and "#routes:", made settings.
pub fn uncommented() -> String {
    let mut in_items = false;
    let is_empty_list = |line: &str| matches!(line, "topics: []" | "routes: []" | "  keys: []");
    let lines = REFERENCE.lines().filter(|line| !is_empty_list(line)).map(|line| {
        // A list in a section is indented, its comment sign too.
        let indent = if line.starts_with("  #") { "  " } else { "" };
        let rest = &line[indent.len()..];
        in_items = matches!(rest, "#topics:" | "#routes:" | "#keys:") || in_items && rest.starts_with("#  ");
        // A key of a section, `#  cert:`.
        let in_section = line.strip_prefix("#  ").and_then(|rest| rest.split_once(':'));
        let in_section = in_section.is_some_and(|(name, _)| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        let is_key = |rest: &str| rest.starts_with('#') && rest[1..].starts_with(|c: char| c.is_ascii_lowercase());
        if in_items || in_section || is_key(rest) {
            format!("{indent}{}", &rest[1..])
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_documents_every_key() {
    let text = uncommented();
    let documented = |key: &Key, indent: &str| {
        let (section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        let indent = if section.is_empty() { indent } else { "  " };
        let line = |line: &str| {
            line.strip_prefix(indent)
                .is_some_and(|rest| rest.starts_with(&format!("{name}:")))
        };
        let section_line = format!("{section}:");
        text.lines()
            .skip_while(|line| !section.is_empty() && *line != section_line)
            .any(line)
    };
    for key in keys::top::ALL {
        assert!(documented(key, ""), "{}", key.name);
        if let Some(name) = key.env {
            assert!(REFERENCE.contains(&format!("Environment: {name}")), "{name}");
        }
    }
    for (list, known) in [("topics", keys::topic::ALL), ("routes", keys::route::ALL)] {
        let items = text.split(&format!("\n{list}:\n")).nth(1).unwrap();
        let items = items.split("\n\n").next().unwrap().replace("  - ", "    ");
        for key in known {
            let (section, indent, name) = match key.name.split_once('.') {
                None => ("", "    ", key.name),
                Some((section, name)) => (section, "      ", name),
            };
            let section_line = format!("    {section}:");
            let mut lines = items
                .lines()
                .skip_while(|line| !section.is_empty() && *line != section_line);
            assert!(
                lines.any(|line| line.starts_with(&format!("{indent}{name}: "))),
                "{list}[].{}",
                key.name
            );
        }
    }
}

#[test]
fn the_reference_shows_the_defaults_it_cannot_set() {
    let token = TempFile::new("", "a-token-of-16-characters");
    let key = TempFile::new("", "0123456789abcdef0123456789abcdef");
    let files = TestFiles::create();
    let text = uncommented()
        .replace("/run/secrets/management-token", token.0.to_str().unwrap())
        .replace("/run/secrets/sealing-key", key.0.to_str().unwrap())
        .replace("/run/secrets/results-key", key.0.to_str().unwrap())
        .replace("/etc/khp/tls.key", files.key.to_str().unwrap())
        .replace("/etc/khp/tls.crt", files.cert.to_str().unwrap())
        .replace("/etc/khp/client-ca.crt", files.cert.to_str().unwrap())
        .replace("http://orders:8080", "https://orders:8080");
    const ONE_TOPIC: &str = "topics: [{request_topic: orders-requests, backend_url: 'https://orders:8080'}]\n";
    let shown = loaded(Mode::All, &text, &[]).settings;
    let defaults = loaded(Mode::All, ONE_TOPIC, &[]).settings;

    assert_eq!(shown.proxy.max_pending_per_topic, defaults.proxy.max_pending_per_topic);
    assert_eq!(shown.drain_timeout, defaults.drain_timeout);
    let mut topic = shown.processor.topics[0].clone();
    assert_eq!(
        (topic.rate_limit.take(), topic.group_instance_id.take()),
        (Some(100.0), Some("processor-0".to_owned()))
    );
    let tls = std::mem::take(&mut topic.tls);
    assert!(tls.ca.is_some() && tls.cert.is_some() && tls.key.is_some() && tls.server_name.is_some() && tls.verify);
    assert_eq!(format!("{topic:?}"), format!("{:?}", defaults.processor.topics[0]));
    let mut route = shown.proxy.routes[0].clone();
    assert!(!std::mem::take(&mut route.methods).is_empty());
    assert!(route.key.take().is_some() && route.strip_prefix.take().is_some() && route.consumer_group.take().is_some());
    let least = loaded(Mode::Proxy, "routes: [{path: '/api/orders/{id}'}]", &[]).settings;
    assert_eq!(format!("{route:?}"), format!("{:?}", least.proxy.routes[0]));
    assert!(shown.proxy.instance_id.is_some() && shown.processor.dead_letter_topic.is_some());
    assert!(shown.management.token.is_some());
    assert!(
        shown
            .proxy
            .tls
            .is_some_and(|tls| tls.client_auth == ClientAuth::Required)
            && defaults.proxy.tls.is_none()
    );
}

#[test]
fn the_examples_are_sound() {
    for (mode, text) in [
        (Mode::Proxy, include_str!("../../../config/proxy.yaml")),
        (Mode::Processor, include_str!("../../../config/processor.yaml")),
    ] {
        assert!(loaded(mode, text, &[]).warnings.is_empty());
    }
}

#[test]
fn the_effective_settings_can_be_loaded_again() {
    let yaml = "
kafka: {bootstrap_servers: 'a:1,b:2', properties: {security.protocol: SSL, ssl.ca.location: '/a b'}}
instance_id: '007'
allowed_topics: ['*', 'a-{b,c}']
default_timeout: 1m
auth: {jwks: 'https://a/jwks', audience: b, client_subjects: ['CN=a,O=b'], methods: [jwt], required_claims: [scope=a b]}
routes:
  - {path: '/a/{id:[0-9]{2}}', methods: [GET, PURGE], key: 'header:X-Id', strip_prefix: /a/, timeout: 250ms, auth: [none]}
  - {path: '/{tail}*', request_topic: x, response_topic: y, key: 'query:a b'}
topics:
  - {request_topic: a, backend_url: 'http://a:1/x', rate_limit: 0.5}
  - {request_topic: b, backend_url: 'https://b', host: preserve, allowed_reply_topics: [], retry: {on: [500], methods: []}}
  - {request_topic: c, backend_url: 'https://c', breaker: {mode: pause}, ordering: key, delivery: at-most-once}
";
    for text in ["topics: [{request_topic: a, backend_url: 'http://a'}]", yaml] {
        let first = loaded(Mode::All, text, &[("MANAGEMENT_PORT", "9000")]);
        let second = loaded(Mode::All, first.to_yaml(), &[]);
        assert_eq!(format!("{:?}", first.settings), format!("{:?}", second.settings));
        assert_eq!(first.to_yaml(), second.to_yaml());
    }
    assert!(
        load(Mode::Proxy, &[], &Env::new())
            .unwrap()
            .to_yaml()
            .contains("\ntopics: []\n")
    );
}

#[test]
fn the_effective_settings_name_every_key_and_no_secret() {
    let files = TestFiles::create();
    let (cert, key) = (files.cert.display(), files.key.display());
    let yaml = format!(
        "tls: {{cert: '{cert}', key: '{key}', client_ca: '{cert}'}}\n\
         auth: {{jwks: 'https://a/b', principal_header: x-principal}}\n\
         {ONE_TOPIC}management_token: t0ken-t0ken-t0ken\ninstance_id: a\ndead_letter_topic: d\n\
         consumer_group: g\nrate_limit: 5\nresults_key: r3sults-r3sults-r3sults-r3sults-r3sults\nmax_connections_per_client: 9\ncreate_topics: {{retention: 2d}}\n\
         sealing: {{keys: [{{id: a, secret: s3al-s3al-s3al-s3al-s3al-s3al-s3al-s3al}}]}}\n\
         kafka: {{properties: {{sasl.password: p4ss, sasl.username: us3r, security.protocol: SSL}}}}"
    );
    let loaded = loaded(Mode::All, &yaml, &[]);
    let text = loaded.to_yaml();
    for secret in ["t0ken", "p4ss", "us3r", "s3al", "r3sults"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains("management_token: \"***\""), "{text}");
    let sealing = "sealing:\n  require: true\n  keys:\n    - id: a\n      secret: \"***\"\n";
    assert!(text.contains(sealing), "{text}");
    assert!(
        text.contains("properties: {sasl.password: \"***\", sasl.username: \"***\", security.protocol: SSL}"),
        "{text}"
    );
    for key in keys::top::ALL {
        let name = key.name.rsplit('.').next().unwrap();
        assert!(text.contains(&format!("{name}:")), "{name}\n{text}");
    }
}
