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
pub struct Connectors(Arc<ArcSwap<Vec<(BackendTls, Connector)>>>);

/// What connectors there are to be, their files read.
pub struct NextConnectors(Vec<(BackendTls, Https)>);

impl Connectors {
    /// # Errors
    /// A file cannot be used, or TLS cannot be set up; the text names the file.
    pub fn new<'a>(wanted: impl IntoIterator<Item = &'a BackendTls>) -> Result<Self, String> {
        let connectors = Connectors(Arc::default());
        connectors.replace(NextConnectors::read(wanted)?);
        Ok(connectors)
    }

    /// The connector of a topic that wants this.
    ///
    /// # Errors
    /// None was made for it.
    pub fn of(&self, tls: &BackendTls) -> Result<Connector, String> {
        let all = self.0.load();
        let found = all.iter().find(|(known, _)| known == tls);
        found
            .map(|(_, connector)| connector.clone())
            .ok_or_else(|| "no connector was made for this topic".to_owned())
    }

    /// From now on there are these. New connections of those that there were use what was read.
    pub fn replace(&self, next: NextConnectors) {
        let before = self.0.load_full();
        let connector = |(tls, https): (BackendTls, Https)| {
            let known = before.iter().find(|(known, _)| *known == tls);
            let connector = match known {
                Some((_, connector)) => {
                    connector.0.store(Arc::new(https));
                    connector.clone()
                }
                None => Connector(Arc::new(ArcSwap::from_pointee(https))),
            };
            (tls, connector)
        };
        self.0.store(Arc::new(next.0.into_iter().map(connector).collect()));
    }
}

impl NextConnectors {
    /// Reads the files of these. Blocks.
    ///
    /// # Errors
    /// A file cannot be used, or TLS cannot be set up; the text names the file.
    pub fn read<'a>(wanted: impl IntoIterator<Item = &'a BackendTls>) -> Result<Self, String> {
        let mut next: Vec<(BackendTls, Https)> = Vec::new();
        for tls in wanted {
            if !next.iter().any(|(known, _)| known == tls) {
                next.push((tls.clone(), https::connector(tls)?));
            }
        }
        Ok(NextConnectors(next))
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
        assert_eq!(connectors.0.load().len(), 2);
        let of = |tls| connectors.of(tls).unwrap().0;
        assert!(Arc::ptr_eq(&of(&plain), &of(&plain)));
        assert!(!Arc::ptr_eq(&of(&plain), &of(&named)));
    }
}
