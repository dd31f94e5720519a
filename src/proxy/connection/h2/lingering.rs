//! The end of a connection of HTTP/2.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::connection::io::Io;
use crate::proxy::connection::places::Place;
use crate::proxy::connection::stream::read_on;

/// A connection whose client, if it has not closed, is read on for a moment once this is dropped: closing with bytes unread would reset the
/// connection, and the client would lose what it was sent last.
pub struct Lingering {
    io: Io,
    place: Rc<Place>,
    /// The client has closed, or the connection broke.
    ended: bool,
}

impl Lingering {
    pub fn new(io: Io, place: Rc<Place>) -> Self {
        Lingering {
            io,
            place,
            ended: false,
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if !self.ended {
            read_on(&self.io, Some(&self.place));
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let goes_on = match &read {
            Poll::Ready(Ok(())) => buf.filled().len() > before,
            Poll::Ready(Err(_)) => false,
            Poll::Pending => true,
        };
        self.ended |= !goes_on;
        read
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
