//! A process that stands still (SIGSTOP, a paused machine) finds its timers late: they say nothing of others then.

use std::time::Duration;

use tokio::time::Instant;

/// A timer that is later than this shows a process that stood still.
pub const STANDSTILL: Duration = Duration::from_secs(1);
/// What had come while the process stood still is read well within this.
const AFTER_STANDSTILL: Duration = Duration::from_millis(500);

/// Waits for an answer, no longer than `limit`. `None`: it did not come. While this process stood still the answer may have come; then a late
/// timer is no verdict, and there is a moment to read it.
pub async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
    let end = Instant::now().checked_add(limit);
    let mut answer = std::pin::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(limit, &mut answer).await {
        return Some(answer);
    }
    let late = end.map_or(Duration::ZERO, |end| end.elapsed());
    match late > STANDSTILL {
        true => tokio::time::timeout(AFTER_STANDSTILL, answer).await.ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a call of ten seconds finds whose answer comes only after the clock went on by so much.
    async fn call_across(standstill: Duration) -> Option<u8> {
        let (answer, receiver) = tokio::sync::oneshot::channel();
        let call = tokio::spawn(within(Duration::from_secs(10), async { receiver.await.unwrap() }));
        tokio::task::yield_now().await;
        // The timer fires before anybody could read what had come meanwhile.
        tokio::time::advance(standstill).await;
        tokio::task::yield_now().await;
        // Err: nobody waits for it any more.
        let _ = answer.send(7);
        call.await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_late_is_no_verdict() {
        assert_eq!(call_across(Duration::from_secs(17)).await, Some(7));
        assert_eq!(
            call_across(Duration::from_millis(10_100)).await,
            None,
            "in time, so it is one"
        );
    }
}
