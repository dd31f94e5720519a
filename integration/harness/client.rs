//! A small HTTP/1.1 client. It sends exactly the head it is told, and keeps an answer as it arrived.

use std::ops::Deref;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::message::{BodyLength, Fields, Message, body_length, field, write_field};
use super::wait::PATIENCE;

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Fields,
    pub body: Body,
}

/// A request's body and its framing. `Empty` has the header `Content-Length: 0`; `None` has no such header.
#[derive(Debug, Clone)]
pub enum Body {
    None,
    Empty,
    Sized(Vec<u8>),
    Chunked(Vec<Vec<u8>>),
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Request {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: Body::None,
        }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).body(Body::Sized(body.into()))
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().into()));
        self
    }

    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Names the topics, as the nginx in front of the predecessor does.
    pub fn via(self, request_topic: &str, reply_topic: &str) -> Self {
        self.header("X-Kafka-Topic", request_topic)
            .header("X-Kafka-Reply-Topic", reply_topic)
    }

    /// The bytes of the request on the wire.
    pub fn encode(&self, host: &str) -> Vec<u8> {
        let mut wire = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            wire.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            write_field(&mut wire, name, value);
        }
        match &self.body {
            Body::None => wire.extend_from_slice(b"\r\n"),
            Body::Empty => wire.extend_from_slice(b"Content-Length: 0\r\n\r\n"),
            Body::Sized(bytes) => {
                wire.extend_from_slice(format!("Content-Length: {}\r\n\r\n", bytes.len()).as_bytes());
                wire.extend_from_slice(bytes);
            }
            Body::Chunked(chunks) => {
                wire.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                    wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    wire.extend_from_slice(chunk);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(b"0\r\n\r\n");
            }
        }
        wire
    }
}

/// An answer as it arrived. Its headers and its body are those of its message: `answer.body`.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    message: Message,
}

impl Deref for Response {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Response {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Whether the server closes the connection after this answer.
    pub fn closes(&self) -> bool {
        self.all("connection")
            .iter()
            .any(|value| value.to_ascii_lowercase().contains("close"))
    }

    /// Asserts that a backend's `Answer::echo` got this body.
    #[track_caller]
    pub fn assert_echo(&self, body: &str) {
        assert_eq!(self.status, 200, "{self:?}\n{}", self.text());
        assert_eq!(self.json()["body"].as_str(), Some(body));
    }

    /// Asserts that this is an error of the service itself: this status, and problem+json with this code and a correlation id.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}\n{}", self.text());
        let content_type = self.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert!(
            problem["correlation_id"].as_str().is_some_and(|id| !id.is_empty()),
            "{problem}"
        );
    }

    /// Asserts that the request was not sent: 503, this code, and Retry-After in seconds.
    #[track_caller]
    pub fn assert_try_again(&self, code: &str) {
        self.assert_problem(503, code);
        let seconds = self.header("retry-after").and_then(|value| value.parse::<u32>().ok());
        assert!(
            seconds.is_some_and(|seconds| seconds >= 1),
            "Retry-After in seconds: {self:?}"
        );
    }
}

/// A connection that stays open until it is dropped.
pub struct Connection {
    stream: TcpStream,
    address: String,
    /// Bytes that were read and are not yet part of an answer.
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream, address))
    }

    /// Takes over a connection to `address`.
    pub fn over(stream: TcpStream, address: &str) -> Self {
        Connection {
            stream,
            address: address.into(),
            buffer: Vec::new(),
        }
    }

    /// Sends exactly these bytes.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a request without waiting for its answer.
    pub async fn send(&mut self, request: &Request) -> std::io::Result<()> {
        let wire = request.encode(&self.address);
        self.send_raw(&wire).await
    }

    /// Sends a request and reads its answer; the connection can carry the next one.
    pub async fn request(&mut self, request: &Request) -> std::io::Result<Response> {
        self.send(request).await?;
        self.read_response(request.method == "HEAD").await
    }

    /// Reads one final answer; interim answers (1xx) are skipped.
    pub async fn read_response(&mut self, to_head: bool) -> std::io::Result<Response> {
        match timeout(PATIENCE, self.read_final(to_head)).await {
            Ok(answer) => answer,
            Err(_) => Err(fault(format!("no answer within {PATIENCE:?}"))),
        }
    }

    /// Waits for a `100 Continue`.
    pub async fn read_continue(&mut self) -> std::io::Result<()> {
        match timeout(PATIENCE, self.read_head()).await {
            Ok(head) if head.as_ref().is_ok_and(|(status, _)| *status == 100) => Ok(()),
            other => Err(fault(format!("no 100 Continue: {other:?}"))),
        }
    }

    /// Waits until the server has closed the connection. Fails when the server sends more, or leaves it open.
    pub async fn read_end(&mut self) -> std::io::Result<()> {
        match timeout(PATIENCE, self.fill()).await {
            Ok(Ok(false)) if self.buffer.is_empty() => Ok(()),
            // The server closed before it had read all that was sent.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => Err(fault(format!("more came: {}", self.buffer.escape_ascii()))),
            Err(_) => Err(fault(format!("open for {PATIENCE:?}"))),
        }
    }

    async fn read_final(&mut self, to_head: bool) -> std::io::Result<Response> {
        loop {
            let (status, headers) = self.read_head().await?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let body = match body_length(&headers) {
                _ if to_head || status == 204 || status == 304 => Vec::new(),
                BodyLength::Chunked => self.read_chunks().await?,
                BodyLength::Sized(length) => {
                    let length = length.parse();
                    self.take(length.map_err(|_| fault(format!("content-length of {headers:?}")))?)
                        .await?
                }
                BodyLength::Unknown => {
                    while self.fill().await? {}
                    std::mem::take(&mut self.buffer)
                }
            };
            return Ok(Response {
                status,
                message: Message { headers, body },
            });
        }
    }

    async fn read_head(&mut self) -> std::io::Result<(u16, Fields)> {
        let status_line = self.take_line().await?;
        let text = String::from_utf8_lossy(&status_line).into_owned();
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| fault(format!("status line {text:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.take_line().await?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            headers.push(field(&line).ok_or_else(|| fault(format!("header line {line:?}")))?);
        }
    }

    async fn read_chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8_lossy(&self.take_line().await?).into_owned();
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| fault(format!("chunk size {line:?}")))?;
            if size == 0 {
                // Trailers are skipped.
                while !self.take_line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            self.take_line().await?;
        }
    }

    async fn take_line(&mut self) -> std::io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let mut line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                line.truncate(end);
                return Ok(line);
            }
            self.fill_or_fail().await?;
        }
    }

    async fn take(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill_or_fail().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill_or_fail(&mut self) -> std::io::Result<()> {
        if self.fill().await? {
            return Ok(());
        }
        Err(std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            format!("closed after {:?}", self.buffer),
        ))
    }

    /// Reads what has arrived; false at the end of the connection.
    async fn fill(&mut self) -> std::io::Result<bool> {
        let mut chunk = [0; 64 * 1024];
        let read = self.stream.read(&mut chunk).await?;
        self.buffer.extend_from_slice(&chunk[..read]);
        Ok(read > 0)
    }
}

/// Sends one request on a connection of its own.
pub async fn try_request(address: &str, request: Request) -> std::io::Result<Response> {
    Connection::open(address).await?.request(&request).await
}

/// Sends one request on a connection of its own. A connection that fails fails the test.
pub async fn request(address: &str, request: Request) -> Response {
    let what = format!("{} {} to {address}", request.method, request.target);
    try_request(address, request)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn fault(message: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}
