//! HTTP clients on one thread. Each keeps its connection, and sends as soon as it is answered (a closed loop), or at a steady pace (an open
//! one): then a latency counts from the moment at which the request was to be sent, so that a system that stalls is charged for every
//! request that the stall held up, and not only for the one that was under way (no coordinated omission, as wrk2 has it).

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::timer::Timer;
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
    /// Of each request, as `Name: value`
    #[arg(long)]
    header: Vec<String>,
    /// Speaks TLS, and trusts the certificate of this file
    #[arg(long)]
    ca: Option<PathBuf>,
    #[arg(long)]
    warm_up: f64,
    #[arg(long)]
    seconds: f64,
}

/// A POST of that many bytes.
pub fn request(target: SocketAddr, body: usize, headers: &[String]) -> Bytes {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let mut request = format!(
        "POST /bench HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/octet-stream\r\n\
         content-length: {body}\r\n{headers}\r\n"
    )
    .into_bytes();
    request.resize(request.len() + body, b'x');
    request.into()
}

impl Load {
    pub fn run(self) -> Result<()> {
        let tls = self.ca.as_deref().map(tls).transpose()?;
        single_thread::block_on(async move {
            let recorder = Rc::new(RefCell::new(Recorder::new()?));
            let began = Instant::now();
            let pace = |index: usize| self.rate.map(|rate| Pace::of(index, self.connections, rate, began));
            for (index, target) in self.targets.iter().cycle().take(self.connections).enumerate() {
                let client = Client {
                    target: *target,
                    request: request(*target, self.body, &self.header),
                    body: self.body,
                    tls: tls.clone(),
                    pace: pace(index).transpose()?,
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

/// A client of TLS that trusts the certificates of this file.
fn tls(file: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

struct Client {
    target: SocketAddr,
    request: Bytes,
    /// Bytes of its body, its last ones.
    body: usize,
    /// `None`: it speaks plain HTTP.
    tls: Option<TlsConnector>,
    /// `None`: it sends as soon as it is answered.
    pace: Option<Pace>,
    recorder: Rc<RefCell<Recorder>>,
}

/// When one client of an open loop sends.
struct Pace {
    every: Duration,
    due: Instant,
    timer: Timer,
}

impl Pace {
    /// Of one of so many clients with this rate in all. Their requests are spread evenly.
    fn of(index: usize, clients: usize, rate: f64, began: Instant) -> std::io::Result<Self> {
        let every = Duration::from_secs_f64(clients as f64 / rate);
        Ok(Pace {
            every,
            due: began + every.mul_f64(index as f64 / clients as f64),
            timer: Timer::new()?,
        })
    }

    /// Waits until the next request is due, and returns when that was: earlier than now where the answer before it, or this thread, was late.
    async fn turn(&mut self) -> std::io::Result<Instant> {
        let due = self.due;
        self.due += self.every;
        self.timer.sleep_until(due).await?;
        Ok(due)
    }
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
        let stream = TcpStream::connect(self.target).await?;
        stream.set_nodelay(true)?;
        match self.tls.clone() {
            None => self.exchanges(stream).await,
            Some(tls) => {
                let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
                let stream = tls.connect(name, stream).await?;
                self.exchanges(stream).await
            }
        }
    }

    async fn exchanges(&mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut buffer = BytesMut::new();
        loop {
            let began = match &mut self.pace {
                Some(pace) => pace.turn().await?,
                None => Instant::now(),
            };
            stream.write_all(&self.request).await?;
            // TLS may keep some of it otherwise.
            stream.flush().await?;
            let Some(head) = framing::read_head(&mut stream, &mut buffer).await? else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            let body = framing::read_body(&head, &mut stream, &mut buffer).await?;
            let mut recorder = self.recorder.borrow_mut();
            // The backend answers with the request's body.
            match head.get(8..12) {
                Some(b" 200") if self.request.ends_with(&body) && body.len() == self.body => {
                    recorder.answered(began.elapsed());
                }
                _ => recorder.failed(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Answers requests on one connection with this body, the first of them after `stall`.
    fn backend(stall: Duration, body: char) -> SocketAddr {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let length = request(address, 1, &[]).len();
            let mut bytes = vec![0; length];
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{body}");
            let mut stall = Some(stall);
            while stream.read_exact(&mut bytes).is_ok() {
                thread::sleep(stall.take().unwrap_or_default());
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        address
    }

    /// One client for half a second, with this rate, beside something else.
    async fn paced(rate: f64, address: SocketAddr, beside: impl Future<Output = ()>) -> crate::outcome::Outcome {
        let recorder = Rc::new(RefCell::new(Recorder::new().unwrap()));
        recorder.borrow_mut().begin();
        let client = Client {
            target: address,
            request: request(address, 1, &[]),
            body: 1,
            tls: None,
            pace: Some(Pace::of(0, 1, rate, Instant::now()).unwrap()),
            recorder: recorder.clone(),
        };
        // Err: the time is up. The client goes on for ever.
        let client = tokio::time::timeout(Duration::from_millis(500), client.run());
        assert!(tokio::join!(client, beside).0.is_err());
        recorder.borrow_mut().outcome()
    }

    #[tokio::test]
    async fn a_stall_counts_for_every_request_that_it_holds_up() {
        let outcome = paced(100.0, backend(Duration::from_millis(250), 'x'), async {}).await;
        // Of some 50, those of the first 250 ms waited for some 125 ms. Counted from their sending, only one would have waited.
        assert!((40..=55).contains(&outcome.requests), "{outcome:?}");
        assert!(outcome.max >= 245e3 && outcome.mean >= 40e3, "{outcome:?}");
    }

    #[tokio::test]
    async fn a_client_that_is_late_itself_counts_from_when_it_was_due() {
        // The second request is due after 200 ms, when the client waits for nothing else, and this thread is busy.
        let outcome = paced(5.0, backend(Duration::ZERO, 'x'), async {
            sleep(Duration::from_millis(150)).await;
            thread::sleep(Duration::from_millis(150));
        })
        .await;
        assert!(outcome.max >= 90e3, "{outcome:?}");
    }

    #[tokio::test]
    async fn an_answer_with_another_body_is_an_error() {
        let outcome = paced(100.0, backend(Duration::ZERO, 'y'), async {}).await;
        assert!(outcome.requests == 0 && outcome.errors >= 40, "{outcome:?}");
    }
}
