//! One allocation for many small pieces.

use bytes::{Bytes, BytesMut};

/// Copies pieces of bytes behind each other; each comes back as `Bytes` of its own, and all of them share the memory, which is freed
/// with the last.
pub struct Arena(BytesMut);

impl Arena {
    /// `capacity` is the size of all pieces together; where it is too small, there is one more allocation.
    pub fn with_capacity(capacity: usize) -> Self {
        Arena(BytesMut::with_capacity(capacity))
    }

    pub fn copy(&mut self, piece: &[u8]) -> Bytes {
        self.0.extend_from_slice(piece);
        self.0.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_apart_even_where_the_capacity_was_too_small() {
        for capacity in [0, 4, 100] {
            let mut arena = Arena::with_capacity(capacity);
            let pieces: Vec<Bytes> = [&b"one"[..], b"", b"three"].map(|piece| arena.copy(piece)).into();
            drop(arena);
            assert_eq!(pieces, [&b"one"[..], b"", b"three"]);
        }
    }
}
