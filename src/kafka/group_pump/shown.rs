//! What a pump lets others see of its partitions.

use std::time::{Duration, Instant};

use super::Pump;

/// How old what is shown may be.
const EVERY: Duration = Duration::from_secs(1);
/// The same while the first fetch of a partition is not answered: once records wait, it no longer tells where we stand.
const AT_FIRST: Duration = Duration::from_millis(50);

impl Pump<'_> {
    /// Shows what lies before the consumer, where that is due.
    pub(super) fn show(&mut self) {
        let now = Instant::now();
        if now < self.show_at {
            return;
        }
        let paused = self.handle.is_paused();
        let backlogs = self.partitions.iter_mut().map(|(&number, partition)| {
            let stands_still = paused || !partition.has_room(self.plan.window);
            partition.backlog(number, &self.consumer, stands_still)
        });
        let backlogs: Vec<_> = backlogs.collect();
        let all_known = backlogs.iter().all(|backlog| backlog.next.is_some());
        self.show_at = now + if all_known { EVERY } else { AT_FIRST };
        self.handle.status().set_backlogs(backlogs);
    }
}
