//! The management listener, and the secret that guards it.

use std::fmt;
use std::net::IpAddr;

/// The management listener.
#[derive(Debug, Clone)]
pub struct Management {
    /// Where the management listener binds. Default: the loopback, or with a token every address.
    pub bind: IpAddr,
    /// 0 = none: on a proxy `/health` and `/metrics` stay on `proxy.port`.
    pub port: u16,
    /// What a caller must present; without one, nothing can be changed.
    pub token: Option<Secret>,
    /// Globs of host names, in lower case, that a caller without a token may use besides addresses and names of the loopback.
    pub allowed_hosts: Vec<String>,
    /// `host:port` of other instances' management ports, which the console shows, too. A name stands for all of its addresses.
    pub peers: Vec<String>,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be printed.
    pub fn new(value: String) -> Self {
        Secret(value)
    }
    /// The value itself; only for comparing it or handing it to a library.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
