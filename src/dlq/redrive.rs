//! `dlq redrive`: letters back to the topics they came from, each exactly once.
//!
//! A batch of letters and the marks that name them are one transaction. A later run reads the marks and goes on behind them. Letters
//! that a filter passed over have no mark, and can be redriven later.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::{DefaultDirectRateLimiter, RateLimiter};

use crate::dlq::error::DlqError;
use crate::dlq::filter::pass;
use crate::dlq::letter::Place;
use crate::dlq::letters::{Letters, Next};
use crate::dlq::options::Redrive;
use crate::dlq::targets::{Left, Planned, Targets};
use crate::dlq::transactions::Transactions;
use crate::process::rate::per_second;
use crate::process::signals::Signals;
use crate::process::status_line::StatusLine;
use crate::process::{exit, output};
use crate::settings::Settings;

/// Letters in one transaction. While it is open, consumers of its partitions wait, so it is made of what is at hand.
const BATCH: usize = 100;
/// While a rate is kept, how often is looked whether the redrive is to end.
const LOOK: Duration = Duration::from_millis(100);

/// The command: prints what is done, and ends early on a signal.
pub fn run(settings: &Settings, redrive: &Redrive) -> Result<(), DlqError> {
    let onlooker = Terminal {
        stop: stop_on_signal()?,
        is_dry: redrive.dry_run,
        status: RefCell::new(StatusLine::begin()),
    };
    onlooker.status.borrow_mut().show("reading what was redriven before …");
    let outcome = send_back(settings, redrive, &onlooker);
    drop(onlooker);
    match outcome {
        (None, done) => {
            if done.is_ok() {
                output::complain("no dead letters: their topic does not exist yet");
            }
            done
        }
        (Some(report), done) => {
            let reported = report.print(redrive.dry_run);
            done.and(reported)
        }
    }
}

/// Follows a redrive while it runs.
pub trait Onlooker {
    /// A dry run would send this letter to this topic.
    ///
    /// # Errors
    /// It cannot be told; the redrive ends.
    fn planned(&self, place: Place, topic: &str) -> Result<(), DlqError>;
    /// So far.
    fn progress(&self, report: &Report);
    /// Asked before each letter, and while one waits: is it to end? The batch at hand is finished first.
    fn is_stopped(&self) -> bool;
}

/// What a redrive has done.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Letters that went back; of a dry run, those that would.
    pub redriven: usize,
    /// Letters that stay, by the reason.
    pub left: BTreeMap<Left, Vec<Place>>,
}

/// Sends letters back. The report is of what was done, even where an error ended it; `None`: nothing was begun.
pub fn send_back(
    settings: &Settings,
    redrive: &Redrive,
    onlooker: &dyn Onlooker,
) -> (Option<Report>, Result<(), DlqError>) {
    let topic = settings.processor.dead_letter_topic.as_deref();
    let begun = Targets::new(settings, redrive, topic.unwrap_or_default())
        .and_then(|targets| Ok(Letters::open(settings)?.map(|letters| (targets, letters))));
    let (mut targets, letters) = match begun {
        Ok(Some(begun)) => begun,
        Ok(None) => return (None, Ok(())),
        Err(error) => return (None, Err(error)),
    };
    let mut run = match Run::start(settings, redrive, letters.topic(), onlooker) {
        Ok(run) => run,
        Err(error) => return (None, Err(error)),
    };
    // After the start, which ends the transaction of an earlier run: from here on no other run writes marks.
    let done = letters.survey().and_then(|survey| {
        letters.each(&survey, |letter| {
            run.go_on()?;
            if letter.redriven || !pass(&redrive.filter, &letter) {
                return Ok(Next::GoOn);
            }
            match targets.plan(&letter, &letters)? {
                Ok(planned) => run.take(planned),
                Err(why) => {
                    run.leave(letter.place(), why);
                    Ok(Next::GoOn)
                }
            }
        })
    });
    let done = done.and_then(|()| run.flush());
    (Some(run.report), done)
}

/// Prints.
struct Terminal {
    stop: Arc<AtomicBool>,
    /// It prints each letter.
    is_dry: bool,
    /// How far it is.
    status: RefCell<StatusLine>,
}

impl Onlooker for Terminal {
    fn planned(&self, place: Place, topic: &str) -> Result<(), DlqError> {
        self.status.borrow_mut().clear();
        Ok(output::print(format_args!("{place} → {topic}\n"))?)
    }

