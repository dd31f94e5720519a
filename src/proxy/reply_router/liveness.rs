//! Which processors that stream are gone. Pure; time is given.
//!
//! A processor shows every five seconds that it lives. One that was not heard for `SILENCE` is a suspect. It is dead if then all was read of
//! the partition it writes to, and it is still not heard. Time in which Kafka or this process was not well does not count.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wire::beside::InstanceId;

/// Four signs of life in a row are missing.
const SILENCE: Duration = Duration::from_secs(20);
/// What was read when the partition's end was reached is handled by then.
const HANDLED: Duration = Duration::from_millis(1500);

/// The processors that stream to this proxy.
#[derive(Default)]
pub struct Processors(HashMap<InstanceId, Processor>);

struct Processor {
    heard: Instant,
    streams: usize,
    /// Where its signs of life come: topic and partition of its last stream.
    at: (Arc<str>, i32),
    suspicion: Suspicion,
}

enum Suspicion {
    None,
    /// It is being asked whether all was read.
    Asked,
    /// All was read.
    Read(Instant),
    /// It is gone, and that was said. What it streamed may still be on its way to a slow client.
    Gone,
}

/// Where a suspect's signs of life would come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    pub instance: InstanceId,
    pub topic: Arc<str>,
    pub partition: i32,
}

impl Processors {
    /// A processor begins a stream there.
    pub fn begin(&mut self, instance: InstanceId, at: (&Arc<str>, i32), now: Instant) {
        let at = (at.0.clone(), at.1);
        let known = self.0.entry(instance).or_insert(Processor {
            heard: now,
            streams: 0,
            at: at.clone(),
            suspicion: Suspicion::None,
        });
        known.streams += 1;
        known.at = at;
        self.heard(instance, now);
    }

    /// One of its streams is over.
    pub fn end(&mut self, instance: InstanceId) {
        if let Some(known) = self.0.get_mut(&instance) {
            known.streams -= 1;
            if known.streams == 0 {
                self.0.remove(&instance);
            }
        }
    }

    /// It shows that it lives. One that does not stream is passed over.
    pub fn heard(&mut self, instance: InstanceId, now: Instant) {
        if let Some(known) = self.0.get_mut(&instance) {
            known.heard = now;
            known.suspicion = Suspicion::None;
        }
    }

    /// Kafka or this process was not well until now. Who is gone stays so until it is heard.
    pub fn excuse(&mut self, now: Instant) {
        for known in self.0.values_mut() {
            if !matches!(known.suspicion, Suspicion::Gone) {
                known.heard = now;
                known.suspicion = Suspicion::None;
            }
        }
    }

    /// The suspects of whom is to be asked whether all was read.
    pub fn suspects(&mut self, now: Instant) -> Vec<Suspect> {
        let mut suspects = Vec::new();
        for (instance, known) in &mut self.0 {
            let is_silent = now.saturating_duration_since(known.heard) >= SILENCE;
            if is_silent && matches!(known.suspicion, Suspicion::None) {
                known.suspicion = Suspicion::Asked;
                suspects.push(Suspect {
                    instance: *instance,
                    topic: known.at.0.clone(),
                    partition: known.at.1,
                });
            }
        }
        suspects
    }

    /// Whether all was read of where a suspect writes.
    pub fn was_read(&mut self, instance: InstanceId, all: bool, now: Instant) {
        if let Some(known) = self.0.get_mut(&instance)
            && matches!(known.suspicion, Suspicion::Asked)
        {
            known.suspicion = match all {
                true => Suspicion::Read(now),
                false => Suspicion::None,
            };
        }
    }

    /// Those that are gone; each once, unless it is heard again.
    pub fn dead(&mut self, now: Instant) -> Vec<InstanceId> {
        let mut dead = Vec::new();
        for (instance, known) in &mut self.0 {
            if matches!(known.suspicion, Suspicion::Read(at) if now.saturating_duration_since(at) >= HANDLED) {
                known.suspicion = Suspicion::Gone;
                dead.push(*instance);
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_dead_once_it_is_silent_and_all_was_read() {
        let (start, id) = (Instant::now(), InstanceId::new());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let (mut processors, topic) = (Processors::default(), Arc::from("orders-responses"));
        processors.begin(id, (&topic, 3), at(0.0));
        processors.heard(InstanceId::new(), at(0.0));
        assert_eq!(processors.suspects(at(19.0)), []);
        let suspect = Suspect {
            instance: id,
            topic: topic.clone(),
            partition: 3,
        };
        assert_eq!(processors.suspects(at(20.0)), std::slice::from_ref(&suspect));
        assert_eq!(processors.suspects(at(21.0)), [], "asked once");
        processors.was_read(id, false, at(22.0));
        assert_eq!(processors.dead(at(29.0)), []);
        assert_eq!(processors.suspects(at(30.0)), std::slice::from_ref(&suspect));
        processors.was_read(id, true, at(31.0));
        assert_eq!(processors.dead(at(32.0)), []);
        assert_eq!(processors.dead(at(32.5)), [id]);
        assert_eq!(processors.dead(at(33.5)), [], "said once");
        processors.excuse(at(33.5));
        assert_eq!(processors.suspects(at(54.0)), [], "nor asked again");
        processors.heard(id, at(54.0));
        assert_eq!(processors.dead(at(60.0)), []);
        assert_eq!(processors.suspects(at(74.0)), [suspect]);
        // Kafka was away meanwhile, and what the question finds then says nothing.
        processors.excuse(at(75.0));
        processors.was_read(id, true, at(75.0));
        assert_eq!(processors.dead(at(80.0)), []);
        processors.begin(id, (&topic, 4), at(80.0));
        processors.end(id);
        processors.end(id);
        assert_eq!(
            (processors.suspects(at(99.0)), processors.dead(at(99.0))),
            (vec![], vec![])
        );
    }
}
