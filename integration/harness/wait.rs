//! Waiting for a state instead of for a time.

use std::time::{Duration, Instant};

/// How long a test waits for what usually comes at once. It is generous, because the machine is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Whether tests run at full length, which takes minutes: `KHP_LONG=1`. Otherwise each test runs a short version of itself.
pub fn long() -> bool {
    std::env::var_os("KHP_LONG").is_some_and(|value| value == "1")
}

/// Probes until the answer is `Ok`, and returns it with the time that it took. Fails with the last `Err` after `limit`.
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

/// Runs blocking work on another thread: a test has one thread, on which its load runs.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
