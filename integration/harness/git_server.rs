//! A server of git repositories: git's own CGI program, `git http-backend`, behind a small HTTP server. Bodies pass as they come.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::temp_dir::TempDir;

/// Serves the repositories below its directory, and takes pushes. It lives on the test's thread.
pub struct GitServer {
    pub dir: TempDir,
    address: String,
    listening: JoinHandle<()>,
}

impl GitServer {
    pub async fn start() -> Self {
        let dir = TempDir::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let root = dir.path().display().to_string();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let root = root.clone();
                tokio::spawn(async move {
                    // None: the caller left, or sent no request.
                    serve(stream, &root).await
                });
            }
        });
        GitServer {
            dir,
            address,
            listening,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Answers one request; no other comes on its connection. (RFC 3875 says what a CGI program is given.)
async fn serve(stream: TcpStream, root: &str) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let line = line(&mut stream).await?;
    let (method, target) = line.trim_end_matches(" HTTP/1.1").split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut cgi = Command::new("git");
    cgi.arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([
            ("GIT_PROJECT_ROOT", root),
            ("GIT_HTTP_EXPORT_ALL", "1"),
            ("REMOTE_USER", "tester"),
        ])
        .envs([("REQUEST_METHOD", method), ("PATH_INFO", path), ("QUERY_STRING", query)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut length = 0;
    loop {
        let line = self::line(&mut stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.to_ascii_uppercase().replace('-', "_"), value.trim());
        match &*name {
            "CONTENT_LENGTH" => {
                length = value.parse().ok()?;
                cgi.env("CONTENT_LENGTH", value);
            }
            "CONTENT_TYPE" => {
                cgi.env("CONTENT_TYPE", value);
            }
            // What git http-backend looks at, and no more: HTTP_PROXY would be another matter.
            "CONTENT_ENCODING" | "GIT_PROTOCOL" => {
                cgi.env(format!("HTTP_{name}"), value);
            }
            _ => {}
        }
    }
    let mut program = cgi.spawn().expect("git is installed; integration/install installs it");
    let (mut input, output) = (program.stdin.take()?, program.stdout.take()?);
    let (request, mut client) = tokio::io::split(stream);
    let feeding = tokio::spawn(async move {
        // Err: the program has read all that it wants.
        let _ = tokio::io::copy(&mut request.take(length), &mut input).await;
    });
    let mut output = BufReader::new(output);
    let mut head = String::new();
    let mut status = "200 OK".to_owned();
    loop {
        let line = self::line(&mut output).await?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("status") => status = value.trim().to_owned(),
            Some(_) => head.push_str(&format!("{line}\r\n")),
            None => break,
        }
    }
    let head = format!("HTTP/1.1 {status}\r\n{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.write_all(head.as_bytes()).await.ok()?;
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = output.read(&mut piece).await.ok()?;
        client.write_all(format!("{read:x}\r\n").as_bytes()).await.ok()?;
        client.write_all(&piece[..read]).await.ok()?;
        client.write_all(b"\r\n").await.ok()?;
        if read == 0 {
            break;
        }
    }
    client.flush().await.ok()?;
    feeding.await.ok()
}

/// The next line without its end.
async fn line(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}
