//! A backend that speaks TLS: it answers each request with what it saw of the connection.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{NameType, SslAcceptor, SslMethod, SslRef, SslStream, SslVerifyMode};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use serde_json::json;

use super::certificates::{Authority, Identity};

/// Runs until the test's process ends.
pub struct TlsBackend {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl TlsBackend {
    /// Shows `identity`. With `clients`, it takes only those who have a certificate of that authority.
    pub fn start(identity: &Identity, clients: Option<&Authority>) -> Self {
        let acceptor = acceptor(identity, clients);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (acceptor, count) = (acceptor.clone(), count.clone());
                std::thread::spawn(move || {
                    if let Ok(stream) = acceptor.accept(stream) {
                        count.fetch_add(1, Ordering::Relaxed);
                        // Err: the client has closed the connection.
                        let _ = serve(stream);
                    }
                });
            }
        });
        TlsBackend { port, connections }
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// `https://localhost:PORT`.
    pub fn url_by_name(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// How many handshakes were finished.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn acceptor(identity: &Identity, clients: Option<&Authority>) -> Arc<SslAcceptor> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("TLS");
    let certificate = X509::from_pem(identity.cert.as_bytes()).expect("a certificate");
    let key = PKey::private_key_from_pem(identity.key.as_bytes()).expect("a key");
    builder.set_certificate(&certificate).expect("it can be used");
    builder.set_private_key(&key).expect("they belong together");
    if let Some(clients) = clients {
        let mut store = X509StoreBuilder::new().expect("a store");
        let authority = X509::from_pem(clients.pem().as_bytes()).expect("a certificate");
        store.add_cert(authority).expect("it can be added");
        builder.set_verify_cert_store(store.build()).expect("it can be used");
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        builder.set_session_id_context(b"test").expect("short enough");
    }
    Arc::new(builder.build())
}

/// Answers requests without a body, one after the other.
fn serve(stream: SslStream<TcpStream>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
        }
        let body = seen(reader.get_ref().ssl()).to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        reader.get_mut().write_all((head + &body).as_bytes())?;
    }
}

fn seen(ssl: &SslRef) -> serde_json::Value {
    let client = ssl.peer_certificate().and_then(|certificate| {
        let name = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next()?;
        name.data().to_string().ok()
    });
    json!({ "server_name": ssl.servername(NameType::HOST_NAME), "client": client })
}
