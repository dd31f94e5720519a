//! The bytes of a large body: noise, in blocks of which no two are alike. Both sides know them without asking.

use openssl::sha::Sha256;

const BLOCK: usize = 64 << 10;

/// A body that is written block by block.
pub struct Content {
    /// Its first bytes are the number of the block.
    block: Vec<u8>,
    number: u64,
    left: u64,
}

impl Content {
    pub fn new(size: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        // Xorshift: a block that compresses would be no fair load.
        let block = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        });
        Content {
            block: block.take(BLOCK / 8).flatten().collect(),
            number: 0,
            left: size,
        }
    }

    /// The next bytes; empty at the end.
    pub fn next(&mut self) -> &[u8] {
        self.block[..8].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        let length = self.left.min(BLOCK as u64);
        self.left -= length;
        &self.block[..length as usize]
    }

    /// What a body of this size hashes to.
    pub fn digest(size: u64) -> String {
        let (mut content, mut hash) = (Content::new(size), Sha256::new());
        loop {
            match content.next() {
                [] => return hex(hash),
                bytes => hash.update(bytes),
            }
        }
    }
}

/// A finished hash as text.
pub fn hex(hash: Sha256) -> String {
    hash.finish().iter().map(|byte| format!("{byte:02x}")).collect()
}
