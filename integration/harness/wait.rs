//! Waiting for a state instead of for a time.

use std::time::{Duration, Instant};

/// How long a test waits for what should come at once: generous, as the machine may be busy with the other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Probes until the answer is `Ok`, and returns it with the time it took; fails with the last `Err` when `limit` has
/// passed.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> (T, Duration) {
    let started = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return (value, started.elapsed()),
            Err(now) => assert!(
                started.elapsed() < limit,
                "not within {limit:?}: {what}; last seen: {now}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// `within` the usual patience.
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(PATIENCE, what, probe).await.0
}
