//! A request as the backend received it.

use std::ops::Deref;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::message::{BodyLength, Message, body_length, field};

/// A request as it arrived. Its headers and its body are those of its message: `received.body`.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query, or whatever was sent in their place, byte for byte.
    pub target: String,
    message: Message,
}

impl Deref for Received {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Received {
    /// Reads one request; `None` at the end of the connection and for anything that is not a request.
    pub(super) async fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let request_line = read_line(stream).await?;
        let mut words = std::str::from_utf8(&request_line).ok()?.splitn(3, ' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let line = read_line(stream).await?;
            if line.is_empty() {
                break;
            }
            headers.push(field(&line)?);
        }
        let body = match body_length(&headers) {
            BodyLength::Chunked => read_chunks(stream).await?,
            BodyLength::Sized(length) => read_exact(stream, length.parse().ok()?).await?,
            BodyLength::Unknown => Vec::new(),
        };
        Some(Received {
            method,
            target,
            message: Message { headers, body },
        })
    }
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
        body.extend(read_exact(stream, size).await?);
        read_line(stream).await?;
        if size == 0 {
            return Some(body);
        }
    }
}

async fn read_exact(stream: &mut BufReader<TcpStream>, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok()?;
    line.ends_with(b"\n").then(|| line.trim_ascii_end().to_vec())
}
