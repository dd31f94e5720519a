//! How much memory the clients of a proxy, and the streamed answers of a processor, may take at worst: what their bounds add up to.

use std::fmt;

use crate::processor::stream::pieces::MOST_UNACKED;
use crate::proxy::connection::h2::CONNECTION_WINDOW;
use crate::settings::Settings;
use crate::wire::stream::MAX_PIECE;

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
    /// How many, and the bytes that each may hold.
    streams: (u64, u64),
}

/// What a proxy's bounds add up to.
pub fn worst_case(settings: &Settings) -> WorstCase {
    let proxy = &settings.proxy;
    let streams = !proxy.streamed_topics().is_empty();
    WorstCase {
        bodies: proxy.max_pending_bytes as u64,
        connections: proxy.max_connections as u64,
        connection: PARSER + BESIDES + proxy.tls.as_ref().map_or(0, |_| u64::from(CONNECTION_WINDOW)),
        streams: (
            if streams { settings.max_streams as u64 } else { 0 },
            proxy.stream_window as u64,
        ),
    }
}

/// What the streamed answers of a processor may take.
pub struct Streams {
    most: u64,
    /// Bytes of each that may be on their way: what requesters of these settings allow.
    window: u64,
}

/// What a processor's bounds add up to, where requesters have the same `stream_window`.
pub fn streams(settings: &Settings) -> Streams {
    Streams {
        most: settings.max_streams as u64,
        window: settings.proxy.stream_window.min(MOST_UNACKED) as u64,
    }
}

impl fmt::Display for Streams {
    /// A YAML comment, as below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (each, kib) = (self.window + MAX_PIECE as u64, |bytes: u64| bytes >> 10);
        writeln!(
            f,
            "# memory of streamed answers, at worst: {} MiB = {} streams (max_streams) x ({} KiB of the window and {} KiB of the next \
             piece)",
            self.most.saturating_mul(each).div_ceil(MIB),
            self.most,
            kib(self.window),
            kib(MAX_PIECE as u64),
        )
    }
}

impl fmt::Display for WorstCase {
    /// A YAML comment, so that what `check` prints can still be loaded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bodies, connections) = (self.bodies.div_ceil(MIB), self.connections);
        let buffers = connections.saturating_mul(self.connection).div_ceil(MIB);
        let (streams, window) = self.streams;
        let streamed = streams.saturating_mul(window).div_ceil(MIB);
        writeln!(
            f,
            "# memory of clients, at worst: {} MiB = {bodies} MiB of bodies and answers (max_pending_bytes) + {buffers} MiB of buffers \
             ({connections} connections, max_connections, x {} KiB) + {streamed} MiB of streams ({streams} streams, max_streams, x {} KiB, \
             stream_window)",
            bodies.saturating_add(buffers).saturating_add(streamed),
            self.connection >> 10,
            window.div_ceil(1 << 10)
        )
    }
}
