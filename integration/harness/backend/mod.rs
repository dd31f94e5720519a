//! A backend that answers as the test's closure decides, and keeps each request as it arrived.

/// What a backend does with a request.
mod answer;
/// A request as the backend received it.
mod received;
/// The backend's side of its connections.
mod serve;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use self::answer::Answer;
pub use self::received::Received;
use self::serve::{Shared, listen};
use super::kafka::free_port;
use super::wait::PATIENCE;

/// The URL of a backend on which nobody listens.
pub fn unreachable_url() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

/// A listening backend. It has a thread of its own, so that it answers while the test's thread waits. Dropped, it has closed its port and
/// its connections.
pub struct Backend {
    address: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    /// Listens on a free port and answers as `script` decides.
    pub async fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", script).await
    }

    /// Listens on this address, which must be free.
    pub async fn start_on(address: &str, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared::new(Arc::new(script)));
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, address_of) = oneshot::channel();
        let (address, of_thread) = (address.to_owned(), shared.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind(address).await.expect("a free port");
                let address = listener.local_addr().expect("a bound listener has an address");
                bound.send(address).expect("the test waits for the address");
                tokio::select! {
                    () = listen(listener, of_thread) => {}
                    _ = stopped => {}
                }
            });
        });
        Backend {
            address: address_of.await.expect("the backend listens").to_string(),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Answers every request with `Answer::echo`.
    pub async fn echo() -> Self {
        Self::start(Answer::echo).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port` where it listens.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Answers as `script` decides from now on.
    pub fn answer_with(&self, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        self.shared.script.send_replace(Arc::new(script));
    }

    /// The requests that have come so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// How many requests have come so far.
    pub fn count(&self) -> usize {
        self.shared.received.borrow().len()
    }

    /// The last request that came.
    pub fn last(&self) -> Received {
        self.shared
            .received
            .borrow()
            .last()
            .cloned()
            .expect("the backend was called")
    }

    /// How many requests with this body have come so far. Tests tell requests apart by their bodies.
    pub fn calls_with_body(&self, body: &str) -> usize {
        self.shared
            .received
            .borrow()
            .iter()
            .filter(|received| received.body == body.as_bytes())
            .count()
    }

    /// The requests whose caller left without an answer, each with the number of calls that had come by then.
    pub fn left(&self) -> Vec<(Received, usize)> {
        self.shared.left.borrow().clone()
    }

    /// The highest number of requests that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_under_way.load(Ordering::Relaxed)
    }

    /// Waits until this many requests have come.
    pub async fn wait_for_calls(&self, count: usize) {
        let mut received = self.shared.received.subscribe();
        let there = tokio::time::timeout(PATIENCE, received.wait_for(|all| all.len() >= count))
            .await
            .map(drop);
        assert!(
            there.is_ok(),
            "{} of {count} calls within {PATIENCE:?}",
            self.shared.received.borrow().len()
        );
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
