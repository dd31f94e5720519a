//! The body of a result that lies in several records, as its client takes it. What is cut off ends the connection: it is never taken for
//! whole.

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};

use crate::proxy::results::fetcher::{FetchError, Item, Pieces};
use crate::wire::stream::{Piece, Then};

/// What ends a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the result is cut off: {0}")]
pub struct CutOff(String);

/// Where the body is.
enum State {
    At(Piece, Pieces),
    /// The next piece has this number.
    Next(u64, Pieces),
    Over,
}

/// The bytes of a body whose first piece came.
pub fn body(first: Piece, pieces: Pieces) -> impl Stream<Item = Result<Bytes, CutOff>> {
    unfold(State::At(first, pieces), |state| async {
        match state {
            State::Over => None,
            State::At(piece, pieces) => Some(given(piece, pieces)),
            State::Next(seq, pieces) => Some(next(seq, pieces).await),
        }
    })
}

/// The bytes of a piece, and what follows it.
fn given(piece: Piece, pieces: Pieces) -> (Result<Bytes, CutOff>, State) {
    match piece.then {
        Then::More => (Ok(piece.body), State::Next(piece.seq + 1, pieces)),
        Then::End => (Ok(piece.body), State::Over),
        Then::Cut(error) => (Err(CutOff(error.as_str().to_owned())), State::Over),
    }
}

async fn next(seq: u64, mut pieces: Pieces) -> (Result<Bytes, CutOff>, State) {
    let cut = |why: String| (Err(CutOff(why)), State::Over);
    match pieces.recv().await {
        Some(Ok(Item::Piece(piece))) if piece.seq == seq => given(piece, pieces),
        // Written twice.
        Some(Ok(Item::Piece(piece))) if piece.seq < seq => (Ok(Bytes::new()), State::Next(seq, pieces)),
        Some(Ok(_)) => cut("a piece is missing".into()),
        Some(Err(error)) => cut(error.to_string()),
        None => cut(FetchError::Unread("its last pieces are missing".into()).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on_stream;
    use tokio::sync::mpsc;

    use super::*;
    use crate::wire::stream::{StreamError, StreamId};

    fn piece(seq: u64, body: &'static str, then: Then) -> Piece {
        Piece {
            correlation_id: Bytes::from_static(b"id"),
            stream: StreamId::from_bytes(b"12345678").unwrap(),
            seq,
            head: None,
            body: Bytes::from_static(body.as_bytes()),
            then,
        }
    }

    /// The bytes, and whether they are whole.
    fn read(pieces: Vec<Piece>) -> (String, bool) {
        let mut pieces = pieces.into_iter();
        let first = pieces.next().unwrap();
        let (to, rest) = mpsc::channel(16);
        pieces.for_each(|piece| to.try_send(Ok(Item::Piece(piece))).unwrap_or_default());
        drop(to);
        let (mut text, mut is_whole) = (String::new(), true);
        for part in block_on_stream(Box::pin(body(first, rest))) {
            match part {
                Ok(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Err(_) => is_whole = false,
            }
        }
        (text, is_whole)
    }

    #[test]
    fn a_body_is_whole_with_its_last_piece_and_cut_off_without() {
        let (one, two) = (|| piece(0, "a", Then::More), || piece(1, "b", Then::More));
        let whole = |text: &str| (text.to_owned(), true);
        let cut = |text: &str| (text.to_owned(), false);
        assert_eq!(read(vec![piece(0, "x", Then::End)]), whole("x"));
        assert_eq!(read(vec![one(), two(), piece(2, "c", Then::End)]), whole("abc"));
        assert_eq!(read(vec![one(), one(), two(), piece(2, "", Then::End)]), whole("ab"));
        assert_eq!(read(vec![one(), two()]), cut("ab"));
        assert_eq!(read(vec![one(), piece(2, "c", Then::End)]), cut("a"));
        let error = Then::Cut(StreamError::Draining);
        assert_eq!(read(vec![one(), piece(1, "", error)]), cut("a"));
    }
}
