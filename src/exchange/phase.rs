//! What a request's time is divided into.

use std::time::Duration;

use crate::exchange::role::Role;

/// A part of a request's way, as metrics, logs and traces call it. Those of one role follow each other without a gap, but for
/// [`Phase::Queue`], which is before the record came to the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Proxy: from the head to the place among the requests in flight, the body included.
    Admission,
    /// Proxy: from there until librdkafka has the record; a topic that has to open first counts here.
    Produce,
    /// Proxy: from there until the reply is read, and processor: from the outcome until Kafka has the reply.
    Reply,
    /// Proxy: from the answer's head until its last byte is written.
    Write,
    /// Processor: from the record's timestamp until it is taken in. By two clocks: never below zero.
    Queue,
    /// Processor: waiting for its turn, the rate limit, the breaker, a place for its call, and between attempts.
    Permit,
    /// Processor: all attempts together.
    Backend,
}

/// How many there are.
const COUNT: usize = 7;

impl Phase {
    /// Those of a role, in their order.
    pub const fn of(role: Role) -> [Phase; 4] {
        match role {
            Role::Proxy => [Phase::Admission, Phase::Produce, Phase::Reply, Phase::Write],
            Role::Processor => [Phase::Queue, Phase::Permit, Phase::Backend, Phase::Reply],
        }
    }

    /// The label of metrics, and the name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Admission => "admission",
            Phase::Produce => "produce",
            Phase::Reply => "reply",
            Phase::Write => "write",
            Phase::Queue => "queue",
            Phase::Permit => "permit",
            Phase::Backend => "backend",
        }
    }
}

/// How long each phase took. One that a request did not reach took nothing, and is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases([Option<Duration>; COUNT]);

impl Phases {
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    pub fn set(&mut self, phase: Phase, took: Duration) {
        self.0[phase as usize] = Some(took);
    }

    /// Those that a request of this role went through, in their order.
    pub fn of(&self, role: Role) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        let all = Phase::of(role).into_iter();
        all.filter_map(move |phase| Some((phase, self.get(phase)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_phases_that_were_reached_are_there() {
        let mut phases = Phases::default();
        phases.set(Phase::Reply, Duration::from_millis(2));
        phases.set(Phase::Queue, Duration::from_millis(1));
        let of = |role| phases.of(role).map(|(phase, _)| phase.as_str()).collect::<Vec<_>>();
        assert_eq!(of(Role::Processor), ["queue", "reply"]);
        assert_eq!(of(Role::Proxy), ["reply"]);
    }
}
