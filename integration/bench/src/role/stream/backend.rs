//! The backend's side of streams. A target names what is wanted, and its query how much of it:
//!
//! | Target | Answer |
//! |---|---|
//! | `/stream/events?rate=R&size=S` | R events of S bytes a second, as Server-Sent Events without an end |
//! | `/stream/silent` | nothing at all |
//! | `/stream/down?size=S` | a body of S bytes |
//! | `/stream/up` | what the request's body hashes to |
//! | `/stream/begun?call=N` | once the call with that number has come |
//! | `/stream/closed?call=N` | once its connection is closed: when that was, in ns |

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use openssl::sha::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::clock;
use super::content::{Content, hex};
use super::events::event;
use crate::role::framing::Body;

/// The calls that said a number of their own.
#[derive(Default)]
pub struct Calls {
    /// When each was closed; `None`: it is open.
    closed: RefCell<HashMap<u64, Option<Duration>>>,
    changed: Notify,
}

impl Calls {
    fn set(&self, call: u64, closed: Option<Duration>) {
        self.closed.borrow_mut().insert(call, closed);
        self.changed.notify_waiters();
    }

    async fn find<T>(&self, call: u64, find: impl Fn(&Option<Duration>) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = self.closed.borrow().get(&call).and_then(&find) {
                return found;
            }
            changed.await;
        }
    }
}

/// What a request for a stream asks for.
pub struct Target {
    name: String,
    query: HashMap<String, u64>,
}

impl Target {
    fn number(&self, name: &str) -> u64 {
        self.query.get(name).copied().unwrap_or(0)
    }
}

/// `None`: the request is not for a stream.
pub fn target(head: &[u8]) -> Option<Target> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let target = std::str::from_utf8(line)
        .ok()?
        .split(' ')
        .nth(1)?
        .strip_prefix("/stream/")?;
    let (name, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Some(Target {
        name: name.to_owned(),
        query: pairs
            .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
            .collect(),
    })
}

/// Answers one request.
pub async fn serve(
    target: &Target,
    head: &[u8],
    stream: &mut TcpStream,
    buffer: &mut BytesMut,
    calls: &Calls,
) -> io::Result<()> {
    let call = target.number("call");
    match &*target.name {
        "events" | "silent" => {
            calls.set(call, None);
            let ended = match &*target.name {
                "events" => events(target, stream, buffer).await,
                _ => closed(stream, buffer).await,
            };
            calls.set(call, Some(clock::now()));
            // The connection is of no more use.
            ended.and(Err(io::ErrorKind::ConnectionAborted.into()))
        }
        "down" => down(target.number("size"), stream).await,
        "up" => {
            let (mut body, mut hash) = (Body::of(head), Sha256::new());
            while let Some(part) = body.next(stream, buffer).await? {
                hash.update(&part);
            }
            whole(stream, &hex(hash)).await
        }
        "begun" => {
            calls.find(call, |_| Some(())).await;
            whole(stream, "").await
        }
        "closed" => {
            let at = calls.find(call, |closed| *closed).await;
            whole(stream, &at.as_nanos().to_string()).await
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

async fn whole(stream: &mut TcpStream, body: &str) -> io::Result<()> {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await
}

async fn down(size: u64, stream: &mut TcpStream) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut content = Content::new(size);
    loop {
        match content.next() {
            [] => return Ok(()),
            bytes => stream.write_all(bytes).await?,
        }
    }
}

/// Writes events until the connection is closed.
async fn events(target: &Target, stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(HEAD).await?;
    let pace = Duration::from_secs_f64(1.0 / target.number("rate").max(1) as f64);
    let size = target.number("size") as usize;
    let mut due = Instant::now();
    for number in 0.. {
        let is_late = due <= Instant::now();
        tokio::select! {
            () = sleep_until(due) => {}
            ended = closed(stream, buffer) => return ended,
        }
        // One that could not be written in time counts from when it was due.
        let late = if is_late { due.elapsed() } else { Duration::ZERO };
        let event = event(number, clock::now() - late, size);
        let mut chunk = format!("{:x}\r\n", event.len()).into_bytes();
        chunk.extend_from_slice(&event);
        chunk.extend_from_slice(b"\r\n");
        stream.write_all(&chunk).await?;
        due += pace;
    }
    Ok(())
}

/// Waits until the other side has closed the connection.
async fn closed(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    while stream.read_buf(buffer).await? > 0 {}
    Ok(())
}
