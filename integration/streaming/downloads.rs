//! An answer of any size reaches its client as the backend wrote it, and neither process holds it.

use std::time::Instant;

use openssl::sha::Sha256;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::Client;
use super::uploads::client::{Framing, block};
use super::uploads::{GROWTH, MIB};
use crate::harness::memory::Growth;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::stream_backend::{Call, StreamBackend};
use crate::harness::wait::{PATIENCE, long};

/// Bytes that are written in one go.
const BLOCK: u64 = 64 << 10;

/// Writes an answer with a body of so many bytes; returns its digest.
async fn write(mut call: Call, framing: Framing, size: u64) -> [u8; 32] {
    let mut sha = Sha256::new();
    match framing {
        Framing::Length => call.sized_head(size as usize).await,
        Framing::Chunked => call.chunked_head("application/octet-stream").await,
    }
    for at in (0..size).step_by(BLOCK as usize) {
        let length = BLOCK.min(size - at) as usize;
        let block = block(at, length);
        sha.update(&block);
        match framing {
            Framing::Length => call.send(&block).await,
            Framing::Chunked => {
                let chunk = [format!("{length:x}\r\n").as_bytes(), &block, b"\r\n"].concat();
                call.send(chunk).await;
            }
        }
    }
    if framing == Framing::Chunked {
        call.last_chunk().await;
    }
    sha.finish()
}

/// Asks for `/file`, and reads the answer to the end of its connection; returns the length of its body, and its digest.
async fn read(proxy: &Service) -> (u64, [u8; 32]) {
    let mut client = Client::send(proxy, "GET /file HTTP/1.1\nHost: a\nConnection: close").await;
    client.until("\r\n\r\n").await;
    let head = client.text().find("\r\n\r\n").expect("a head") + 4;
    let is_chunked = client.text()[..head].contains("transfer-encoding: chunked");
    let mut body = Body {
        left: is_chunked.then_some(0),
        size: 0,
        sha: Sha256::new(),
    };
    let mut buffer = client.got.split_off(head);
    loop {
        let used = body.take(&buffer);
        buffer.drain(..used);
        let read = timeout(PATIENCE, client.stream.read_buf(&mut buffer)).await;
        if read.expect("it goes on").expect("it is open") == 0 {
            return (body.size, body.sha.finish());
        }
    }
}

/// What has come of a body.
struct Body {
    /// Bytes of the chunk that are still to come; `None`: there are no chunks.
    left: Option<usize>,
    size: u64,
    sha: Sha256,
}

impl Body {
    /// Takes in what it can; returns how much that was.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            match &mut self.left {
                None => {
                    self.add(rest);
                    used = bytes.len();
                }
                Some(0) => {
                    // The end of the chunk before comes with the size of the next one.
                    let rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
                    let Some(end) = rest.windows(2).position(|end| end == b"\r\n") else {
                        break;
                    };
                    let size = std::str::from_utf8(&rest[..end]).expect("digits");
                    used = bytes.len() - rest.len() + end + 2;
                    match usize::from_str_radix(size, 16).expect("a size") {
                        0 => return bytes.len(),
                        size => self.left = Some(size),
                    }
                }
                Some(left) => {
                    let part = rest.len().min(*left);
                    *left -= part;
                    self.add(&rest[..part]);
                    used += part;
                }
            }
        }
        used
    }

    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha.update(bytes);
    }
}

/// Answers that come at once, from less than a record to more than one.
#[tokio::test]
async fn answers_of_about_a_record_come_whole() {
    let (topics, mut backend) = (Topics::unique("files"), StreamBackend::start().await);
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    for size in (880_000..1_100_000).step_by(30_000) {
        for framing in [Framing::Length, Framing::Chunked] {
            let writing = async { write(backend.next().await, framing, size).await };
            let (written, got) = tokio::join!(writing, read(&proxy));
            assert_eq!(got, (size, written), "{framing:?}");
        }
    }
}

#[tokio::test]
async fn a_hundred_mebibytes_come_whole_and_are_held_by_nobody() {
    let size = if long() { 1024 * MIB } else { 100 * MIB };
    let (topics, mut backend) = (Topics::unique("files"), StreamBackend::start().await);
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics).start().await;
    // What is held once is not counted as growth: clients and threads start with the first answer.
    for (framing, size) in [
        (Framing::Length, 4 * MIB),
        (Framing::Length, size),
        (Framing::Chunked, size),
    ] {
        let grown = [&proxy, &processor].map(Growth::of);
        let began = Instant::now();
        let writing = async { write(backend.next().await, framing, size).await };
        let (written, got) = tokio::join!(writing, read(&proxy));
        assert_eq!(got, (size, written));
        let [proxy, processor] = grown.map(|grown| grown.most());
        println!(
            "{framing:?}: {} MiB in {:?}; proxy grew by {} KiB, processor by {} KiB",
            size / MIB,
            began.elapsed(),
            proxy >> 10,
            processor >> 10
        );
        if size > 4 * MIB {
            assert!(proxy.max(processor) < GROWTH, "{proxy} {processor}");
        }
    }
    let complete = [("topic", &*topics.request), ("outcome", "complete")];
    proxy.wait_for_metric("proxy_streams_total", &complete, 3.0).await;
}