    fn progress(&self, report: &Report) {
        if self.is_dry {
            return;
        }
        let left: usize = report.left.values().map(Vec::len).sum();
        let text = format_args!("{} letters redriven, {left} left; reading on …", report.redriven);
        self.status.borrow_mut().show(text);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// One redrive.
struct Run<'a> {
    /// `None`: a dry run.
    transactions: Option<Transactions<'a>>,
    limit: Option<DefaultDirectRateLimiter>,
    batch: Vec<Planned>,
    batch_size: usize,
    max: usize,
    taken: usize,
    report: Report,
    onlooker: &'a dyn Onlooker,
}

impl<'a> Run<'a> {
    fn start(
        settings: &Settings,
        redrive: &Redrive,
        dead_letter_topic: &'a str,
        onlooker: &'a dyn Onlooker,
    ) -> Result<Self, DlqError> {
        let transactions = match redrive.dry_run {
            true => None,
            false => Some(Transactions::start(settings, dead_letter_topic)?),
        };
        let quota = |rate| per_second(rate, NonZeroU32::MIN);
        Ok(Run {
            transactions,
            limit: redrive.rate.and_then(quota).map(RateLimiter::direct),
            batch: Vec::new(),
            // Ten transactions a second: a slow rate does not make a letter wait for a hundred others.
            batch_size: redrive
                .rate
                .map_or(BATCH, |rate| ((rate / 10.0) as usize).clamp(1, BATCH)),
            max: redrive.max.unwrap_or(usize::MAX),
            taken: 0,
            report: Report::default(),
            onlooker,
        })
    }

    fn take(&mut self, planned: Planned) -> Result<Next, DlqError> {
        if self.taken == self.max {
            return Ok(Next::Enough);
        }
        while let Some(wait) = self.wait() {
            std::thread::sleep(wait.min(LOOK));
            self.go_on()?;
        }
        self.taken += 1;
        self.batch.push(planned);
        if self.batch.len() >= self.batch_size {
            self.flush()?;
        }
        match self.taken == self.max {
            true => Ok(Next::Enough),
            false => Ok(Next::GoOn),
        }
    }

    /// How long the next letter waits for its turn; `None`: it is its turn.
    fn wait(&self) -> Option<Duration> {
        let limit = self.limit.as_ref().filter(|_| self.transactions.is_some())?;
        let early = limit.check().err()?;
        Some(early.wait_time_from(limit.clock().now()))
    }

    /// # Errors
    /// `Interrupted`: it is to end.
    fn go_on(&mut self) -> Result<(), DlqError> {
        match self.onlooker.is_stopped() {
            true => self.flush().and(Err(DlqError::Interrupted)),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), DlqError> {
        let batch = std::mem::take(&mut self.batch);
        let sent = self.send(&batch);
        self.onlooker.progress(&self.report);
        sent
    }

    /// Sends a batch; one that Kafka refuses letter by letter, since the others in it are innocent.
    fn send(&mut self, batch: &[Planned]) -> Result<(), DlqError> {
        let Some(transactions) = &self.transactions else {
            for Planned { place, topic, .. } in batch {
                self.onlooker.planned(*place, topic)?;
            }
            self.report.redriven += batch.len();
            return Ok(());
        };
        match (transactions.send(batch)?, batch) {
            (Ok(()), _) => self.report.redriven += batch.len(),
            (Err(code), [one]) => {
                let (topic, code) = (one.topic.to_string(), code.to_string());
                self.leave(one.place, Left::Refused { topic, code });
            }
            (Err(_), several) => {
                for one in several {
                    self.send(std::slice::from_ref(one))?;
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, place: Place, why: Left) {
        self.report.left.entry(why).or_default().push(place);
    }
}

impl Report {
    fn print(&self, is_dry: bool) -> Result<(), DlqError> {
        let what = if is_dry { "to be redriven" } else { "redriven" };
        output::print(format_args!("{what}: {}\n", self.redriven))?;
        for (why, places) in &self.left {
            let some: Vec<String> = places.iter().take(5).map(Place::to_string).collect();
            let more = if places.len() > some.len() { ", …" } else { "" };
            output::print(format_args!(
                "left: {} ({}{more}): {why}\n",
                places.len(),
                some.join(", ")
            ))?;
        }
        Ok(())
    }
}

/// True once a signal came. The batch at hand is finished first, so that no open transaction holds up a request topic. A second signal
/// ends the process at once.
fn stop_on_signal() -> Result<Arc<AtomicBool>, DlqError> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let failed = |error: std::io::Error| DlqError::Usage(format!("signals cannot be taken: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let mut signals = runtime.block_on(async { Signals::install() }).map_err(failed)?;
    let listen = move || {
        runtime.block_on(async {
            signals.next().await;
            told.store(true, Ordering::Relaxed);
            signals.next().await;
            std::process::exit(exit::CUT_OFF.into());
        })
    };
    std::thread::Builder::new()
        .name("khp-signals".into())
        .spawn(listen)
        .map_err(failed)?;
    Ok(stop)
}
