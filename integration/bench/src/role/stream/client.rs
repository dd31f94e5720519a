//! Clients of streams, on one thread. They check every byte that comes.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::answer::Answer;
use super::events::Events;
use super::{clock, leave, transfer};
use crate::error::Result;
use crate::outcome::Recorder;
use crate::role::single_thread;

#[derive(clap::Args)]
pub struct StreamLoad {
    /// Where to send
    #[arg(long)]
    target: SocketAddr,
    /// The backend itself, which is asked what it has seen
    #[arg(long)]
    backend: SocketAddr,
    #[command(subcommand)]
    work: Work,
}

#[derive(clap::Subcommand)]
enum Work {
    /// Reads streams of events; a latency is the time from an event's writing to its arrival
    Events(EventsWork),
    /// Gets one large body; its latency is the time that it takes
    Down(transfer::Size),
    /// Gets the same again and again, unmeasured
    DownAgainAndAgain(transfer::Size),
    /// Sends one large body
    Up(transfer::Size),
    /// Leaves; a latency is the time until the backend's connection is closed
    Leave(leave::Leave),
}

#[derive(clap::Args)]
struct EventsWork {
    #[arg(long)]
    streams: usize,
    /// Events a second on each stream
    #[arg(long)]
    rate: u64,
    /// Bytes of an event
    #[arg(long)]
    size: usize,
    #[arg(long)]
    warm_up: f64,
    #[arg(long)]
    seconds: f64,
}

impl StreamLoad {
    pub fn run(self) -> Result<()> {
        let (target, backend) = (self.target, self.backend);
        single_thread::block_on(async move {
            match self.work {
                Work::Events(work) => work.run(target).await,
                Work::Down(size) => transfer::down(target, size).await,
                Work::DownAgainAndAgain(size) => transfer::down_again_and_again(target, size).await,
                Work::Up(size) => transfer::up(target, size).await,
                Work::Leave(work) => work.run(target, backend).await,
            }
        })
    }
}

impl EventsWork {
    async fn run(self, target: SocketAddr) -> Result<()> {
        let recorder = Rc::new(RefCell::new(Recorder::new()?));
        for _ in 0..self.streams {
            let (recorder, path) = (
                recorder.clone(),
                format!("events?rate={}&size={}", self.rate, self.size),
            );
            let size = self.size;
            tokio::task::spawn_local(async move {
                // However it ends, it ends too early.
                if let Err(error) = read_events(target, &path, size, &recorder).await {
                    eprintln!("bench: a stream: {error}");
                }
                recorder.borrow_mut().failed();
            });
        }
        sleep(Duration::from_secs_f64(self.warm_up)).await;
        recorder.borrow_mut().begin();
        sleep(Duration::from_secs_f64(self.seconds)).await;
        recorder.borrow_mut().end()
    }
}

async fn read_events(target: SocketAddr, path: &str, size: usize, recorder: &RefCell<Recorder>) -> Result<()> {
    let mut answer = Answer::get(target, path).await?;
    let mut events = Events::new(size);
    while let Some(bytes) = answer.next().await? {
        let (now, mut recorder) = (clock::now(), recorder.borrow_mut());
        events.take(&bytes, |at| recorder.answered(now.saturating_sub(at)))?;
    }
    Err("it ended".into())
}
