//! A proxy, a processor and their backend, on topics of their own.

use super::backend::Backend;
use super::client::{Request, Response};
use super::names::Topics;
use super::service::Service;
use super::spec::{Spec, processor, proxy};

/// In the order in which they end: a service is idle only while its backend answers.
pub struct Pair {
    pub proxy: Service,
    _processor: Service,
    pub backend: Backend,
}

impl Pair {
    /// The processor never repeats a call, so that the client sees what the backend does.
    pub async fn start(backend: Backend) -> Self {
        Self::start_with(backend, |proxy| proxy).await
    }

    /// The same, with a proxy that is configured further.
    pub async fn start_with(backend: Backend, configure: impl FnOnce(Spec) -> Spec) -> Self {
        let topics = Topics::unique("things");
        let processor = processor(&[(&topics, &backend.url())])
            .set_topics("max_retries", 0)
            .set_topics("host", "preserve")
            .start()
            .await;
        Pair {
            proxy: configure(proxy(&topics)).start().await,
            _processor: processor,
            backend,
        }
    }

    pub async fn request(&self, request: Request) -> Response {
        self.proxy.request(request).await
    }
}
