//! A backend that does as it is told: it records each request as it arrived, byte for byte, and answers as the test's
//! closure says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{header_line, values};
use super::wait::PATIENCE;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Raw: path and query, or whatever stood there.
    pub target: String,
    /// In order, names as received.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Received {
    /// Every value of a header, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        values(&self.headers, name)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the backend does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Respond {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    },
    /// Exactly these bytes, then the connection closes.
    Raw(Vec<u8>),
    /// Exactly these bytes, a whole answer; the connection stays.
    Wire(Vec<u8>),
    /// First this long nothing, then that.
    After(Duration, Box<Answer>),
    /// Nothing until the gate is open, then that.
    Until(watch::Receiver<bool>, Box<Answer>),
    /// Nothing, until the caller leaves.
    Hang,
    /// The connection closes without an answer.
    Close,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Answer::Respond {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Answer::Respond {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// What was received, as JSON: method, target, body (as text).
    pub fn echo(received: &Received) -> Self {
        let echo = json!({ "method": received.method, "target": received.target, "body": received.text() });
        Answer::body(echo.to_string()).header("Content-Type", "application/json")
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let Answer::Respond { headers, .. } = &mut self {
            headers.push((name.into(), value.as_ref().into()));
        }
        self
    }

    pub fn after(self, delay: Duration) -> Self {
        Answer::After(delay, Box::new(self))
    }

    /// Only once the gate is open (or its sender gone): until then a call is under way, however slow or quick the machine is.
    pub fn until(self, gate: &watch::Receiver<bool>) -> Self {
        Answer::Until(gate.clone(), Box::new(self))
    }
}

/// Says what to answer.
type Script = Arc<dyn Fn(&Received) -> Answer + Send + Sync>;

/// What the backend and its connections share.
struct Shared {
    received: watch::Sender<Vec<Received>>,
    /// Callers that left without an answer: what they had sent, and how many calls had come by then.
    left: watch::Sender<Vec<(Received, usize)>>,
    script: watch::Sender<Script>,
    /// Requests that came and are not yet answered: now, and at most.
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

/// A listening backend; dropped, it closes its port and its connections.
pub struct Backend {
    address: String,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

impl Backend {
    /// Listens on a free port and answers as `script` says.
    pub async fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", script).await
    }

    /// Listens on this address, where nobody does.
    pub async fn start_on(address: &str, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address")
            .to_string();
        let script: Script = Arc::new(script);
        let shared = Arc::new(Shared {
            received: watch::Sender::new(Vec::new()),
            left: watch::Sender::new(Vec::new()),
            script: watch::Sender::new(script),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        });
        let listening = tokio::spawn(listen(listener, shared.clone()));
        Backend {
            address,
            shared,
            listening,
        }
    }

    /// Answers everything with `Answer::echo`.
    pub async fn echo() -> Self {
        Self::start(Answer::echo).await
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on answers as `script` says.
    pub fn answer_with(&self, script: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        self.shared.script.send_replace(Arc::new(script));
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// How many came so far.
    pub fn count(&self) -> usize {
        self.shared.received.borrow().len()
    }

    /// The last that came.
    pub fn last(&self) -> Received {
        self.shared
            .received
            .borrow()
            .last()
            .cloned()
            .expect("the backend was called")
    }

    /// Calls so far whose body is `body`: the key by which tests tell requests apart.
    pub fn calls_with_body(&self, body: &str) -> usize {
        self.shared
            .received
            .borrow()
            .iter()
            .filter(|received| received.body == body.as_bytes())
            .count()
    }

    /// The calls whose caller left before an answer, each with how many had come by then.
    pub fn left(&self) -> Vec<(Received, usize)> {
        self.shared.left.borrow().clone()
    }

    /// The most calls that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_under_way.load(Ordering::Relaxed)
    }

    /// Waits until there were this many calls.
    pub async fn wait_for_calls(&self, count: usize) {
        let mut received = self.shared.received.subscribe();
        let there = tokio::time::timeout(PATIENCE, received.wait_for(|all| all.len() >= count))
            .await
            .map(drop);
        assert!(
            there.is_ok(),
            "{} of {count} calls within {PATIENCE:?}",
            self.shared.received.borrow().len()
        );
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    // Owned by this task: all connections end with the backend.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(received) = read_request(&mut stream).await {
        let now = shared.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        shared.most_under_way.fetch_max(now, Ordering::Relaxed);
        shared.received.send_modify(|all| all.push(received.clone()));
        let script = shared.script.borrow().clone();
        let mut answer = script(&received);
        let answer = loop {
            answer = match answer {
                Answer::After(delay, then) => {
                    tokio::time::sleep(delay).await;
                    *then
                }
                Answer::Until(mut gate, then) => {
                    // Err: nobody is left to open it.
                    let _ = gate.wait_for(|open| *open).await;
                    *then
                }
                answer => break answer,
            };
        };
        let bytes = match answer {
            Answer::Respond { status, headers, body } => encode(&received.method, status, &headers, &body),
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Answer::Wire(bytes) => bytes,
            Answer::Hang => {
                // Ends with the connection, whatever else comes.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                let calls = shared.received.borrow().len();
                shared.left.send_modify(|all| all.push((received, calls)));
                shared.under_way.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            Answer::Close | Answer::After(..) | Answer::Until(..) => return,
        };
        // Before the answer: whoever has it may send the next at once.
        shared.under_way.fetch_sub(1, Ordering::Relaxed);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Content-Length is the body's unless the answer names one itself or its status has no body.
fn encode(method: &str, status: u16, headers: &[(String, Vec<u8>)], body: &[u8]) -> Vec<u8> {
    let mut wire = format!("HTTP/1.1 {status} Scripted\r\n").into_bytes();
    for (name, value) in headers {
        wire.extend_from_slice(format!("{name}: ").as_bytes());
        wire.extend_from_slice(value);
        wire.extend_from_slice(b"\r\n");
    }
    let bodiless = status == 204 || status == 304;
    if !bodiless && values(headers, "content-length").is_empty() {
        wire.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    wire.extend_from_slice(b"\r\n");
    if method != "HEAD" && !bodiless {
        wire.extend_from_slice(body);
    }
    wire
}

/// `None` at the connection's end or on anything that is no request.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let request_line = read_line(stream).await?;
    let mut words = std::str::from_utf8(&request_line).ok()?.splitn(3, ' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            break;
        }
        headers.push(header_line(&line)?);
    }
    let mut body = Vec::new();
    if values(&headers, "transfer-encoding")
        .iter()
        .any(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        loop {
            let size = usize::from_str_radix(std::str::from_utf8(&read_line(stream).await?).ok()?.trim(), 16).ok()?;
            let mut chunk = vec![0; size];
            stream.read_exact(&mut chunk).await.ok()?;
            body.extend(chunk);
            read_line(stream).await?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = values(&headers, "content-length").first() {
        body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
    }
    Some(Received {
        method,
        target,
        headers,
        body,
    })
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok()?;
    line.ends_with(b"\n").then(|| line.trim_ascii_end().to_vec())
}

#[tokio::test]
async fn client_and_backend_hide_nothing_from_each_other() {
    use super::client::{Body, Connection, Request};

    let backend = Backend::start(|received| {
        Answer::body(received.body.clone())
            .header("X-Twice", "1")
            .header("x-twice", b"\xe9")
    })
    .await;
    let address = backend.url().replace("http://", "");
    let mut connection = Connection::open(&address).await.expect("the backend listens");
    let body = Body::Chunked(vec![b"\0\r\n".to_vec(), b"b".to_vec()]);
    let request = Request::new("PURGE", "/a?b=1&b=2")
        .header("X-A", "1")
        .header("x-a", b"\xff")
        .body(body);
    for call in 1..=2 {
        let answer = connection.request(&request).await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\0\r\nb"[..]));
        assert_eq!(answer.headers[0], ("X-Twice".into(), b"1".to_vec()));
        assert_eq!(answer.headers[1], ("x-twice".into(), b"\xe9".to_vec()));
        let received = backend.last();
        assert_eq!(
            (received.method.as_str(), received.target.as_str()),
            ("PURGE", "/a?b=1&b=2")
        );
        assert_eq!(
            received.headers[1..3],
            [("X-A".into(), b"1".to_vec()), ("x-a".into(), b"\xff".to_vec())]
        );
        assert_eq!((backend.received().len(), backend.most_at_once()), (call, 1));
    }
    backend.answer_with(|_| Answer::Close);
    connection
        .request(&Request::get("/"))
        .await
        .expect_err("closed without an answer");
}
