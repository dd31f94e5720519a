//! Clients that leave, one after the other.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::answer::{Answer, connect, request};
use super::clock;
use crate::error::Result;
use crate::outcome::Recorder;

/// Longer than this, and nobody can be said to have noticed.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Leave {
    /// How many clients leave
    #[arg(long)]
    times: u64,
    /// They leave before the first byte of their answer
    #[arg(long)]
    early: bool,
}

impl Leave {
    pub async fn run(self, target: SocketAddr, backend: SocketAddr) -> Result<()> {
        let mut recorder = Recorder::new()?;
        recorder.begin();
        // Numbers of its own, for this process alone.
        let first = u64::from(std::process::id()) << 32;
        for call in first..first + self.times {
            match timeout(LIMIT, self.leave(target, backend, call)).await {
                Ok(Ok(after)) => recorder.answered(after),
                Ok(Err(error)) => {
                    eprintln!("bench: a client that leaves: {error}");
                    recorder.failed();
                }
                Err(_) => recorder.failed(),
            }
        }
        recorder.end()
    }

    /// The time until the backend's connection was closed.
    async fn leave(&self, target: SocketAddr, backend: SocketAddr, call: u64) -> Result<Duration> {
        let mut stream = connect(target).await?;
        if self.early {
            request(&mut stream, target, &format!("silent?call={call}")).await?;
            Answer::get(backend, &format!("begun?call={call}"))
                .await?
                .text()
                .await?;
        } else {
            request(&mut stream, target, &format!("events?rate=10&size=100&call={call}")).await?;
            let mut answer = Answer::of(stream).await?;
            answer.next().await?.ok_or("an event is there")?;
            stream = answer.into_stream();
        }
        let left = clock::now();
        drop(stream);
        let closed = Answer::get(backend, &format!("closed?call={call}"))
            .await?
            .text()
            .await?;
        Ok(Duration::from_nanos(closed.parse()?).saturating_sub(left))
    }
}
