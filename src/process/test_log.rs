//! Where a test's log is written.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing_subscriber::fmt::MakeWriter;

/// What was written. Clones share it.
#[derive(Clone, Default)]
pub struct Text(Arc<ArcSwap<Vec<u8>>>);

impl Text {
    /// All of it.
    pub fn read(&self) -> String {
        String::from_utf8(self.0.load().to_vec()).unwrap()
    }
}

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.rcu(|text| [&text[..], bytes].concat());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Text {
    type Writer = Text;

    fn make_writer(&'a self) -> Text {
        self.clone()
    }
}
