//! How long a restart waits.

use std::time::Duration;

/// The wait before restart number `restarts` (1 = the first): 0.1 s, 0.2, 0.4, … up to 10 s. The first is short, since one bad record
/// is no reason to keep a topic down; the last keeps a broken actor from eating a core.
pub fn restart_wait(restarts: u32) -> Duration {
    let doublings = restarts.saturating_sub(1).min(16);
    (Duration::from_millis(100) * 2u32.pow(doublings)).min(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let waits: Vec<u128> = (0..10).map(|restarts| restart_wait(restarts).as_millis()).collect();
        assert_eq!(waits, [100, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(restart_wait(u32::MAX), Duration::from_secs(10));
    }
}
