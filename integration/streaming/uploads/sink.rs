//! A backend that takes large bodies, and keeps only their digests.

use std::sync::Arc;
use std::time::Duration;

use openssl::sha::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::digest::hex;
use crate::harness::wait::eventually;

/// What it does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Takes all of it, and answers.
    Take,
    /// Takes so many bytes, then resets the connection.
    ResetAfter(u64),
    /// Takes so many bytes, then nothing until the gate opens.
    WaitAfter(u64),
    /// Takes so many bytes, then answers 413 and takes no more.
    RefuseAfter(u64),
    /// Takes so many bytes, then begins to answer that it is busy for some seconds, and neither takes more nor ends the answer.
    BusyAfter(u64),
}

/// An answer that goes on, to be asked for again.
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 8\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n";

/// A call, as far as it has come.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub head: String,
    pub bytes: u64,
    /// Set once all of it has come.
    pub sha: Option<String>,
    /// The connection ended before that.
    pub cut: bool,
}

/// The backend.
pub struct Sink {
    address: String,
    calls: watch::Sender<Vec<Call>>,
    gate: watch::Sender<bool>,
}

#[derive(Clone)]
struct Shared {
    calls: watch::Sender<Vec<Call>>,
    gate: watch::Receiver<bool>,
    does: Arc<dyn Fn(usize) -> Does + Send + Sync>,
}

impl Sink {
    pub async fn start() -> Self {
        Self::scripted(|_| Does::Take).await
    }

    /// `does`: by the number of the call, from 0.
    pub async fn scripted(does: impl Fn(usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (calls, gate) = (watch::Sender::new(Vec::new()), watch::Sender::new(false));
        let shared = Shared {
            calls: calls.clone(),
            gate: gate.subscribe(),
            does: Arc::new(does),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Sink { address, calls, gate }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// Lets calls that wait go on.
    pub fn open_gate(&self) {
        self.gate.send_replace(true);
    }

    /// Waits until a call has got so far.
    pub async fn wait_for(&self, call: usize, bytes: u64) {
        eventually("the backend has got so far", async || {
            match self.calls().get(call).map(|call| call.bytes) {
                Some(got) if got >= bytes => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
}

async fn serve(mut stream: TcpStream, shared: Shared) {
    let mut buffer = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut buffer).await else {
            return;
        };
        let mut number = 0;
        shared.calls.send_modify(|calls| {
            number = calls.len();
            calls.push(Call {
                head: head.clone(),
                ..Call::default()
            });
        });
        let change = |change: &dyn Fn(&mut Call)| shared.calls.send_modify(|calls| change(&mut calls[number]));
        let Some(sha) = take(&mut stream, &mut buffer, &head, &shared, number).await else {
            return change(&|call| call.cut = true);
        };
        let bytes = shared.calls.borrow()[number].bytes;
        let is_refused = sha.is_none();
        let answer = match sha {
            Some(sha) => {
                change(&|call| call.sha = Some(sha.clone()));
                let body = format!("{{\"sha256\":\"{sha}\",\"bytes\":{bytes}}}");
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
            None if matches!((shared.does)(number), Does::BusyAfter(_)) => BUSY.to_owned(),
            None => "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\n{}".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if is_refused {
            // It takes no more; whoever goes on to send notices that the connection does not move.
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
    }
}

/// The digest of the body, which has to have a Content-Length; the inner `None`: it was refused. `None`: the connection broke off.
async fn take(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    head: &str,
    shared: &Shared,
    number: usize,
) -> Option<Option<String>> {
    let mut left = content_length(head);
    let (mut sha, mut gate) = (Sha256::new(), shared.gate.clone());
    let mut taken = 0;
    let mut block = vec![0; 64 << 10];
    while left > 0 {
        if buffer.is_empty() {
            match stream.read(&mut block).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => buffer.extend_from_slice(&block[..read]),
            }
        }
        let part = buffer.len().min(left as usize);
        sha.update(&buffer[..part]);
        buffer.drain(..part);
        left -= part as u64;
        taken += part as u64;
        shared.calls.send_modify(|calls| calls[number].bytes = taken);
        match (shared.does)(number) {
            Does::ResetAfter(bytes) if taken >= bytes => {
                // With bytes unread, the end is a reset.
                return None;
            }
            // Err: the test is over.
            Does::WaitAfter(bytes) if taken >= bytes => drop(gate.wait_for(|open| *open).await),
            Does::RefuseAfter(bytes) | Does::BusyAfter(bytes) if taken >= bytes => return Some(None),
            _ => {}
        }
    }
    Some(Some(hex(&sha.finish())))
}

fn content_length(head: &str) -> u64 {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let length = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.map_or(0, |(_, length)| length.trim().parse().expect("a number"))
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}
