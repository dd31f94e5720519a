//! The calls whose answers nobody reads and that know it, or will: pieces that were under way then are no reason to cancel them again.

use std::collections::VecDeque;

use crate::wire::CorrelationId;
use crate::wire::stream::StreamId;

/// How many are kept. One that is forgotten is cancelled once more, which does no harm.
const KEPT: usize = 256;

/// The latest of them.
#[derive(Default)]
pub struct Strays(VecDeque<(CorrelationId, StreamId)>);

impl Strays {
    /// Notes a call. False: it was noted already.
    pub fn note(&mut self, id: CorrelationId, call: StreamId) -> bool {
        if self.0.contains(&(id, call)) {
            return false;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((id, call));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_new_once_and_the_oldest_is_forgotten() {
        let mut strays = Strays::default();
        let (id, call) = (CorrelationId::new(7), StreamId::new());
        assert!(strays.note(id, call) && !strays.note(id, call));
        assert!(strays.note(id, StreamId::new()), "a second call of the same request");
        for _ in 0..KEPT {
            strays.note(id, StreamId::new());
        }
        assert!(strays.note(id, call));
        assert_eq!(strays.0.len(), KEPT);
    }
}
