//! What the tests stand on: a real Kafka, a backend that obeys, the real binary, and clients that hide nothing.

pub mod acls;
pub mod app;
pub mod backend;
pub mod client;
pub mod dead_letters;
pub mod kafka;
pub mod load;
pub mod metrics;
pub mod nginx;
pub mod one_shot;
pub mod pair;
pub mod records;
pub mod topics;
pub mod wait;

use std::path::{Path, PathBuf};

/// A name that no other test, run or process uses: the tests share one broker. The random part leads, so that
/// `*-requests` still matches.
pub fn unique(name: &str) -> String {
    format!("t{:08x}-{name}", rand::random::<u32>())
}

/// Are the shows to be run at full length (minutes)? `KHP_LONG=1`; else each runs a short version.
pub fn long() -> bool {
    std::env::var_os("KHP_LONG").is_some_and(|value| value == "1")
}

/// The topics and the consumer group of one backend.
#[derive(Debug, Clone)]
pub struct Topics {
    pub request: String,
    pub response: String,
    pub group: String,
}

impl Topics {
    /// `…-NAME-requests`, `…-NAME-responses` and `…-NAME-processors`.
    pub fn unique(name: &str) -> Self {
        let name = unique(name);
        let of = |kind: &str| format!("{name}-{kind}");
        Topics {
            request: of("requests"),
            response: of("responses"),
            group: of("processors"),
        }
    }
}

/// A directory that is removed when it is dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique("khp-test"));
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
