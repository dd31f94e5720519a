//! As what an instance sees a request.

/// As what an instance sees a request. A process of both roles sees each request twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Proxy,
    Processor,
}

impl Role {
    /// What its metrics begin with, and its name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Proxy => "proxy",
            Role::Processor => "processor",
        }
    }
}
