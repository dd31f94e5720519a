//! Names that no other test, run or process uses: all tests share one broker.

/// A unique name. The random part is at the front, so that a pattern such as `*-requests` still matches.
pub fn unique(name: &str) -> String {
    format!("t{:08x}-{name}", rand::random::<u32>())
}

/// The topics and the consumer group of one backend.
#[derive(Debug, Clone)]
pub struct Topics {
    pub request: String,
    pub response: String,
    pub group: String,
}

impl Topics {
    /// `…-NAME-requests`, `…-NAME-responses` and `…-NAME-processors`.
    pub fn unique(name: &str) -> Self {
        let name = unique(name);
        let of = |kind: &str| format!("{name}-{kind}");
        Topics {
            request: of("requests"),
            response: of("responses"),
            group: of("processors"),
        }
    }
}
