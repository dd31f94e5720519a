//! HTTP clients in closed loops, on one thread. Each keeps its connection, and sends as soon as it is answered or at a steady pace.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

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
            let pace = self
                .rate
                .map(|rate| Duration::from_secs_f64(self.connections as f64 / rate));
            let began = Instant::now();
            for (index, target) in self.targets.iter().cycle().take(self.connections).enumerate() {
                let client = Client {
                    target: *target,
                    request: request(*target, self.body, &self.header),
                    tls: tls.clone(),
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
    /// `None`: it speaks plain HTTP.
    tls: Option<TlsConnector>,
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
            let began = self.turn().await;
            stream.write_all(&self.request).await?;
            // TLS may keep some of it otherwise.
            stream.flush().await?;
            let Some(head) = framing::skip_message(&mut stream, &mut buffer).await? else {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            };
            let mut recorder = self.recorder.borrow_mut();
            match head.get(8..12) {
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
