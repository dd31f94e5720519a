//! Which topic carries a request, and on which partition its reply comes back.

/// The topics that requests name, and those of the configuration.
mod named_topics;
/// The topics that a client may not name.
mod refused_topics;
/// A reply reaches its proxy on whichever partition it is written.
mod reply_partitions;
/// The path and the method choose a request's topics.
mod routes;
