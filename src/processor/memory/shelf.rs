//! What is kept of an answer's body as it comes: it is cut into pieces, and where those lie is noted. Pure.
//!
//! Pieces are full but for the last one, since nobody reads them as they come. A body that ends within a record is none.

use bytes::{Bytes, BytesMut};

/// A piece that is to be written now.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub seq: u64,
    pub body: Bytes,
    /// False for the last piece.
    pub more: bool,
}

/// How much goes where, in bytes of body.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// The most that the answer's own record takes.
    pub whole: usize,
    /// One piece.
    pub piece: usize,
    /// The most that is kept at all.
    pub most: u64,
}

/// What has become of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// It fits into the answer's own record.
    Whole(Bytes),
    /// In pieces, with their bytes in all.
    InPieces { first: i64, last: i64, length: u64 },
    /// It is too large, or could not be written.
    No,
}

/// The body of one answer.
pub struct Shelf {
    sizes: Sizes,
    /// What came and was not given out.
    held: BytesMut,
    /// Bytes that came in all.
    length: u64,
    /// The number of the next piece.
    seq: u64,
    first: Option<i64>,
    last: i64,
    is_over: bool,
    is_given_up: bool,
}

impl Shelf {
    pub fn new(sizes: Sizes) -> Self {
        Shelf {
            sizes,
            held: BytesMut::new(),
            length: 0,
            seq: 0,
            first: None,
            last: 0,
            is_over: false,
            is_given_up: false,
        }
    }

    /// Takes in what came.
    pub fn push(&mut self, bytes: &Bytes) {
        self.length += bytes.len() as u64;
        if self.length > self.sizes.most {
            self.give_up();
        }
        if !self.is_given_up {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Nothing more comes.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// It is not kept.
    pub fn give_up(&mut self) {
        self.is_given_up = true;
        self.held = BytesMut::new();
    }

    /// It takes more: no more than a piece is held, besides one that is being written.
    pub fn has_room(&self) -> bool {
        self.held.len() <= self.sizes.piece
    }

    /// The next piece, if one is to be written now. The one before it has been.
    pub fn next_piece(&mut self) -> Option<Piece> {
        let piece = self.sizes.piece;
        let is_full = self.held.len() > piece;
        let is_last = self.is_over && !is_full && !self.held.is_empty() && !self.is_whole();
        if self.is_given_up || !(is_full && !self.is_whole() || is_last) {
            return None;
        }
        let body = match is_last {
            true => std::mem::take(&mut self.held),
            false => self.held.split_to(piece),
        };
        self.seq += 1;
        Some(Piece {
            seq: self.seq - 1,
            body: body.freeze(),
            more: !is_last,
        })
    }

    /// A piece lies at this offset.
    pub fn wrote(&mut self, offset: i64) {
        self.first.get_or_insert(offset);
        self.last = offset;
    }

    /// What has become of the body, once all of it was given out and written.
    pub fn kept(self) -> Kept {
        match self.first {
            _ if self.is_given_up => Kept::No,
            Some(first) => Kept::InPieces {
                first,
                last: self.last,
                length: self.length,
            },
            None => Kept::Whole(self.held.freeze()),
        }
    }

    /// All of it has come, and fits into the answer's own record.
    fn is_whole(&self) -> bool {
        self.is_over && self.seq == 0 && self.held.len() <= self.sizes.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZES: Sizes = Sizes {
        whole: 12,
        piece: 10,
        most: 1000,
    };

    /// What becomes of a body that comes in these parts, and its pieces.
    fn shelved(sizes: Sizes, parts: &[&[u8]]) -> (Kept, Vec<Piece>) {
        let (mut shelf, mut pieces) = (Shelf::new(sizes), Vec::new());
        let mut write = |shelf: &mut Shelf| {
            while let Some(piece) = shelf.next_piece() {
                shelf.wrote(100 + 3 * pieces.len() as i64);
                pieces.push(piece);
            }
        };
        for part in parts {
            assert!(shelf.has_room());
            shelf.push(&Bytes::copy_from_slice(part));
            write(&mut shelf);
        }
        shelf.end();
        write(&mut shelf);
        (shelf.kept(), pieces)
    }

    #[test]
    fn what_fits_into_a_record_is_no_piece() {
        for parts in [vec![], vec![&b"abc"[..]], vec![&b"abcde"[..], &b"fghij"[..]]] {
            let (kept, pieces) = shelved(SIZES, &parts);
            assert_eq!((kept, pieces), (Kept::Whole(parts.concat().into()), vec![]));
        }
        // One that has not ended when a piece is full is written.
        let (kept, pieces) = shelved(SIZES, &[b"abcdefghijk", b"l"]);
        let expected = Kept::InPieces {
            first: 100,
            last: 103,
            length: 12,
        };
        assert_eq!((kept, pieces.len()), (expected, 2));
        // The head takes room, too.
        let little = Sizes { whole: 2, ..SIZES };
        assert!(matches!(
            shelved(little, &[b"abc"]).0,
            Kept::InPieces {
                first: 100,
                last: 100,
                length: 3
            }
        ));
    }

    #[test]
    fn what_is_too_large_or_was_given_up_is_not_kept() {
        let small = Sizes { most: 15, ..SIZES };
        assert_eq!(shelved(small, &[b"abcdefghijk", b"lmnop"]).0, Kept::No);
        let mut shelf = Shelf::new(SIZES);
        shelf.push(&Bytes::from_static(b"abcdefghijkl"));
        assert!(!shelf.has_room());
        shelf.give_up();
        shelf.push(&Bytes::from_static(b"abcdefghijkl"));
        assert!(shelf.has_room() && shelf.next_piece().is_none());
        shelf.wrote(7);
        shelf.end();
        assert_eq!((shelf.next_piece(), shelf.kept()), (None, Kept::No));
    }

    proptest! {
        /// Whatever comes: its pieces are numbered without a gap, none is empty, only the last one says so, and together they are the body.
        #[test]
        fn pieces_are_the_body(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..25), 0..20), whole in 0usize..30) {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            // A piece is never larger than asked for, whatever comes at once.
            let (kept, pieces) = shelved(Sizes { whole, ..SIZES }, &parts);
            let body = parts.concat();
            match kept {
                Kept::Whole(kept) => prop_assert_eq!((&kept[..], pieces.len()), (&body[..], 0)),
                Kept::InPieces { first, last, length } => {
                    prop_assert_eq!((first, last), (100, 100 + 3 * (pieces.len() as i64 - 1)));
                    prop_assert_eq!(length, body.len() as u64);
                    for (number, piece) in pieces.iter().enumerate() {
                        prop_assert_eq!((piece.seq, piece.more), (number as u64, number + 1 < pieces.len()));
                        prop_assert!(!piece.body.is_empty() && piece.body.len() <= SIZES.piece);
                    }
                    let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.body.to_vec()).collect();
                    prop_assert_eq!(joined, body);
                }
                Kept::No => prop_assert!(false, "it is kept"),
            }
        }
    }
}
