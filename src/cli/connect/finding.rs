//! One thing that is wrong.

use serde::Serialize;

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Some or all requests cannot be carried.
    Stops,
    /// Requests are carried, as long as nothing else goes wrong.
    Warns,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Settings,
    Kafka,
    MissingTopic,
    MissingRight,
    RecordSize,
    Replication,
    Compaction,
    Retention,
    Partitions,
    Backend,
    Certificate,
}

/// One thing that is wrong. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub kind: Kind,
    /// What it is wrong with: `topic orders-requests`.
    pub subject: String,
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

impl Finding {
    /// Something that stops traffic.
    pub fn stops(kind: Kind, subject: &str, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(Severity::Stops, kind, subject, problem.into(), cure.into())
    }

    /// Something that does not, or not yet.
    pub fn warns(kind: Kind, subject: &str, problem: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(Severity::Warns, kind, subject, problem.into(), cure.into())
    }

    fn new(severity: Severity, kind: Kind, subject: &str, problem: String, cure: String) -> Self {
        Finding {
            severity,
            kind,
            subject: subject.to_owned(),
            problem,
            cure,
        }
    }
}
