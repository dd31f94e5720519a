//! A backend that answers with the request's body at next to no cost: one thread, no framework. Under `/stream/` it streams, and
//! spans it takes in.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::stream::backend::{self as streams, Calls};
use super::{framing, single_thread};
use crate::error::Result;
use crate::protocol::READY;

#[derive(clap::Args)]
pub struct Backend {
    /// How long each answer takes, in ms
    #[arg(long)]
    latency: u64,
}

impl Backend {
    pub fn run(self) -> Result<()> {
        let latency = Duration::from_millis(self.latency);
        single_thread::block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{READY} {}", listener.local_addr()?.port());
            let calls = Rc::<Calls>::default();
            loop {
                let (stream, _) = listener.accept().await?;
                let calls = calls.clone();
                tokio::task::spawn_local(async move {
                    // Err: the client has left.
                    let _ = serve(stream, latency, &calls).await;
                });
            }
        })
    }
}

async fn serve(mut stream: TcpStream, latency: Duration, calls: &Calls) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    let mut answer = Vec::new();
    while let Some(head) = framing::read_head(&mut stream, &mut buffer).await? {
        if let Some(target) = streams::target(&head) {
            streams::serve(&target, &head, &mut stream, &mut buffer, calls).await?;
            continue;
        }
        let body = framing::read_body(&head, &mut stream, &mut buffer).await?;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        // Their receiver answers with an empty message (https://opentelemetry.io/docs/specs/otlp/#otlphttp-response).
        let body = if head.starts_with(b"POST /v1/traces ") {
            Bytes::new()
        } else {
            body
        };
        answer.clear();
        let length = body.len();
        answer.extend_from_slice(
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {length}\r\n\r\n")
                .as_bytes(),
        );
        answer.extend_from_slice(&body);
        stream.write_all(&answer).await?;
    }
    Ok(())
}
