//! What tests of malformed records share.

use std::time::{Duration, Instant};

use super::client::{Connection, Request, Response};
use super::records::{Header, Reader, Record};
use super::service::Service;

/// The size of a large record, in bytes: more than our own producers write.
pub const LARGE: usize = 4 << 20;
/// The limit of a topic that takes a `LARGE` record, in bytes.
pub const LARGE_LIMIT: usize = 6 << 20;

/// A request whose client waits, and its record.
pub struct Waiting {
    client: Connection,
    pub record: Record,
}

impl Waiting {
    /// Sends a request and reads its record, the next one of `requests`.
    pub async fn start(proxy: &Service, requests: &Reader) -> Self {
        Waiting {
            client: proxy.leave_waiting(&Request::post("/", "x")).await,
            record: requests.next().await,
        }
    }

    /// Asserts that the client gets this error at once after `sent`. `what` describes the record.
    pub async fn assert_problem(self, sent: Instant, status: u16, code: &str, what: &str) {
        println!("{what}");
        self.answer().await.assert_problem(status, code);
        assert!(sent.elapsed() < Duration::from_secs(15), "{what}: {:?}", sent.elapsed());
    }

    /// The answer that the client gets.
    pub async fn answer(mut self) -> Response {
        self.client.read_response(false).await.expect("an answer")
    }
}

/// Ten thousand headers.
pub fn many_headers() -> Vec<(String, Vec<u8>)> {
    (0..10_000)
        .map(|number| (format!("x-{number}"), b"1".to_vec()))
        .collect()
}

/// Headers as `produce` takes them.
pub fn borrowed(headers: &[(String, Vec<u8>)]) -> Vec<Header<'_>> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect()
}
