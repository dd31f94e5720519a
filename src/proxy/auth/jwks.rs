//! Where the keys of tokens come from, again and again. Keys that were read once stay good while newer ones cannot be had.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use jsonwebtoken::Algorithm;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::process::file;
use crate::proxy::auth::fetch::fetch;
use crate::proxy::auth::key_set::{KeySet, MAX_JWKS};
use crate::proxy::auth::token;
use crate::proxy::metrics::JwksMetrics;
use crate::settings::{self, JwksSource};

/// Unknown keys have them read again no more often than this.
const BETWEEN: Duration = Duration::from_secs(10);
/// While there are none, or they cannot be had.
const AGAIN: Duration = Duration::from_secs(2);
/// How often a file is read.
const FILE_EVERY: Duration = Duration::from_secs(2);
/// How long a request with an unknown key waits for them.
const WAIT: Duration = Duration::from_secs(3);

/// The keys of now.
#[derive(Clone)]
pub struct Jwks(Arc<State>);

struct State {
    /// `None`: they were never read.
    keys: ArcSwapOption<KeySet>,
    /// An unknown key may have them read again.
    may_ask: AtomicBool,
    /// They are being read, or are about to be.
    is_under_way: AtomicBool,
    asked: Notify,
    /// How often they were tried to be read.
    turns: watch::Sender<u64>,
}

impl Jwks {
    /// Reads the keys, on the thread that calls it, for as long as somebody has this. `None`: none are configured.
    pub fn start(settings: &settings::Auth, metrics: JwksMetrics) -> Option<Self> {
        let source = settings.jwks.clone()?;
        let every = match &source {
            JwksSource::File(_) => FILE_EVERY,
            JwksSource::Url(_) => settings.jwks_refresh,
        };
        let jwks = Jwks(Arc::new(State {
            keys: ArcSwapOption::empty(),
            may_ask: AtomicBool::new(false),
            is_under_way: AtomicBool::new(true),
            asked: Notify::new(),
            turns: watch::Sender::new(0),
        }));
        let algorithms = token::algorithms(settings);
        actix::spawn(refresh(Arc::downgrade(&jwks.0), source, algorithms, every, metrics));
        Some(jwks)
    }

    /// Waits until keys were read, for `limit` at most. False: there are none yet.
    pub async fn are_read(&self, limit: Duration) -> bool {
        let mut turns = self.0.turns.subscribe();
        let read = turns.wait_for(|_| self.current().is_some());
        timeout(limit, read).await.is_ok_and(|read| read.is_ok())
    }

    /// The keys; `None`: they were never read.
    pub fn current(&self) -> Option<Arc<KeySet>> {
        self.0.keys.load_full()
    }

    /// Waits until the keys were tried to be read once more. False at once if that was a moment ago.
    pub async fn refreshed(&self) -> bool {
        let mut turns = self.0.turns.subscribe();
        let before = *turns.borrow_and_update();
        if self.0.may_ask.swap(false, Ordering::AcqRel) {
            self.0.is_under_way.store(true, Ordering::Release);
            self.0.asked.notify_one();
        } else if !self.0.is_under_way.load(Ordering::Acquire) {
            return false;
        }
        let tried = timeout(WAIT, turns.wait_for(|turn| *turn > before)).await;
        tried.is_ok_and(|tried| tried.is_ok())
    }
}

/// Ends once nobody has the keys any more, which it notices at its next turn.
async fn refresh(
    state: Weak<State>,
    source: JwksSource,
    allowed: Vec<Algorithm>,
    every: Duration,
    metrics: JwksMetrics,
) {
    let mut failing = false;
    let mut last: Option<Bytes> = None;
    while let Some(state) = state.upgrade() {
        let began = Instant::now();
        state.is_under_way.store(true, Ordering::Release);
        let read = read(&source).await;
        let changed = read.as_ref().ok() != last.as_ref();
        let keys = read.and_then(|json| Ok((KeySet::parse(&json, &allowed)?, json)));
        metrics.refreshed(keys.is_ok());
        match keys {
            Ok((keys, json)) => {
                if changed || failing {
                    tracing::info!(keys = keys.len(), "keys of tokens read");
                }
                failing = false;
                metrics.keys(keys.len());
                state.keys.store(Some(Arc::new(keys)));
                last = Some(json);
            }
            Err(error) => {
                if !failing {
                    let stale = state.keys.load().is_some();
                    tracing::error!(error, stale, "keys of tokens cannot be read");
                }
                failing = true;
            }
        }
        state.is_under_way.store(false, Ordering::Release);
        state.turns.send_modify(|turn| *turn += 1);
        let next = if failing { AGAIN.min(every) } else { every };
        let asked = async {
            tokio::time::sleep_until(began + BETWEEN).await;
            state.may_ask.store(true, Ordering::Release);
            state.asked.notified().await;
        };
        // Err: nobody asked.
        let _ = timeout(next, asked).await;
        state.may_ask.store(false, Ordering::Release);
    }
}

/// Reads what the source has.
async fn read(source: &JwksSource) -> Result<Bytes, String> {
    match source {
        JwksSource::Url(url) => fetch(url).await,
        JwksSource::File(path) => {
            let path = path.clone();
            // On a thread that may wait for a disk.
            let read = tokio::task::spawn_blocking(move || file::read(&path, MAX_JWKS as u64)).await;
            let content = read.map_err(|error| error.to_string())?;
            content.map(Bytes::from).map_err(|error| error.to_string())
        }
    }
}
