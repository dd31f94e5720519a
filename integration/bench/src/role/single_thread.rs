//! A runtime of one thread.

use crate::error::Result;

/// Runs a future, and the tasks that it spawns, on this thread alone.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}
