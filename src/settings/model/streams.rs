//! Answers in several records, and bodies beside their requests: of the proxy, of a route, or of a topic.

use std::time::Duration;

/// Whether answers may come in several records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Streaming {
    /// Never.
    Off,
    /// Where the control topic can be used.
    #[default]
    Auto,
    /// As `Auto`, and without the control topic the process is not ready.
    Required,
}

impl Streaming {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Streaming::Off => "off",
            Streaming::Auto => "auto",
            Streaming::Required => "required",
        }
    }
}

/// How answers of one request topic are streamed, and where its large bodies go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Streams {
    pub streaming: Streaming,
    /// Where requesters steer the answers that are streamed to them.
    pub control_topic: String,
    /// Where bodies go that are larger than a record.
    pub bodies_topic: String,
    /// How long a stream may be silent; zero = as long as it likes.
    pub idle_timeout: Duration,
    /// How long a stream may take in all; zero = as long as it likes.
    pub max_duration: Duration,
}

impl Streams {
    /// The control topic of a request topic that names none.
    pub fn default_control_topic(request_topic: &str) -> String {
        format!("{request_topic}-control")
    }

    /// The topic of bodies of a request topic that names none.
    pub fn default_bodies_topic(request_topic: &str) -> String {
        format!("{request_topic}-bodies")
    }
}
