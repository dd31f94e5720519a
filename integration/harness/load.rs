//! Steady load: clients that send one request after the other, each on a connection that it keeps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::{Connection, Request, Response};
use super::wait::PATIENCE;

/// What a client does after an answer with `Connection: close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClose {
    /// It leaves, as behind a load balancer that sends it elsewhere.
    Leave,
    /// It connects again.
    Reconnect,
    /// It connects again, also after a failure, and sends at a steady pace.
    Persist,
}

/// The pause of a persistent client between two requests.
const PACE: Duration = Duration::from_millis(20);
/// The pause of a persistent client after a failure. Without it, the machine would be busy with refusals alone.
const PAUSE: Duration = Duration::from_millis(200);

/// Clients at work. The backend must answer with the request's body.
pub struct Load {
    clients: JoinSet<Report>,
    answered: watch::Sender<usize>,
    stop: watch::Sender<bool>,
}

/// How the requests ended.
#[derive(Debug, Default)]
pub struct Report {
    pub answered: usize,
    /// How many answers had `Connection: close`.
    pub told_to_close: usize,
    pub slowest: Duration,
    /// How often each kind of failure occurred: `503 overloaded`, `connection`, `WRONG` (the answer of another request).
    pub kinds: BTreeMap<String, usize>,
    /// Every request that did not get its own answer.
    pub failures: Vec<String>,
    /// When the last request that failed was sent.
    pub last_failed: Option<Instant>,
}

impl Load {
    /// Starts this many clients. `request` makes a request from its body, which is unique.
    pub fn start(address: &str, clients: usize, on_close: OnClose, request: fn(String) -> Request) -> Self {
        let (answered, stop) = (watch::Sender::new(0), watch::Sender::new(false));
        let mut set = JoinSet::new();
        for client in 0..clients {
            let address = address.to_owned();
            let (answered, stop) = (answered.clone(), stop.subscribe());
            set.spawn(async move {
                let mut report = Report::default();
                let mut number = 0;
                while let Err(failure) = run(
                    client,
                    &mut number,
                    &address,
                    on_close,
                    request,
                    &answered,
                    &stop,
                    &mut report,
                )
                .await
                {
                    report.failed(failure);
                    if on_close != OnClose::Persist || *stop.borrow() {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
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

    /// How many answers have come so far.
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

    /// Lets every client finish the request that it waits for, and adds up their reports.
    pub async fn finish(self) -> Report {
        self.stop.send_replace(true);
        self.join().await
    }

    /// Waits until every client has left by itself, and adds up their reports.
    pub async fn join(mut self) -> Report {
        let mut total = Report::default();
        while let Some(report) = self.clients.join_next().await {
            let report = report.expect("a load client does not panic");
            total.answered += report.answered;
            total.told_to_close += report.told_to_close;
            total.slowest = total.slowest.max(report.slowest);
            for (kind, count) in report.kinds {
                *total.kinds.entry(kind).or_default() += count;
            }
            total.failures.extend(report.failures);
            total.last_failed = total.last_failed.max(report.last_failed);
        }
        total
    }
}

impl Report {
    fn failed(&mut self, failure: Failure) {
        *self.kinds.entry(failure.kind).or_default() += 1;
        self.failures.push(failure.what);
        self.last_failed = self.last_failed.max(Some(failure.sent));
    }
}

/// A request that did not get its own answer.
struct Failure {
    kind: String,
    what: String,
    sent: Instant,
}

impl Failure {
    fn connection(sent: Instant, what: impl std::fmt::Display) -> Self {
        Failure {
            kind: "connection".into(),
            what: what.to_string(),
            sent,
        }
    }

    fn answer(sent: Instant, body: &str, answer: &Response) -> Self {
        let code = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        let kind = match (answer.status, code["code"].as_str()) {
            (200, _) => "WRONG".to_owned(),
            (status, code) => format!("{status} {}", code.unwrap_or("of another")),
        };
        let via = answer.header("x-upstream").unwrap_or_default();
        let what = format!("{body}: {} via {via} {}", answer.status, answer.text());
        Failure { kind, what, sent }
    }
}

#[allow(clippy::too_many_arguments, reason = "the whole state of a loop")]
async fn run(
    client: usize,
    number: &mut usize,
    address: &str,
    on_close: OnClose,
    request: fn(String) -> Request,
    answered: &watch::Sender<usize>,
    stop: &watch::Receiver<bool>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut connection = connect(address).await?;
    while !*stop.borrow() {
        *number += 1;
        let body = format!("client {client} request {number}");
        let sent = Instant::now();
        let answer = connection
            .request(&request(body.clone()))
            .await
            .map_err(|error| Failure::connection(sent, format_args!("{body}: {error}")))?;
        report.slowest = report.slowest.max(sent.elapsed());
        if answer.status != 200 || answer.text() != body {
            let failure = Failure::answer(sent, &body, &answer);
            if on_close != OnClose::Persist || answer.closes() {
                return Err(failure);
            }
            report.failed(failure);
            tokio::time::sleep(PAUSE).await;
            continue;
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
        if on_close == OnClose::Persist {
            tokio::time::sleep(PACE).await;
        }
    }
    Ok(())
}

async fn connect(address: &str) -> Result<Connection, Failure> {
    let began = Instant::now();
    Connection::open(address)
        .await
        .map_err(|error| Failure::connection(began, format_args!("connect: {error}")))
}
