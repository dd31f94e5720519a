//! TLS to backends. Topics that want the same share one context: the system's certificates alone are over a MiB.

use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use hyper::Uri;
use tower_service::Service;

use crate::process::https::{self, Https};
use crate::settings::BackendTls;

/// The connectors of a process, one for each way of TLS. Clones share them.
#[derive(Clone)]
pub struct Connectors(Arc<[(BackendTls, Connector)]>);

impl Connectors {
    /// # Errors
    /// A file cannot be used, or TLS cannot be set up; the text names the file.
    pub fn new<'a>(wanted: impl IntoIterator<Item = &'a BackendTls>) -> Result<Self, String> {
        let mut connectors: Vec<(BackendTls, Connector)> = Vec::new();
        for tls in wanted {
            if !connectors.iter().any(|(known, _)| known == tls) {
                connectors.push((tls.clone(), Connector::new(tls)?));
            }
        }
        Ok(Connectors(connectors.into()))
    }

    /// The connector of a topic that wants this.
    pub fn of(&self, tls: &BackendTls) -> Result<Connector, String> {
        let found = self.0.iter().find(|(known, _)| known == tls);
        found
            .map(|(_, connector)| connector.clone())
            .ok_or_else(|| "no connector was made for this topic".to_owned())
    }

    /// Reads the files again: new connections use what is in them now. A connector whose files cannot be used stays as it is. Blocks.
    pub fn read_again(&self) {
        for (tls, connector) in self.0.iter().filter(|(tls, _)| tls.ca.is_some() || tls.cert.is_some()) {
            match https::connector(tls) {
                Ok(https) => connector.0.store(Arc::new(https)),
                Err(error) => tracing::error!(error, "TLS files of a backend cannot be used: the old ones stay"),
            }
        }
    }
}

/// Opens connections to backends. Clones share one TLS context.
#[derive(Clone)]
pub struct Connector(Arc<ArcSwap<Https>>);

impl Connector {
    /// # Errors
    /// A file cannot be used, or TLS cannot be set up.
    pub fn new(tls: &BackendTls) -> Result<Self, String> {
        Ok(Connector(Arc::new(ArcSwap::from_pointee(https::connector(tls)?))))
    }
}

impl Service<Uri> for Connector {
    type Response = <Https as Service<Uri>>::Response;
    type Error = <Https as Service<Uri>>::Error;
    type Future = <Https as Service<Uri>>::Future;

    /// TCP and the system's resolver are always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Https::clone(&self.0.load()).call(uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_settings_share_one_context_and_others_do_not() {
        let (plain, named) = (
            BackendTls::default(),
            BackendTls {
                server_name: Some("orders".into()),
                ..BackendTls::default()
            },
        );
        let connectors = Connectors::new([&plain, &named, &plain, &named]).unwrap();
        assert_eq!(connectors.0.len(), 2);
        let of = |tls| connectors.of(tls).unwrap().0;
        assert!(Arc::ptr_eq(&of(&plain), &of(&plain)));
        assert!(!Arc::ptr_eq(&of(&plain), &of(&named)));
    }
}
