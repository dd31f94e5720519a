//! Tells when the files of the configuration have changed: by what is in them, not by their times, since what a cluster mounts is swapped
//! below a link.

use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use tokio::sync::mpsc;

use crate::process::periodic;
use crate::settings::{Loaded, Sources, Values};

/// How often they are read.
const EVERY: Duration = Duration::from_secs(2);

/// Files that are watched, or are not.
pub struct Files {
    changes: mpsc::Receiver<()>,
    /// The watching ends with it.
    _watched: Arc<Sources>,
}

impl Files {
    /// Comes when they have changed and stand still. Never, where they are not watched. Cancel safe.
    pub async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Watches the files of a configuration, if it asks for that.
pub fn watch(running: &Loaded) -> Files {
    let sources = Arc::new(running.sources.clone());
    // One that waits stands for all.
    let (changed, changes) = mpsc::channel(1);
    let files = Files {
        changes,
        _watched: sources.clone(),
    };
    if !running.settings.watch_files {
        return files;
    }
    let seen = Seen::of(running);
    let mut watched = Watched {
        seen: seen.clone(),
        told: seen,
    };
    let turn = move |sources: &Sources| {
        if watched.turn(sources) {
            // Err: one waits already, or the process ends.
            let _ = changed.try_send(());
        }
    };
    if let Err(error) = periodic::while_alive("khp-config", EVERY, &sources, turn) {
        tracing::error!(%error, "the configuration is not read again when its files change");
    }
    files
}

/// What the files say.
#[derive(Clone, PartialEq)]
enum Seen {
    /// The settings, and a digest of the files that they name.
    Settings(Values, Vec<u8>),
    /// What is wrong.
    Faults(String),
}

impl Seen {
    fn now(sources: &Sources) -> Self {
        match sources.load() {
            Ok(loaded) => Seen::of(&loaded),
            Err(error) => Seen::Faults(error.to_string()),
        }
    }

    /// The proxy's certificates and the keys of tokens have a watch of their own.
    fn of(loaded: &Loaded) -> Self {
        let topics = loaded.settings.processor.topics.iter();
        let files = topics.flat_map(|topic| [&topic.tls.ca, &topic.tls.cert, &topic.tls.key]);
        // A file that cannot be read is as one that is empty.
        let contents = files.flatten().map(|path| std::fs::read(path).unwrap_or_default());
        let digests: Vec<u8> = contents
            .flat_map(|content| digest(&SHA256, &content).as_ref().to_vec())
            .collect();
        Seen::Settings(loaded.values().clone(), digests)
    }
}

struct Watched {
    /// At the last turn.
    seen: Seen,
    /// When a change was last told.
    told: Seen,
}

impl Watched {
    /// True once they have changed, and stood still for a turn: a file and a secret that it names are not written at once.
    fn turn(&mut self, sources: &Sources) -> bool {
        let now = Seen::now(sources);
        let stands_still = now == self.seen;
        self.seen = now;
        let is_news = stands_still && self.seen != self.told;
        if is_news {
            self.told = self.seen.clone();
        }
        is_news
    }
}
