//! The calls that were cancelled a moment ago: what they had sent by then still comes, and is no reason to cancel them again. What comes
//! later is one: the cancel was lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::CorrelationId;
use crate::wire::stream::StreamId;

/// How many are kept. One that is forgotten is cancelled once more, which does no harm.
const KEPT: usize = 256;
/// A call that heard its cancel has ended by then, and all that it sent was read.
const HEEDED_WITHIN: Duration = Duration::from_secs(3);

/// Those of which pieces may come, and those of which none can.
#[derive(Default)]
pub struct Strays {
    /// The latest of them; at the back those that were cancelled last.
    cancelled: VecDeque<(CorrelationId, StreamId, Instant)>,
    /// Calls without credit, which send nothing by which a lost cancel is found; with the control topic that they listen to, and when they
    /// were cancelled.
    silent: VecDeque<(Arc<str>, CorrelationId, StreamId, Instant)>,
}

impl Strays {
    /// Whether a call is to be cancelled. Counts as cancelled then, or as one that ends by itself.
    pub fn is_due(&mut self, id: CorrelationId, call: StreamId, now: Instant) -> bool {
        let known = self.cancelled.iter().position(|stray| (stray.0, stray.1) == (id, call));
        if let Some(at) = known {
            if now.saturating_duration_since(self.cancelled[at].2) < HEEDED_WITHIN {
                return false;
            }
            self.cancelled.remove(at);
        } else if self.cancelled.len() == KEPT {
            self.cancelled.pop_front();
        }
        self.cancelled.push_back((id, call, now));
        true
    }

    /// A call that has no credit is cancelled, and will be once more.
    pub fn say_again(&mut self, topic: Arc<str>, id: CorrelationId, call: StreamId, now: Instant) {
        let is_known = self.silent.iter().any(|silent| (silent.1, silent.2) == (id, call));
        if !is_known && self.silent.len() < KEPT {
            self.silent.push_back((topic, id, call, now));
        }
    }

    /// The calls that are to be cancelled once more now.
    pub fn said_again(&mut self, now: Instant) -> Vec<(Arc<str>, CorrelationId, StreamId)> {
        let is_due = |since: Instant| now.saturating_duration_since(since) >= HEEDED_WITHIN;
        let due = self.silent.iter().take_while(|silent| is_due(silent.3)).count();
        let due = self.silent.drain(..due);
        due.map(|(topic, id, call, _)| (topic, id, call)).collect()
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
        assert_eq!(strays.cancelled.len(), KEPT);
    }

    #[test]
    fn a_call_without_credit_is_cancelled_once_more() {
        let (mut strays, start, topic) = (Strays::default(), Instant::now(), Arc::<str>::from("orders-control"));
        let (id, call) = (CorrelationId::new(7), StreamId::new());
        strays.say_again(topic.clone(), id, call, start);
        strays.say_again(topic.clone(), id, call, start);
        assert_eq!(strays.said_again(start + HEEDED_WITHIN / 2), []);
        assert_eq!(strays.said_again(start + HEEDED_WITHIN), [(topic.clone(), id, call)]);
        assert_eq!(strays.said_again(start + 2 * HEEDED_WITHIN), [], "once");
        for _ in 0..2 * KEPT {
            strays.say_again(topic.clone(), id, StreamId::new(), start);
        }
        assert_eq!(strays.silent.len(), KEPT);
    }
}
