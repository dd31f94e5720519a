//! Steady load: clients that each send one request after the other on a connection they keep.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::{Connection, Request};
use super::wait::PATIENCE;

/// What a client does when an answer says `Connection: close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClose {
    /// It goes away, as a load balancer sends it elsewhere.
    Leave,
    /// It connects again.
    Reconnect,
}

/// Clients at work; the backend must answer with the request's body.
pub struct Load {
    clients: JoinSet<Report>,
    answered: watch::Sender<usize>,
    stop: watch::Sender<bool>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Report {
    pub answered: usize,
    /// How many connections the server closed by saying so.
    pub told_to_close: usize,
    pub slowest: Duration,
    /// Every request that did not get its own answer.
    pub failures: Vec<String>,
}

impl Load {
    /// Starts this many clients; `request` makes a request from its unique body.
    pub fn start(address: &str, clients: usize, on_close: OnClose, request: fn(String) -> Request) -> Self {
        let (answered, stop) = (watch::Sender::new(0), watch::Sender::new(false));
        let mut set = JoinSet::new();
        for client in 0..clients {
            let address = address.to_owned();
            let (answered, stop) = (answered.clone(), stop.subscribe());
            set.spawn(async move {
                let mut report = Report::default();
                if let Err(failure) = run(client, &address, on_close, request, &answered, &stop, &mut report).await {
                    report.failures.push(failure);
                }
                report
            });
        }
        Load {
            clients: set,
            answered,
            stop,
        }
    }

    /// How many answers came so far.
    pub fn answered(&self) -> usize {
        *self.answered.borrow()
    }

    /// Waits for this many answers more than now.
    pub async fn wait_for_more(&self, more: usize) {
        let goal = self.answered() + more;
        let mut answered = self.answered.subscribe();
        let there = tokio::time::timeout(PATIENCE, answered.wait_for(|now| *now >= goal))
            .await
            .map(drop);
        assert!(
            there.is_ok(),
            "{} of {goal} answers within {PATIENCE:?}",
            self.answered()
        );
    }

    /// Lets every client finish the request it waits for, and adds up what they saw.
    pub async fn finish(self) -> Report {
        self.stop.send_replace(true);
        self.join().await
    }

    /// Waits until every client has left by itself.
    pub async fn join(mut self) -> Report {
        let mut total = Report::default();
        while let Some(report) = self.clients.join_next().await {
            let report = report.expect("a load client does not panic");
            total.answered += report.answered;
            total.told_to_close += report.told_to_close;
            total.slowest = total.slowest.max(report.slowest);
            total.failures.extend(report.failures);
        }
        total
    }
}

async fn run(
    client: usize,
    address: &str,
    on_close: OnClose,
    request: fn(String) -> Request,
    answered: &watch::Sender<usize>,
    stop: &watch::Receiver<bool>,
    report: &mut Report,
) -> Result<(), String> {
    let mut connection = connect(address).await?;
    for number in 0.. {
        if *stop.borrow() {
            break;
        }
        let body = format!("client {client} request {number}");
        let sent = Instant::now();
        let answer = connection
            .request(&request(body.clone()))
            .await
            .map_err(|error| format!("{body}: {error}"))?;
        report.slowest = report.slowest.max(sent.elapsed());
        if answer.status != 200 || answer.text() != body {
            return Err(format!("{body}: {} {}", answer.status, answer.text()));
        }
        report.answered += 1;
        answered.send_modify(|count| *count += 1);
        if answer.closes() {
            report.told_to_close += 1;
            if on_close == OnClose::Leave {
                break;
            }
            connection = connect(address).await?;
        }
    }
    Ok(())
}

async fn connect(address: &str) -> Result<Connection, String> {
    Connection::open(address)
        .await
        .map_err(|error| format!("connect: {error}"))
}
