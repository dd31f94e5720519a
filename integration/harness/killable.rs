//! A service that is killed again and again, and comes back where its clients know it.

use super::kafka::free_port;
use super::service::Service;
use super::spec::Spec;

/// The present process of a service.
pub struct Killable {
    spec: Spec,
    service: Service,
}

impl Killable {
    /// Starts it, and waits until it is ready.
    pub async fn start(spec: Spec) -> Self {
        let service = spec.clone().start().await;
        Killable { spec, service }
    }

    /// So many proxies, and their addresses: a client knows ports, whatever process listens there.
    pub async fn proxies(spec: &Spec, count: usize) -> (Vec<Self>, Vec<String>) {
        let (mut proxies, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let port = free_port();
            proxies.push(Self::start(spec.clone().set("port", port)).await);
            addresses.push(format!("127.0.0.1:{port}"));
        }
        (proxies, addresses)
    }

    /// Ends the process by a signal; another one takes its place, and its port. Not waited for until it is ready.
    pub async fn replace(&mut self, signal: &str) {
        self.service.signal(signal);
        self.service.wait_exit().await;
        self.service = self.spec.launch().await;
    }
}
