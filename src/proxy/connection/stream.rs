//! The stream that actix-http reads from and writes to.
//!
//! One request at a time reaches the parser: what its client sends behind it is held until it is answered. What the parser would misread
//! is changed before (`framing`). The parser limits the time of a connection's first head;
//! this stream limits that of the others. A client that does not read its answer is given up. When the parser gives a connection up in
//! the middle of a request, what the client still sends is read: closing with bytes unread would reset the connection, and the client
//! would lose the answer that says why.

use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::io::poll_read_buf;

use crate::proxy::connection::framing::Framing;
use crate::proxy::connection::io::Io;
use crate::proxy::connection::peer::Peer;
use crate::proxy::connection::pipeline::Pipeline;
use crate::proxy::connection::places::{Open, Place};

/// A request's head must be complete after this time.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that reads nothing of its answer for this long is gone.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that is closed in the middle of a request is read for this long, and no more than `LINGER_BYTES`.
pub const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// While a request is unanswered, no more than this is read of what its client sends behind it. Reading on shows that a client leaves.
const READ_AHEAD: usize = 64 << 10;

/// The stream that actix-http reads from and writes to.
pub struct Connection {
    io: Io,
    framing: Framing,
    /// Read, but not given to the parser yet.
    held: BytesMut,
    /// The beginning of `held` that may go to the parser.
    admitted: usize,
    /// Requests whose answer is written whole. Written on a flush: actix-http flushes once all that it has encoded is written.
    written: u64,
    /// Runs while a head has begun and is not complete, except for the first head.
    head_timer: Option<Pin<Box<Sleep>>>,
    /// Runs while the socket takes no more of an answer.
    write_timer: Option<Pin<Box<Sleep>>>,
    pipeline: Pipeline,
    /// Who is at the other end of TLS; `None`: it is plain.
    peer: Option<Rc<Peer>>,
    /// `None`: it counts for no limit.
    place: Option<Rc<Place>>,
    /// The client has closed, or the connection broke.
    ended: bool,
}

impl Connection {
    pub fn new(io: Io) -> Self {
        Connection {
            io,
            framing: Framing::default(),
            held: BytesMut::new(),
            admitted: 0,
            written: 0,
            head_timer: None,
            write_timer: None,
            pipeline: Pipeline::default(),
            peer: None,
            place: None,
            ended: false,
        }
    }

    /// A connection inside TLS.
    pub fn secure(io: Io, peer: Rc<Peer>) -> Self {
        let mut connection = Connection::new(io);
        connection.peer = Some(peer);
        connection
    }

    /// The same, with a place among all connections.
    pub fn with_place(mut self, place: Rc<Place>) -> Self {
        self.place = Some(place);
        self
    }

    /// No request's head is complete, and no answer is due.
    fn show_idle(&self, cx: &Context<'_>) {
        if let Some(place) = &self.place
            && (self.framing.is_between_requests() || self.framing.is_in_head())
            && !self.is_unanswered()
        {
            place.idle(cx);
        }
    }

    /// Who is at the other end of TLS; `None`: it is plain.
    pub fn peer(&self) -> Option<Rc<Peer>> {
        self.peer.clone()
    }

    /// What this connection and the app tell each other.
    pub fn pipeline(&self) -> Pipeline {
        self.pipeline.clone()
    }

    /// The request whose head was complete last has no answer, or it is not written whole.
    fn is_unanswered(&self) -> bool {
        self.framing.heads() > self.written
    }

    /// How many of `bytes`, which came next, may go to the parser now. It keeps method, version and `close` for each connection: were the
    /// next request parsed before this one is answered, this one would be answered as if it were that.
    fn admit(&mut self, bytes: &mut [u8]) -> usize {
        if self.framing.is_between_requests() && self.is_unanswered() {
            return 0;
        }
        let heads = self.framing.heads();
        let admitted = self.framing.pass(bytes);
        if self.framing.heads() > heads {
            self.pipeline.begin(self.framing.wants_websocket());
            self.head_timer = None;
            if let Some(place) = &self.place {
                place.busy();
            }
        }
        match self.framing.is_in_head() {
            false => self.head_timer = None,
            // The first head has the parser's own timer, which answers 408.
            true if self.framing.heads() > 0 && self.head_timer.is_none() => {
                self.head_timer = Some(Box::pin(sleep(HEAD_TIMEOUT)));
            }
            true => {}
        }
        admitted
    }

