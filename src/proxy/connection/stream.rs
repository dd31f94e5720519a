//! The stream that actix-http reads from and writes to.
//!
//! Targets with a fragment are broken before the parser cuts them (`framing`). The parser limits the time of a connection's first head;
//! this stream limits that of the others. A client that does not read its answer is given up. When the parser gives a connection up in
//! the middle of a request, what the client still sends is read: closing with bytes unread would reset the connection, and the client
//! would lose the answer that says why.

use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::proxy::connection::framing::Framing;

/// A request's head must be complete after this time.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that reads nothing of its answer for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that is closed in the middle of a request is read for this long, and no more than `LINGER_BYTES`.
pub const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// How many requests of a connection have their answer. Counted in the app, since writes do not show it: a 100 Continue is none, and
/// pipelined requests have several answers due. Clones share it.
#[derive(Clone, Default)]
pub struct Answered(Arc<AtomicU64>);

impl Answered {
    /// One more has its answer.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The stream that actix-http reads.
pub struct Connection {
    io: TcpStream,
    framing: Framing,
    /// Runs while a head has begun and is not complete, except for the first head.
    head_timer: Option<Pin<Box<Sleep>>>,
    /// Runs while the socket takes no more of an answer.
    write_timer: Option<Pin<Box<Sleep>>>,
    answered: Answered,
    /// The client has closed, or the connection broke.
    ended: bool,
}

impl Connection {
    pub fn new(io: TcpStream) -> Self {
        Connection {
            io,
            framing: Framing::default(),
            head_timer: None,
            write_timer: None,
            answered: Answered::default(),
            ended: false,
        }
    }

    fn arrived(&mut self, bytes: &mut [u8]) {
        let heads = self.framing.heads();
        self.framing.pass(bytes);
        let complete = self.framing.heads() > heads;
        if complete || !self.framing.is_in_head() {
            self.head_timer = None;
        }
        // The first head has the parser's own timer, which answers 408.
        if self.framing.is_in_head() && self.framing.heads() > 0 && self.head_timer.is_none() {
            self.head_timer = Some(Box::pin(sleep(HEAD_TIMEOUT)));
        }
    }

    /// For the handlers of this connection's requests.
    pub fn answered(&self) -> Answered {
        self.answered.clone()
    }

    /// The rest of a head has not come in time. While an answer is due it has more time: closing the connection would lose the answer.
    fn is_too_slow(&mut self, cx: &mut Context<'_>) -> bool {
        let answer_is_due = self.answered.0.load(Ordering::Relaxed) < self.framing.heads();
        let Some(timer) = &mut self.head_timer else {
            return false;
        };
        if answer_is_due && timer.is_elapsed() {
            timer.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
        }
        timer.as_mut().poll(cx).is_ready() && !answer_is_due
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut connection.io).poll_read(cx, buf);
        match &read {
            Poll::Ready(Ok(())) if buf.filled().len() > before => connection.arrived(&mut buf.filled_mut()[before..]),
            Poll::Ready(_) => connection.ended = true,
            // The parser sees a client that has closed.
            Poll::Pending if connection.is_too_slow(cx) => return Poll::Ready(Ok(())),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let connection = self.get_mut();
        let written = Pin::new(&mut connection.io).poll_write(cx, buf);
        if written.is_ready() {
            connection.write_timer = None;
            return written;
        }
        let timer = connection
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.ended || self.framing.is_between_requests() {
            return;
        }
        // Err: the process is at its end, or has no file left. Then the connection closes as any other.
        if let (Ok(runtime), Ok(io)) = (Handle::try_current(), self.io.as_fd().try_clone_to_owned()) {
            runtime.spawn(linger(io.into()));
        }
    }
}

/// Tells the client that nothing more comes, and reads what it still sends, so that it reads the answer before the connection is gone.
async fn linger(io: std::net::TcpStream) -> io::Result<()> {
    let mut io = TcpStream::from_std(io)?;
    io.shutdown().await?;
    let mut left = LINGER_BYTES;
    let discard = async {
        let mut scrap = [0; 8 << 10];
        while let Ok(read @ 1..) = io.read(&mut scrap).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    };
    // Err: the time is over, which is as good.
    let _ = timeout(LINGER, pin!(discard)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Writes for as long as the socket takes it.
    async fn fill(connection: &mut Connection) -> io::Result<()> {
        let mut write = |cx: &mut Context<'_>| Poll::Ready(Pin::new(&mut *connection).poll_write(cx, &[0; 1 << 16]));
        while let Poll::Ready(written) = poll_fn(&mut write).await {
            written?;
        }
        Ok(())
    }

    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
        // The runtime's turn to find what is due.
        sleep(Duration::from_millis(5)).await;
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up_and_one_that_reads_slowly_is_not() {
        // Three of them are more than the whole; what is left of each is the machine's.
        const HALF: Duration = WRITE_TIMEOUT.checked_div(2).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut connection = Connection::new(listener.accept().await.unwrap().0);
        for _ in 0..3 {
            fill(&mut connection).await.unwrap();
            pass(HALF).await;
            fill(&mut connection).await.unwrap();
            let read = async {
                let mut buffer = vec![0; 1 << 16];
                while client.read(&mut buffer).await.unwrap() > 0 {}
            };
            tokio::select! {
                written = connection.write(&[0]) => assert_eq!(written.unwrap(), 1),
                () = read => unreachable!("it stays open"),
            }
        }
        fill(&mut connection).await.unwrap();
        pass(WRITE_TIMEOUT).await;
        let given_up = fill(&mut connection).await.map_err(|error| error.kind());
        assert_eq!(given_up, Err(io::ErrorKind::TimedOut));
    }
}
