//! A backend whose answers the test writes byte by byte, while it looks at what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::wait::PATIENCE;

/// A listening backend. Each request comes to the test as a `Call`. It lives on the test's thread.
pub struct StreamBackend {
    address: String,
    calls: mpsc::UnboundedReceiver<Call>,
    count: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

/// One request, which the test answers: no other comes on its connection. Dropped, that is closed.
pub struct Call {
    /// Method and target.
    pub line: String,
    stream: BufReader<TcpStream>,
}

impl StreamBackend {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address")
            .to_string();
        let (sender, calls) = mpsc::unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, counted) = (sender.clone(), counted.clone());
                tokio::spawn(async move {
                    if let Some(call) = Call::read(stream).await {
                        counted.fetch_add(1, Ordering::Relaxed);
                        let _ = sender.send(call);
                    }
                });
            }
        });
        StreamBackend {
            address,
            calls,
            count,
            listening,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many requests have come so far.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The next request.
    pub async fn next(&mut self) -> Call {
        let next = tokio::time::timeout(PATIENCE, self.calls.recv()).await;
        next.ok().flatten().expect("the backend is called")
    }
}

impl Drop for StreamBackend {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Call {
    async fn read(stream: TcpStream) -> Option<Self> {
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        loop {
            let mut field = String::new();
            stream.read_line(&mut field).await.ok().filter(|read| *read > 0)?;
            let field = field.trim_end().to_ascii_lowercase();
            if field.is_empty() {
                break;
            }
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
        Some(Call { line, stream })
    }

    /// Writes these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).await.expect("the caller is there");
    }

    /// Writes these bytes, or fails where the caller has left.
    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Writes the head of a chunked 200 of this content type.
    pub async fn chunked_head(&mut self, content_type: &str) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        self.send(head).await;
    }

    /// Writes the head of a 200 with so many bytes.
    pub async fn sized_head(&mut self, length: usize) {
        self.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
    }

    /// Writes one chunk.
    pub async fn chunk(&mut self, text: &str) {
        self.send(format!("{:x}\r\n{text}\r\n", text.len())).await;
    }

    /// Writes the last chunk.
    pub async fn last_chunk(&mut self) {
        self.send("0\r\n\r\n").await;
    }

    /// Writes as much of `bytes` as is taken, until nothing is for half a second; returns how much that was.
    pub async fn send_until_stuck(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            let write = self.stream.get_mut().write(&bytes[written..]);
            match tokio::time::timeout(Duration::from_millis(500), write).await {
                Ok(taken) => written += taken.expect("the caller is there"),
                Err(_) => break,
            }
        }
        written
    }

    /// Waits until the caller has closed the connection.
    pub async fn closed(&mut self) {
        let mut rest = [0; 64];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut rest)).await;
        let read = read.expect("the caller closes its connection");
        assert!(
            read.is_err() || read.is_ok_and(|read| read == 0),
            "nothing more is sent"
        );
    }
}