    /// Reads what comes straight into the parser's buffer: the usual way. `None`: nothing of it may go to the parser yet.
    fn read_through(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Option<Poll<io::Result<()>>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                let admitted = before + self.admit(&mut buf.filled_mut()[before..]);
                self.held.extend_from_slice(&buf.filled()[admitted..]);
                buf.set_filled(admitted);
                (admitted > before).then_some(Poll::Ready(Ok(())))
            }
            Poll::Pending => Some(self.wait(cx)),
            end => {
                self.ended = true;
                Some(end)
            }
        }
    }

    /// Gives the parser what is held, or reads on behind it. `None`: there may be something to give now.
    fn read_held(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Option<Poll<io::Result<()>>> {
        if self.admitted == 0 {
            let mut held = std::mem::take(&mut self.held);
            self.admitted = self.admit(&mut held);
            self.held = held;
        }
        if self.admitted > 0 {
            let given = self.held.split_to(self.admitted.min(buf.remaining()));
            buf.put_slice(&given);
            self.admitted -= given.len();
            return Some(Poll::Ready(Ok(())));
        }
        if self.framing.is_between_requests() && self.held.len() >= READ_AHEAD {
            // The flush of the answer wakes this task.
            return Some(Poll::Pending);
        }
        match poll_read_buf(Pin::new(&mut self.io), cx, &mut self.held) {
            Poll::Ready(Ok(1..)) => None,
            Poll::Pending => Some(self.wait(cx)),
            end => {
                self.ended = true;
                Some(end.map_ok(drop))
            }
        }
    }

    /// Nothing comes. If that has been so for too long in the middle of a head, the parser sees a client that has closed.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.show_idle(cx);
        match &mut self.head_timer {
            Some(timer) => timer.as_mut().poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl Connection {
    /// What writing came to. An error, if the client has read nothing for too long.
    fn unless_stuck<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        if connection.place.as_ref().is_some_and(|place| place.is_lost()) {
            connection.ended = true;
            return Poll::Ready(match connection.framing.is_in_head() {
                // The parser would wait for the rest of the head.
                true => Err(io::ErrorKind::ConnectionAborted.into()),
                // To the parser, the client has closed.
                false => Ok(()),
            });
        }
        loop {
            let read = match connection.held.is_empty() {
                true => connection.read_through(cx, buf),
                false => connection.read_held(cx, buf),
            };
            if let Some(read) = read {
                return read;
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let connection = self.get_mut();
        let written = Pin::new(&mut connection.io).poll_write(cx, buf);
        connection.unless_stuck(written, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        let answered = connection.pipeline.answered();
        if connection.written < answered {
            connection.written = answered;
            if !connection.held.is_empty() {
                // The next request may go on.
                cx.waker().wake_by_ref();
            } else {
                connection.show_idle(cx);
            }
        }
        // TLS takes what the socket does not, and has it left at the end.
        let flushed = Pin::new(&mut connection.io).poll_flush(cx);
        connection.unless_stuck(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.ended || self.framing.is_between_requests() && self.held.is_empty() {
            return;
        }
        read_on(&self.io, self.place.as_deref());
    }
}

/// Reads on for a while on a connection that is about to be dropped. It counts for the limits all the while.
pub fn read_on(io: &Io, place: Option<&Place>) {
    let open = match place.map(Place::linger) {
        Some(None) => return,
        Some(open) => open,
        None => None,
    };
    // Err: the process is at its end, or has no file left. Then the connection closes as any other.
    if let (Ok(runtime), Ok(io)) = (Handle::try_current(), io.socket().as_fd().try_clone_to_owned()) {
        runtime.spawn(linger(io.into(), open));
    }
}

/// Tells the client that nothing more comes, and reads what it still sends, so that it reads the answer before the connection is gone.
async fn linger(io: std::net::TcpStream, _open: Option<Arc<Open>>) -> io::Result<()> {
    close(TcpStream::from_std(io)?).await
}

/// The same, of a connection that nobody else has.
pub async fn close(mut io: TcpStream) -> io::Result<()> {
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
mod tests;
