//! A request for a stream, and its answer as it comes.

use std::io;
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::role::framing::{self, Body};

/// An answer with status 200, as it comes.
pub struct Answer {
    stream: TcpStream,
    buffer: BytesMut,
    body: Body,
}

impl Answer {
    /// Asks for `/stream/{path}`, and waits for the head.
    pub async fn get(target: SocketAddr, path: &str) -> io::Result<Self> {
        let mut stream = connect(target).await?;
        request(&mut stream, target, path).await?;
        Answer::of(stream).await
    }

    /// Waits for the head.
    pub async fn of(mut stream: TcpStream) -> io::Result<Self> {
        let mut buffer = BytesMut::new();
        let head = framing::read_head(&mut stream, &mut buffer).await?;
        let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
        if head.get(8..12) != Some(b" 200") {
            return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
        }
        let body = Body::of(&head);
        Ok(Answer { stream, buffer, body })
    }

    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.body.next(&mut self.stream, &mut self.buffer).await
    }

    /// The connection, whose answer is read no further.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The rest of the body as text.
    pub async fn text(mut self) -> io::Result<String> {
        let mut text = Vec::new();
        while let Some(bytes) = self.next().await? {
            text.extend_from_slice(&bytes);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

pub async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks for `/stream/{path}`.
pub async fn request(stream: &mut TcpStream, target: SocketAddr, path: &str) -> io::Result<()> {
    let head = format!("GET /stream/{path} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}
