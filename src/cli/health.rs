//! `health`: asks the running process whether it is ready. For `HEALTHCHECK` of a container that has no other program.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

use crate::management::{LIVE, READY};
use crate::process::{exit, output};
use crate::settings::Settings;

/// How long a connection, a write or a read may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The answer is a status and a line of reasons.
const MAX_ANSWER: u64 = 64 * 1024;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Can it be used?
    Ready,
    /// Does it turn?
    Live,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Whoever runs with the settings that are named.
    Process,
    /// Process 1 of this container. It runs, or this would not.
    Container,
}

/// Asks, and prints why not. Returns the exit code: 0, or `UNAVAILABLE`.
pub fn run(settings: &Settings, question: Question, asked: Asked) -> u8 {
    let path = match question {
        Question::Ready => READY,
        Question::Live => LIVE,
    };
    let Some((address, is_tls)) = address(settings) else {
        output::complain("no port to ask: set management_port, or port on a proxy");
        return match asked {
            Asked::Process => exit::USAGE,
            // A container would be taken for sick for ever that is only not asked.
            Asked::Container => exit::OK,
        };
    };
    match ask(address, is_tls, path) {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => exit::OK,
        Ok(answer) => {
            output::complain(answer.rsplit("\r\n").next().unwrap_or_default());
            exit::UNAVAILABLE
        }
        Err(error) => {
            output::complain(format_args!("{address} does not answer: {error}"));
            exit::UNAVAILABLE
        }
    }
}

/// Where health is served, and whether over TLS. `None`: nowhere that is known.
fn address(settings: &Settings) -> Option<(SocketAddr, bool)> {
    let (own, proxy) = (&settings.management, &settings.proxy);
    let (bind, port, is_tls) = match own.port {
        0 if settings.mode.is_proxy() => (proxy.bind, proxy.port, proxy.tls.is_some()),
        0 => return None,
        port => (own.bind, port, false),
    };
    let host = match bind {
        IpAddr::V4(all) if all.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(all) if all.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        one => one,
    };
    (port != 0).then_some((SocketAddr::new(host, port), is_tls))
}

fn ask(address: SocketAddr, is_tls: bool, path: &str) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    match is_tls {
        false => exchange(stream, address, path),
        true => exchange(encrypted(stream)?, address, path),
    }
}

/// The certificate has another name than this machine's own address, and nothing secret is asked.
fn encrypted(stream: TcpStream) -> io::Result<impl Read + Write> {
    let mut builder = SslConnector::builder(SslMethod::tls())?;
    builder.set_verify(SslVerifyMode::NONE);
    let mut configuration = builder.build().configure()?;
    configuration.set_verify_hostname(false);
    configuration.connect("localhost", stream).map_err(io::Error::other)
}

fn exchange(mut stream: impl Read + Write, address: SocketAddr, path: &str) -> io::Result<String> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer) {
        // A TLS connection that is cut after its answer.
        Err(_) if !answer.is_empty() => {}
        read => {
            read?;
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
