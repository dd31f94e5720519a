//! Answers that are fetched later: of the proxy, or of a route.

use std::time::Duration;

use crate::settings::model::management::Secret;

/// Whether requests are accepted with 202, and their answers fetched later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Async {
    /// Never: each client waits for its answer.
    #[default]
    Off,
    /// Where a client prefers it.
    Allowed,
    /// Always.
    Required,
}

impl Async {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Async::Off => "off",
            Async::Allowed => "allowed",
            Async::Required => "required",
        }
    }
}

/// How the answers of one route are fetched later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Later {
    pub mode: Async,
    /// From a request's arrival until it is not worked on any more.
    pub timeout: Duration,
    /// Where the results go.
    pub results_topic: String,
    /// How long a result can be fetched.
    pub retention: Duration,
}

impl Later {
    /// The results topic of a response topic that names none.
    pub fn default_results_topic(response_topic: &str) -> String {
        format!("{response_topic}-results")
    }
}

/// How results are found, for all routes.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// The path before a result's id, with slashes around it.
    pub path: String,
    /// Results that one process knows.
    pub max: usize,
    /// What ids are signed with; `None`: they are not.
    pub key: Option<Secret>,
}
