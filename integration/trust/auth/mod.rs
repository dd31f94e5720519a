//! Who may ask, and what proves it.

/// Keys that the configuration knows, and certificates of clients.
mod keys;
/// Tokens, and the keys that they are signed with.
mod tokens;
