//! The pages about alerts and panels: they explain each of them, and no other.

use std::collections::BTreeSet;

use regex_lite::Regex;
use serde_json::Value;

use super::files::page;

fn names(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

#[test]
fn every_alert_is_explained_and_leads_there() {
    let (rules, page) = (
        page("deploy/prometheus/actix-khp.rules.yaml").text,
        page("docs/alerts.md"),
    );
    let alerts = names(r"(?m)^ +- alert: ([A-Za-z]+)$", &rules);
    assert!(alerts.len() > 10, "{alerts:?}");
    assert_eq!(alerts, names(r"(?m)^## ([A-Za-z]+)$", &page.text));
    let led_to = names(r"(?m)^ +runbook: docs/alerts\.md#([a-z]+)$", &rules);
    let anchors: BTreeSet<String> = alerts.iter().map(|alert| alert.to_lowercase()).collect();
    assert_eq!(led_to, anchors);
}

#[test]
fn every_panel_is_explained() {
    let dashboard: Value = serde_json::from_str(&page("deploy/grafana/actix-khp.json").text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let titles: BTreeSet<&str> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
    assert_eq!(titles.len(), panels.len());
    let rows = page("docs/panels.md").rows("The dashboard");
    let explained: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(titles, explained);
}
