//! Whom the service trusts, and with what.

/// TLS on the proxy's port, and HTTP/2.
mod tls;
