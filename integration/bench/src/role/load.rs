//! HTTP clients in closed loops, on one thread. Each keeps its connection, and sends as soon as it is answered or at a steady pace.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::{framing, single_thread};
use crate::error::Result;
use crate::outcome::Recorder;

/// How long a client waits before it connects again.
const RECONNECT: Duration = Duration::from_millis(10);

#[derive(clap::Args)]
pub struct Load {
    /// Where to send; the connections take the targets in turn
    #[arg(long, value_delimiter = ',')]
    targets: Vec<SocketAddr>,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    body: usize,
    /// Requests per second of all connections
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long)]
    warm_up: f64,
    #[arg(long)]
    seconds: f64,
}

/// A POST of that many bytes.
pub fn request(target: SocketAddr, body: usize) -> Bytes {
    let mut request = format!(
        "POST /bench HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/octet-stream\r\ncontent-length: {body}\r\n\r\n"
    )
    .into_bytes();
    request.resize(request.len() + body, b'x');
    request.into()
}

impl Load {
    pub fn run(self) -> Result<()> {
        single_thread::block_on(async move {
            let recorder = Rc::new(RefCell::new(Recorder::new()?));
            let pace = self
                .rate
                .map(|rate| Duration::from_secs_f64(self.connections as f64 / rate));
            let began = Instant::now();
            for (index, target) in self.targets.iter().cycle().take(self.connections).enumerate() {
                let client = Client {
                    target: *target,
                    request: request(*target, self.body),
                    pace,
                    // The first requests are spread evenly over one pace.
                    due: began + pace.unwrap_or_default().mul_f64(index as f64 / self.connections as f64),
                    recorder: recorder.clone(),
                };
                tokio::task::spawn_local(client.run());
            }
            sleep(Duration::from_secs_f64(self.warm_up)).await;
            recorder.borrow_mut().begin();
            sleep(Duration::from_secs_f64(self.seconds)).await;
            recorder.borrow_mut().end()
        })
    }
}

struct Client {
    target: SocketAddr,
    request: Bytes,
    pace: Option<Duration>,
    /// When a paced client sends next.
    due: Instant,
    recorder: Rc<RefCell<Recorder>>,
}

impl Client {
    async fn run(mut self) {
        loop {
            // A connection ends only by failing.
            let _ = self.connection().await;
            self.recorder.borrow_mut().failed();
            sleep(RECONNECT).await;
        }
    }

    async fn connection(&mut self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        let mut buffer = BytesMut::new();
        loop {
            let began = self.turn().await;
            stream.write_all(&self.request).await?;
            let Some(answer) = framing::read_message(&mut stream, &mut buffer).await? else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            let mut recorder = self.recorder.borrow_mut();
            match answer.head.get(8..12) {
                Some(b" 200") => recorder.answered(began.elapsed()),
                _ => recorder.failed(),
            }
        }
    }

    /// Waits for the next turn and returns when it began. A request that is late, because the answer before it was, counts from when it was
    /// due.
    async fn turn(&mut self) -> Instant {
        let Some(pace) = self.pace else {
            return Instant::now();
        };
        let due = self.due;
        self.due += pace;
        if due > Instant::now() {
            sleep_until(due).await;
            return Instant::now();
        }
        due
    }
}
