//! Another configuration, read and checked whole and made ready beside what runs. Nothing changes by that, so it can be broken off.

use crate::processor::topics;
use crate::proxy::reload::{self as proxy, Reloader};
use crate::settings::{Change, Fault, Loaded};

/// Both roles' parts of a configuration that can be taken over.
pub struct Prepared {
    pub change: Change,
    pub proxy: Option<proxy::Prepared>,
    pub topics: Option<topics::Prepared>,
}

type TopicsOrFaults = Result<topics::Prepared, Vec<Fault>>;

/// Reads the configuration, and, where topics are worked on, what they need. Blocks.
fn read(running: &Loaded, has_topics: bool) -> Result<(Change, Option<TopicsOrFaults>), Vec<Fault>> {
    let loaded = running.sources.load().map_err(|error| error.faults)?;
    let change = loaded.replacing(running).map_err(|error| error.faults)?;
    let topics = has_topics.then(|| topics::Prepared::read(&change.next.settings));
    Ok((change, topics))
}

/// Reads the configuration again, with the files that it refers to. Changes nothing, so it can be broken off. Files are read on a thread of
/// their own: one of them may be a pipe.
///
/// # Errors
/// What cannot be taken over.
pub async fn prepare(running: &Loaded, reloader: Option<&Reloader>, has_topics: bool) -> Result<Prepared, Vec<Fault>> {
    let running = running.clone();
    let read = tokio::task::spawn_blocking(move || read(&running, has_topics));
    let panicked = |error: tokio::task::JoinError| {
        vec![Fault {
            key: "settings".into(),
            problem: format!("could not be read: {error}"),
            origin: None,
        }]
    };
    let (change, topics) = read.await.map_err(panicked)??;
    let proxy = match reloader {
        Some(reloader) => Some(reloader.prepare(&change.next.settings).await),
        None => None,
    };
    match (proxy.transpose(), topics.transpose()) {
        (Ok(proxy), Ok(topics)) => Ok(Prepared { change, proxy, topics }),
        (proxy, topics) => {
            let faults = proxy.err().into_iter().chain(topics.err());
            Err(faults.flatten().collect())
        }
    }
}
