//! Whom the service trusts, and with what.

/// Who may ask, and what proves it.
mod auth;
/// TLS on the proxy's port, and HTTP/2.
mod tls;
