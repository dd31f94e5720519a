//! `dlq redrive`: letters back to the topics they came from, each exactly once.
//!
//! A batch of letters and the marks that name them are one transaction. A later run reads the marks and goes on behind them. Letters
//! that a filter passed over have no mark, and can be redriven later.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
use crate::process::{exit, output};
use crate::settings::Settings;

/// Letters in one transaction. While it is open, consumers of its partitions wait, so it is made of what is at hand.
const BATCH: usize = 100;

pub fn run(settings: &Settings, redrive: &Redrive) -> Result<(), DlqError> {
    let topic = settings.processor.dead_letter_topic.as_deref();
    let mut targets = Targets::new(settings, redrive, topic.unwrap_or_default())?;
    let Some(letters) = Letters::open(settings)? else {
        output::complain("no dead letters: their topic does not exist yet");
        return Ok(());
    };
    let mut run = Run::start(settings, redrive, letters.topic())?;
    // After the start, which ends the transaction of an earlier run: from here on no other run writes marks.
    let survey = letters.survey()?;
    let done = letters
        .each(&survey, |letter| {
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
        .and_then(|()| run.flush());
    let reported = run.report();
    done.and(reported)
}

/// One run of the command.
struct Run<'a> {
    /// `None`: a dry run.
    transactions: Option<Transactions<'a>>,
    limit: Option<DefaultDirectRateLimiter>,
    batch: Vec<Planned>,
    batch_size: usize,
    max: usize,
    taken: usize,
    redriven: usize,
    left: BTreeMap<Left, Vec<Place>>,
    stop: Arc<AtomicBool>,
}

impl<'a> Run<'a> {
    fn start(settings: &Settings, redrive: &Redrive, dead_letter_topic: &'a str) -> Result<Self, DlqError> {
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
            redriven: 0,
            left: BTreeMap::new(),
            stop: stop_on_signal()?,
        })
    }

    fn take(&mut self, planned: Planned) -> Result<Next, DlqError> {
        if self.taken == self.max {
            return Ok(Next::Enough);
        }
        if let (Some(limit), Some(_)) = (&self.limit, &self.transactions) {
            futures_executor::block_on(limit.until_ready());
        }
        self.taken += 1;
        self.batch.push(planned);
        if self.batch.len() >= self.batch_size {
            self.flush()?;
        }
        match (self.stop.load(Ordering::Relaxed), self.taken == self.max) {
            (true, _) => self.flush().and(Err(DlqError::Interrupted)),
            (false, true) => Ok(Next::Enough),
            (false, false) => Ok(Next::GoOn),
        }
    }

    fn flush(&mut self) -> Result<(), DlqError> {
        let batch = std::mem::take(&mut self.batch);
        self.send(&batch)
    }

    /// Sends a batch; one that Kafka refuses letter by letter, since the others in it are innocent.
    fn send(&mut self, batch: &[Planned]) -> Result<(), DlqError> {
        let Some(transactions) = &self.transactions else {
            for Planned { place, topic, .. } in batch {
                output::print(format_args!("{place} → {topic}\n"))?;
            }
            self.redriven += batch.len();
            return Ok(());
        };
        match (transactions.send(batch)?, batch) {
            (Ok(()), _) => self.redriven += batch.len(),
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
        self.left.entry(why).or_default().push(place);
    }

    fn report(&self) -> Result<(), DlqError> {
        let what = match self.transactions {
            Some(_) => "redriven",
            None => "to be redriven",
        };
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
