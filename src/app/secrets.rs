//! What SIGHUP replaces: secrets that can change while the process runs. Everything else keeps the value of the start.

use std::collections::BTreeMap;

use crate::kafka::client::{oauth, properties};
use crate::management::board::Board;
use crate::settings::{Settings, Sources};

/// Reads the configuration and the files it refers to again, and replaces what can be replaced. What cannot be read changes nothing. The
/// files are read on a thread of their own: one of them may be a pipe.
pub async fn read_again(sources: &Sources, running: &Settings, board: &Board) {
    let sources = sources.clone();
    let connectors = board.processor.as_ref().map(|processor| processor.connectors.clone());
    let read = move || {
        if let Some(connectors) = connectors {
            connectors.read_again();
        }
        sources.load()
    };
    let loaded = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(error)) => {
            return tracing::error!(event = "reload", %error, "secrets were not read again: the old ones stay");
        }
        Err(error) => {
            return tracing::error!(event = "reload", %error, "secrets were not read again: the old ones stay");
        }
    };
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let read = loaded.settings;
    match (read.management.token, board.access.has_token()) {
        (Some(token), _) => board.access.replace_token(token),
        (None, true) => tracing::warn!("management_token is not set any more: the old one stays until a restart"),
        (None, false) => {}
    }
    if let Some(proxy) = &board.proxy {
        proxy.auth.replace_api_keys(read.proxy.auth.api_keys);
    }
    oauth::replace(&read.kafka.properties);
    let mut changed = changed(&running.kafka.properties, &read.kafka.properties);
    changed.retain(|name| !properties::is_replaceable(name, &running.kafka));
    if !changed.is_empty() {
        tracing::warn!(
            event = "reload",
            changed = changed.join(", "),
            "kafka.properties have changed: that needs a restart"
        );
    }
    tracing::info!(event = "reload", "secrets read again");
}

/// The names whose values differ. No value is told: it may be a secret.
fn changed<'a>(old: &'a BTreeMap<String, String>, new: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    let mut names: Vec<&str> = old.keys().chain(new.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| old.get(*name) != new.get(*name));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_name() {
        let of = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let (old, new) = (
            of(&[("a", "1"), ("b", "2"), ("d", "4")]),
            of(&[("a", "1"), ("b", "3"), ("c", "5")]),
        );
        assert_eq!(changed(&old, &new), ["b", "c", "d"]);
        assert!(changed(&old, &old).is_empty());
    }
}
