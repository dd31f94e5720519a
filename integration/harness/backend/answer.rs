//! What a backend does with a request.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::received::Received;
use crate::harness::message::{Fields, values, write_field};

/// What a backend does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Respond {
        status: u16,
        headers: Fields,
        body: Vec<u8>,
    },
    /// Sends exactly these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Sends exactly these bytes, which are a whole answer. The connection stays open.
    Wire(Vec<u8>),
    /// Waits this long before it does the other.
    After(Duration, Box<Answer>),
    /// Waits until the gate is open, or its sender is gone, before it does the other.
    Until(watch::Receiver<bool>, Box<Answer>),
    /// Sends nothing until the caller leaves.
    Hang,
    /// Closes the connection without an answer.
    Close,
}

impl Answer {
    /// An answer without headers and without a body.
    pub fn status(status: u16) -> Self {
        Answer::Respond {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A 200 with this body.
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Answer::Respond {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// A 200 with the request's own body.
    pub fn same_body(received: &Received) -> Self {
        Answer::body(received.body.clone())
    }

    /// A 200 that describes the request in JSON: method, target, body (as text).
    pub fn echo(received: &Received) -> Self {
        let echo = json!({ "method": received.method, "target": received.target, "body": received.text() });
        Answer::body(echo.to_string()).header("Content-Type", "application/json")
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let Answer::Respond { headers, .. } = &mut self {
            headers.push((name.into(), value.as_ref().into()));
        }
        self
    }

    pub fn after(self, delay: Duration) -> Self {
        Answer::After(delay, Box::new(self))
    }

    /// Only once the gate is open (or its sender is gone). Until then the call is under way, however slow or quick the machine is.
    pub fn until(self, gate: &watch::Receiver<bool>) -> Self {
        Answer::Until(gate.clone(), Box::new(self))
    }
}

/// The bytes of a response. Content-Length is the body's, unless `headers` has one or the status has no body.
pub(super) fn encode(method: &str, status: u16, headers: &Fields, body: &[u8]) -> Vec<u8> {
    let mut wire = format!("HTTP/1.1 {status} Scripted\r\n").into_bytes();
    for (name, value) in headers {
        write_field(&mut wire, name, value);
    }
    let bodiless = status == 204 || status == 304;
    if !bodiless && values(headers, "content-length").is_empty() {
        write_field(&mut wire, "Content-Length", body.len().to_string().as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    if method != "HEAD" && !bodiless {
        wire.extend_from_slice(body);
    }
    wire
}
