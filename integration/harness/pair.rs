//! A proxy, a processor and their backend, on topics of their own.

use super::Topics;
use super::app::{App, processor, proxy};
use super::backend::Backend;
use super::client::{Request, Response};

pub struct Pair {
    pub backend: Backend,
    pub proxy: App,
    pub processor: App,
}

impl Pair {
    /// The processor never repeats a call, so that what the backend does is what the client sees.
    pub async fn start(backend: Backend) -> Self {
        let topics = Topics::unique("things");
        let processor = processor(&[(&topics, &backend.url())])
            .set_topics("max_retries", 0)
            .set_topics("host", "preserve")
            .start()
            .await;
        let proxy = proxy(&topics).start().await;
        Pair {
            backend,
            proxy,
            processor,
        }
    }

    pub async fn request(&self, request: Request) -> Response {
        self.proxy.request(request).await
    }

    pub async fn wait_until_idle(&self) {
        self.proxy.wait_until_idle().await;
        self.processor.wait_until_idle().await;
    }
}
