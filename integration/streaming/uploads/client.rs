//! A client that makes up a large body while it sends it.

use openssl::sha::Sha256;
use serde_json::Value;

use crate::harness::client::{Connection, Response};
use crate::harness::digest::hex;

/// Bytes that are sent in one go.
const BLOCK: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
}

/// An upload under way.
pub struct Upload {
    pub connection: Connection,
    framing: Framing,
    sent: u64,
    sha: Sha256,
}

impl Upload {
    /// Sends the head of a request with a body of so many bytes.
    pub async fn begin(address: &str, framing: Framing, bytes: u64, fields: &str) -> Self {
        let mut connection = Connection::open(address).await.expect("it takes connections");
        let length = match framing {
            Framing::Length => format!("Content-Length: {bytes}"),
            Framing::Chunked => "Transfer-Encoding: chunked".to_owned(),
        };
        let head = format!("PUT /upload HTTP/1.1\r\nHost: x\r\n{fields}{length}\r\n\r\n");
        connection.send_raw(head.as_bytes()).await.expect("sent");
        Upload {
            connection,
            framing,
            sent: 0,
            sha: Sha256::new(),
        }
    }

    /// Sends so many bytes more.
    ///
    /// # Errors
    /// The proxy has closed the connection.
    pub async fn send(&mut self, bytes: u64) -> std::io::Result<()> {
        let end = self.sent + bytes;
        while self.sent < end {
            let size = (end - self.sent).min(BLOCK as u64) as usize;
            let block = block(self.sent, size);
            self.sha.update(&block);
            self.sent += size as u64;
            match self.framing {
                Framing::Length => self.connection.send_raw(&block).await?,
                Framing::Chunked => {
                    let chunk = [format!("{size:x}\r\n").as_bytes(), &block, b"\r\n"].concat();
                    self.connection.send_raw(&chunk).await?;
                }
            }
        }
        Ok(())
    }

    /// Ends the body; returns the answer, and the digest of what was sent.
    pub async fn finish(mut self) -> (Response, String) {
        if self.framing == Framing::Chunked {
            // Err: it was answered before.
            let _ = self.connection.send_raw(b"0\r\n\r\n").await;
        }
        let answer = self.connection.read_response(false).await.expect("an answer");
        (answer, hex(&self.sha.finish()))
    }
}

/// Sends a whole body; returns the answer, and the digest of what was sent.
pub async fn upload(address: &str, framing: Framing, bytes: u64) -> (Response, String) {
    let mut upload = Upload::begin(address, framing, bytes, "").await;
    // Err: it was answered before.
    let _ = upload.send(bytes).await;
    upload.finish().await
}

/// Asserts that the sink got this body, and that its answer came back.
pub fn assert_arrived(answer: &Response, bytes: u64, sha: &str) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: Value = answer.json();
    assert_eq!(
        (told["bytes"].as_u64(), told["sha256"].as_str()),
        (Some(bytes), Some(sha))
    );
}

/// Bytes that differ from those anywhere else in the body.
pub fn block(at: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    let mut state = at.wrapping_add(0x9e37_79b9_7f4a_7c15);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
