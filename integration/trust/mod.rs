//! Who is trusted with what: clients, writers of records, backends, and whoever reaches the management port.

/// TLS to backends.
mod backend_tls;
/// Who may ask the management API, and what it costs to guess its token.
mod management_access;
/// Secrets that are read again while the process runs.
mod secrets;
/// TLS on the proxy's port, and HTTP/2.
mod tls;
