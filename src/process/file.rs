//! Files whose content is needed whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path)?.take(limit + 1).read_to_end(&mut content)?;
    match read as u64 > limit {
        true => Err(io::Error::other(format!("is larger than {limit} bytes"))),
        false => Ok(content),
    }
}
