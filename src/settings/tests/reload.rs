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
