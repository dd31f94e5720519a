//! What a reload changes, and what it cannot.

use super::*;

fn change(mode: Mode, old: &str, new: &str) -> Result<Change, SettingsError> {
    loaded(mode, new, &[]).replacing(&loaded(mode, old, &[]))
}

#[test]
fn what_is_live_is_applied_and_what_is_not_is_named_and_stays() {
    let change = change(
        Mode::Proxy,
        "{max_pending: 10, max_connections: 5, kafka: {properties: {sasl.password: a}}}",
        "{max_pending: 20, max_connections: 6, kafka: {properties: {sasl.password: b}}, log: {level: debug}}",
    )
    .unwrap();
    // What is computed of a setting changes with it.
    assert_eq!(change.applied, ["log.level", "max_pending", "max_pending_per_topic"]);
    assert_eq!(
        change.needs_restart,
        ["kafka.properties.sasl.password", "max_connections"]
    );
    let next = &change.next.settings;
    assert_eq!((next.proxy.max_pending, next.proxy.max_connections), (20, 5));
    assert_eq!(next.kafka.properties["sasl.password"], "a");
}

/// Tokens of an OpenID Connect provider; of these properties, those of the provider are live.
fn with_tokens(secret: &str, other: &str) -> String {
    format!(
        "{{kafka: {{properties: {{sasl.mechanism: OAUTHBEARER, sasl.oauthbearer.method: oidc, sasl.oauthbearer.client.id: a, \
         sasl.oauthbearer.client.secret: {secret}, sasl.oauthbearer.token.endpoint.url: 'https://127.0.0.1:1/t'{other}}}}}}}"
    )
}

#[test]
fn a_property_that_is_live_is_applied_beside_one_that_is_not() {
    let old = with_tokens("first", ", fetch.max.bytes: 2000000");
    let change = change(Mode::Proxy, &old, &with_tokens("second", ", linger.ms: 1")).unwrap();
    assert_eq!(change.applied, ["kafka.properties.sasl.oauthbearer.client.secret"]);
    assert_eq!(
        change.needs_restart,
        ["kafka.properties.fetch.max.bytes", "kafka.properties.linger.ms"]
    );
    let next = &change.next.settings.kafka.properties;
    assert_eq!(next["sasl.oauthbearer.client.secret"], "second");
    assert_eq!(next["fetch.max.bytes"], "2000000");
    assert!(!next.contains_key("linger.ms"), "{next:?}");
}

#[test]
fn what_needs_a_restart_needs_it_until_there_is_one() {
    let file = TempFile::new("", "first");
    let yaml = |timeout: u32| {
        let path = file.0.display();
        format!("{{default_timeout: {timeout}, kafka: {{properties: {{sasl.password: '${{file:{path}}}'}}}}}}")
    };
    let mut running = loaded(Mode::Proxy, &yaml(30), &[]);
    std::fs::write(&file.0, "second").unwrap();
    for round in 0..3 {
        let change = loaded(Mode::Proxy, &yaml(40), &[]).replacing(&running).unwrap();
        // The second is computed of the timeout.
        assert_eq!(
            change.needs_restart,
            ["drain_timeout", "kafka.properties.sasl.password"],
            "round {round}"
        );
        running = change.next;
    }
}

#[test]
fn a_shutdown_goes_on_as_long_as_it_was_said_to_at_the_start() {
    let first = loaded(Mode::Proxy, "{default_timeout: 30, pre_stop: 2}", &[]);
    let mut running = first.clone();
    // Both are longer than what runs; then what is written needs more than there is, and then the first one is back.
    for (timeout, pre_stop, needs_restart) in [
        (90, 50, &["drain_timeout", "pre_stop"][..]),
        (20, 2, &["drain_timeout"][..]),
        (30, 2, &[][..]),
    ] {
        let yaml = format!("{{default_timeout: {timeout}, pre_stop: {pre_stop}}}");
        let change = loaded(Mode::Proxy, &yaml, &[]).replacing(&running).unwrap();
        assert_eq!(change.needs_restart, needs_restart, "{timeout}");
        running = change.next;
        let settings = &running.settings;
        assert_eq!(settings.proxy.default_timeout, Duration::from_secs(timeout));
        assert_eq!(settings.drain_timeout, first.settings.drain_timeout, "{timeout}");
        assert_eq!(settings.pre_stop, first.settings.pre_stop, "{timeout}");
        // And so it is shown.
        let shown = running
            .entries()
            .iter()
            .find(|entry| entry.name == "drain_timeout")
            .unwrap();
        assert_eq!((&*shown.value, &shown.source), ("40", &None), "{timeout}");
    }
}

#[test]
fn what_is_taken_over_from_a_setting_that_stays_is_no_change() {
    let yaml = |timeout: &str| format!("{{async_timeout: {timeout}, routes: [{{path: /a}}]}}");
    let change = change(Mode::Proxy, &yaml("1h"), &yaml("2h")).unwrap();
    assert_eq!(change.applied, Vec::<String>::new());
    assert_eq!(change.needs_restart, ["async_timeout"]);
}

#[test]
fn warnings_of_what_needs_a_restart_are_said() {
    let new = "{max_connections: 7, wire_format: json, reply_partition: 3}";
    let change = change(Mode::Proxy, "wire_format: json", new).unwrap();
    assert_eq!(change.needs_restart, ["max_connections", "reply_partition"]);
    let said = change.next.warnings.iter();
    let of_partition: Vec<_> = said
        .filter(|line| line.starts_with("reply_partition has no effect"))
        .collect();
    assert_eq!(of_partition.len(), 1, "{:?}", change.next.warnings);
}

#[test]
fn nothing_changes_where_only_notes_and_quotes_do() {
    let change = change(
        Mode::Proxy,
        "default_timeout: 30",
        "{default_timeout: '30', x-note: mine}",
    )
    .unwrap();
    assert_eq!((change.applied.len(), change.needs_restart.len()), (0, 0));
}

#[test]
fn what_does_not_fit_without_a_restart_is_refused_whole() {
    // The limit is that of a running producer.
    let smaller = "{max_pending_bytes: 600000, kafka: {properties: {message.max.bytes: 500000}}}";
    let refused = change(Mode::Proxy, "max_pending: 10", smaller).unwrap_err();
    assert!(refused.to_string().contains("max_pending_bytes: "), "{refused}");
}

#[test]
fn a_secret_in_a_file_counts_and_is_not_shown() {
    let file = TempFile::new("", "first-secret-of-the-file-32-characters");
    let yaml = format!(
        "sealing: {{keys: [{{id: a, secret: '${{file:{}}}'}}]}}",
        file.0.display()
    );
    let before = loaded(Mode::Proxy, &yaml, &[]);
    std::fs::write(&file.0, "other-secret-of-the-file-32-characters").unwrap();
    let change = loaded(Mode::Proxy, &yaml, &[]).replacing(&before).unwrap();
    assert_eq!(change.applied, ["sealing.keys"]);
    assert_eq!(change.next.digest(), before.digest(), "secrets are no part of it");
    assert!(!format!("{change:?}").contains("other-secret"), "{change:?}");
}

#[test]
fn a_digest_is_that_of_the_settings() {
    let digest = |yaml: &str| loaded(Mode::Proxy, yaml, &[]).digest();
    assert_eq!(digest("max_pending: 7"), digest("{max_pending: 7, x-note: 1}"));
    assert_ne!(digest("max_pending: 7"), digest("max_pending: 8"));
}
