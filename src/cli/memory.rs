//! How much memory the clients of a proxy may take at worst: what its bounds add up to.

use std::fmt;

use crate::proxy::connection::h2::CONNECTION_WINDOW;
use crate::settings::Proxy;

/// What the HTTP parser reads ahead of one connection before it waits, be it a head or a body that nobody takes.
const PARSER: u64 = 128 << 10;
/// What a connection takes besides: buffers for writing and its task. Of 600 it was measured to be less.
const BESIDES: u64 = 32 << 10;
const MIB: u64 = 1 << 20;

/// The parts of the sum.
pub struct WorstCase {
    bodies: u64,
    connections: u64,
    /// Bytes of one.
    connection: u64,
}

/// What a proxy's bounds add up to.
pub fn worst_case(proxy: &Proxy) -> WorstCase {
    WorstCase {
        bodies: proxy.max_pending_bytes as u64,
        connections: proxy.max_connections as u64,
        connection: PARSER + BESIDES + proxy.tls.as_ref().map_or(0, |_| u64::from(CONNECTION_WINDOW)),
    }
}

impl fmt::Display for WorstCase {
    /// A YAML comment, so that what `check` prints can still be loaded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bodies, connections) = (self.bodies.div_ceil(MIB), self.connections);
        let buffers = connections.saturating_mul(self.connection).div_ceil(MIB);
        writeln!(
            f,
            "# memory of clients, at worst: {} MiB = {bodies} MiB of bodies and answers (max_pending_bytes) + {buffers} MiB of buffers \
             ({connections} connections, max_connections, x {} KiB)",
            bodies.saturating_add(buffers),
            self.connection >> 10
        )
    }
}
