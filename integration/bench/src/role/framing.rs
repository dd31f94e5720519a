//! As much of HTTP/1.1 as the load and the backend need: messages with a Content-Length on connections that stay open, and bodies that are
//! read as they come.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Far more than the head of any message here, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Room for bytes of a body that are read at once.
const READ: usize = 64 << 10;

/// Reads the whole body of a message that tells its length.
pub async fn read_body(head: &[u8], stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Bytes> {
    let length = content_length(head).unwrap_or(0) as usize;
    while buffer.len() < length {
        buffer.reserve(length - buffer.len());
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buffer.split_to(length).freeze())
}

/// Reads the head of the next message; `None` when the other side has closed the connection. `buffer` keeps the bytes that follow it.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(Some(buffer.split_to(end + 4).freeze()));
        }
        if buffer.len() > MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The length that a head tells.
pub fn content_length(head: &[u8]) -> Option<u64> {
    field(head, b"content-length:")?.parse().ok()
}

/// The value of a field, whose name is lower-case and ends with a colon.
fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a str> {
    head.split(|&byte| byte == b'\n')
        .filter(|line| {
            line.get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        })
        .find_map(|line| Some(std::str::from_utf8(&line[name.len()..]).ok()?.trim()))
}

/// Reads a body as it comes.
pub enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// So many bytes of this chunk are still to come; `None`: before the first chunk.
    Chunked(Option<u64>),
}

impl Body {
    /// The body that follows this head. One without a length and without chunks is empty.
    pub fn of(head: &[u8]) -> Self {
        match field(head, b"transfer-encoding:") {
            Some("chunked") => Body::Chunked(None),
            _ => Body::Length(content_length(head).unwrap_or(0)),
        }
    }

    /// The next bytes; `None` at the end of the body.
    ///
    /// # Errors
    /// The connection ended before the body did, or it is no HTTP.
    pub async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut BytesMut,
    ) -> io::Result<Option<Bytes>> {
        let left = match self {
            Body::Length(left) => left,
            Body::Chunked(left) => {
                if left.is_none_or(|left| left == 0) {
                    // The line end of the chunk before this one.
                    if left.is_some() {
                        read_line(stream, buffer).await?;
                    }
                    let size = read_line(stream, buffer).await?;
                    let size = std::str::from_utf8(&size)
                        .ok()
                        .and_then(|size| u64::from_str_radix(size, 16).ok());
                    *left = Some(size.ok_or(io::ErrorKind::InvalidData)?);
                    if *left == Some(0) {
                        read_line(stream, buffer).await?;
                        *self = Body::Length(0);
                        return Ok(None);
                    }
                }
                left.get_or_insert(0)
            }
        };
        if *left == 0 {
            return Ok(None);
        }
        if buffer.is_empty() {
            read_more(stream, buffer).await?;
        }
        let part = buffer.split_to((*left).min(buffer.len() as u64) as usize).freeze();
        *left -= part.len() as u64;
        Ok(Some(part))
    }
}

/// A line without its end.
async fn read_line(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<Bytes> {
    loop {
        if let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") {
            let line = buffer.split_to(end).freeze();
            drop(buffer.split_to(2));
            return Ok(line);
        }
        read_more(stream, buffer).await?;
    }
}

async fn read_more(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<()> {
    buffer.reserve(READ);
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_however_it_is_framed_and_the_next_message_is_left() {
        for (head, body) in [
            ("content-length: 11", "hello world"),
            ("Transfer-Encoding: chunked", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}next");
            let (mut stream, mut buffer) = (text.as_bytes(), BytesMut::new());
            let head = read_head(&mut stream, &mut buffer).await.unwrap().unwrap();
            let (mut framing, mut got) = (Body::of(&head), Vec::new());
            while let Some(part) = framing.next(&mut stream, &mut buffer).await.unwrap() {
                got.extend_from_slice(&part);
            }
            assert_eq!((&got[..], &buffer[..]), (&b"hello world"[..], &b"next"[..]));
        }
    }
}
