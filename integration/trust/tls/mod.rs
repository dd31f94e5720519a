//! TLS on the proxy's port.

/// What one client may take.
mod bounds;
/// Certificates that clients show.
mod client_certificates;
/// Clients of other languages.
mod clients;
/// HTTP/2, and what bounds it.
mod h2;
/// Handshakes that fail, and many of them.
mod handshakes;
/// HTTP/1.1 over TLS.
mod http1;
/// Certificates that change while the process runs.
mod reload;

use crate::harness::backend::Backend;
use crate::harness::pair::Pair;
use crate::harness::spec::Spec;
use crate::harness::tls::{Authority, Identity};

/// TLS with this certificate, and management on a port of its own.
fn with_tls(spec: Spec, identity: &Identity) -> Spec {
    spec.set("management_port", 1)
        .set("tls.cert", identity.cert.to_str().expect("UTF-8"))
        .set("tls.key", identity.key.to_str().expect("UTF-8"))
}

/// A proxy that speaks TLS, a processor and an echo backend.
async fn start(authority: &Authority, configure: impl FnOnce(Spec) -> Spec) -> Pair {
    let identity = authority.issue("localhost");
    Pair::start_with(Backend::echo().await, |spec| configure(with_tls(spec, &identity))).await
}

/// `https://localhost:PORT`.
fn url(pair: &Pair) -> String {
    pair.proxy.address().replace("127.0.0.1", "https://localhost")
}
