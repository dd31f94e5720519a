//! The calls that were cancelled a moment ago: what they had sent by then still comes, and is no reason to cancel them again. What comes
//! later is one: the cancel was lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::CorrelationId;
use crate::wire::stream::StreamId;

/// How many are kept. One that is forgotten is cancelled once more, which does no harm.
const KEPT: usize = 256;
/// A call that heard its cancel has ended by then, and all that it sent was read.
const HEEDED_WITHIN: Duration = Duration::from_secs(3);

/// The latest of them; at the back those that were cancelled last.
#[derive(Default)]
pub struct Strays(VecDeque<(CorrelationId, StreamId, Instant)>);

impl Strays {
    /// Whether a call is to be cancelled. Counts as cancelled then, or as one that ends by itself.
    pub fn is_due(&mut self, id: CorrelationId, call: StreamId, now: Instant) -> bool {
        let known = self.0.iter().position(|stray| (stray.0, stray.1) == (id, call));
        if let Some(at) = known {
            if now.saturating_duration_since(self.0[at].2) < HEEDED_WITHIN {
                return false;
            }
            self.0.remove(at);
        } else if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((id, call, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_due_again_after_a_while_and_the_oldest_is_forgotten() {
        let (mut strays, start) = (Strays::default(), Instant::now());
        let (id, call) = (CorrelationId::new(7), StreamId::new());
        assert!(strays.is_due(id, call, start) && !strays.is_due(id, call, start));
        assert!(
            strays.is_due(id, StreamId::new(), start),
            "a second call of the same request"
        );
        let just_before = start + HEEDED_WITHIN - Duration::from_millis(1);
        assert!(!strays.is_due(id, call, just_before));
        // It still sends: the cancel was lost.
        let lost = start + HEEDED_WITHIN;
        assert!(strays.is_due(id, call, lost) && !strays.is_due(id, call, lost));
        for _ in 0..KEPT {
            strays.is_due(id, StreamId::new(), lost);
        }
        assert!(strays.is_due(id, call, lost));
        assert_eq!(strays.0.len(), KEPT);
    }
}
