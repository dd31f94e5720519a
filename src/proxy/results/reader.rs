//! The actor: it reads each results topic whole, keeps the index, and wakes whoever waits for a result.
//!
//! Owns: the index, the clients that wait, and which results topics are read. Sent to by: the reading thread (records), handlers (`Find`,
//! `Accepted`), its own tasks (what became of a topic). Death: the supervisor makes a new one, which reads everything again; until it has,
//! clients that ask for results get 503 `starting`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Actor, AsyncContext, Context, Handler, Message, StreamHandler};
use rdkafka::ClientConfig;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::questions::Questions;
use crate::kafka::config::ReplyPartition;
use crate::kafka::reply_stream::{OpenTopic, ReplyStream, TopicChange};
use crate::process::progress::Progress;
use crate::proxy::results::asked::What;
use crate::proxy::results::index::{Found, Index, Stored};
use crate::proxy::results::metrics::ResultsMetrics;
use crate::proxy::results::places::ResultsTopic;
use crate::proxy::results::selection::{Read, Results};
use crate::proxy::results::view::{Accepted, Find, IndexView, ReaderHandle};
use crate::proxy::results::waiters::Waiters;
use crate::supervision::spawn_watched::spawn_watched;
use crate::supervision::supervised::{ExitNotice, Home, Life, Supervised};
use crate::wire::{SharedSealing, now_ms};

const TICK: Duration = Duration::from_millis(250);
/// How often results whose time is over are removed, and gauges brought up to date.
const SWEEP_EVERY: u32 = 4;
/// How often open topics are compared with what Kafka has.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How often a topic is tried that may not be read.
const DENIED_AGAIN: Duration = Duration::from_secs(10);

/// Makes the generations of the reader.
pub struct ResultsReaderFactory {
    pub topics: Arc<Vec<ResultsTopic>>,
    pub config: ClientConfig,
    pub questions: Arc<dyn Questions>,
    pub admin: TopicAdmin,
    pub sealing: SharedSealing,
    pub max_record: usize,
    pub max_results: usize,
    pub max_waiting: usize,
    pub view: Arc<IndexView>,
    pub metrics: ResultsMetrics,
}

impl Supervised for ResultsReaderFactory {
    fn name(&self) -> &str {
        "results_reader"
    }

    /// At its start it reads all that the topics hold.
    fn needs_own_thread(&self) -> bool {
        true
    }

    fn launch(&mut self, _: u64, home: &Home, exited: ExitNotice) -> Result<Life, String> {
        let read = self.view.begin();
        let selection = Results::new(
            self.topics.clone(),
            self.sealing.clone(),
            self.max_record,
            read.clone(),
            self.metrics.clone(),
        );
        let choice = |_: &str| ReplyPartition::All;
        let (questions, admin) = (self.questions.clone(), self.admin.clone());
        let started = ReplyStream::start(&self.config, questions, admin, choice, 0, selection);
        let (stream, stored) = started.map_err(|error| error.to_string())?;
        let progress = Progress::default();
        let reader = ResultsReader {
            index: Index::new(self.max_results, self.topics.iter().map(|topic| topic.kept).collect()),
            waiters: Waiters::new(self.max_waiting),
            accepted: HashMap::new(),
            max_accepted: self.max_results,
            slots: self.topics.iter().map(|_| Slot::new()).collect(),
            topics: self.topics.clone(),
            questions: self.questions.clone(),
            admin: self.admin.clone(),
            stream,
            stored: Some(stored),
            handled: 0,
            read,
            view: self.view.clone(),
            began: Instant::now(),
            turns: 0,
            progress: progress.clone(),
            metrics: self.metrics.clone(),
        };
        spawn_watched(home, move |_: &mut Context<ResultsReader>| reader, exited)
            .ok_or("its thread could not be started")?;
        Ok(Life {
            progress: vec![progress],
            pump: None,
        })
    }

    fn generation_ended(&mut self) {
        self.view.withdraw();
    }
}

/// The actor.
pub struct ResultsReader {
    index: Index,
    waiters: Waiters,
    /// Requests that this process accepted and that have no result, each with its deadline.
    accepted: HashMap<u64, u32>,
    max_accepted: usize,
    topics: Arc<Vec<ResultsTopic>>,
    slots: Vec<Slot>,
    questions: Arc<dyn Questions>,
    admin: TopicAdmin,
    stream: ReplyStream,
    /// Taken when the actor starts.
    stored: Option<mpsc::Receiver<Vec<Stored>>>,
    /// How many records came from the reading thread.
    handled: u64,
    read: Arc<Read>,
    view: Arc<IndexView>,
    began: Instant,
    turns: u32,
    progress: Progress,
    metrics: ResultsMetrics,
}

/// One results topic.
struct Slot {
    state: State,
    /// A task asks Kafka about it.
    is_asked: bool,
    /// It was missing at the last check.
    is_missing: bool,
    /// That it cannot be read was logged.
    is_logged: bool,
}

enum State {
    /// It is opened at the next tick from then on.
    Closed(Instant),
    /// Its end was not reached yet.
    Reading(OpenTopic),
    /// Its end was reached; so many records were handed over by then.
    AtEnd(OpenTopic, u64),
    /// The index knows all that it held.
    Whole(OpenTopic, Instant),
}

/// What a task found out about a topic. Sent by the actor's own tasks.
#[derive(Message)]
#[rtype(result = "()")]
struct Asked {
    number: usize,
    what: What,
}

impl Slot {
    fn new() -> Self {
        Slot {
            state: State::Closed(Instant::now()),
            is_asked: false,
            is_missing: false,
            is_logged: false,
        }
    }
}

impl ResultsReader {
    /// Asks what is due, and notes what is done.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.progress.touch();
        let now = Instant::now();
        for number in 0..self.slots.len() {
            self.note_whole(number, now);
            let slot = &mut self.slots[number];
            if slot.is_asked {
                continue;
            }
            let (stream, missing) = (self.stream.clone(), slot.is_missing);
            let ask: Box<dyn FnOnce() -> What + Send> = match &slot.state {
                State::Closed(again) if now >= *again => {
                    let (questions, admin) = (self.questions.clone(), self.admin.clone());
                    let topic = &self.topics[number];
                    let (name, kept) = (topic.name.clone(), topic.kept);
                    Box::new(move || What::open(&stream, &*questions, &admin, &name, kept))
                }
                State::Reading(open) => {
                    let (open, read) = (open.clone(), self.read.clone());
                    Box::new(move || What::read_to_end(&stream, &open, &read))
                }
                State::Whole(open, checked) if now.duration_since(*checked) >= CHECK_EVERY => {
                    let open = open.clone();
                    Box::new(move || What::Checked(stream.check_now(&open, missing)))
                }
                State::Closed(_) | State::AtEnd(..) | State::Whole(..) => continue,
            };
            slot.is_asked = true;
            let actor = ctx.address();
            actix::spawn(async move {
                let what = tokio::task::spawn_blocking(ask).await.unwrap_or(What::Nothing);
                actor.do_send(Asked { number, what });
            });
        }
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(SWEEP_EVERY) {
            self.sweep();
        }
    }

    /// A topic whose end was reached is whole once the actor has what the thread handed over by then.
    fn note_whole(&mut self, number: usize, now: Instant) {
        let State::AtEnd(open, wanted) = &self.slots[number].state else {
            return;
        };
        if self.handled < *wanted {
            return;
        }
        let seconds = self.began.elapsed().as_secs_f32();
        tracing::info!(topic = %open.name, results = self.index.len(), seconds, "results indexed");
        self.slots[number].state = State::Whole(open.clone(), now);
        self.view.topics[number].is_whole.store(true, Ordering::Release);
    }

    fn sweep(&mut self) {
        let now = seconds();
        self.index.sweep(now);
        self.metrics.expired.inc_by(std::mem::take(&mut self.index.expired));
        self.metrics.evicted.inc_by(std::mem::take(&mut self.index.evicted));
        self.accepted.retain(|_, deadline| *deadline > now);
        self.metrics.waiting.set(self.waiters.sweep() as i64);
        self.show();
    }

    fn show(&self) {
        self.metrics.indexed.set(self.index.len() as i64);
        self.metrics.pending.set(self.accepted.len() as i64);
    }

    fn opened(&mut self, number: usize, result: Result<(OpenTopic, i64), TopicError>) {
        let slot = &mut self.slots[number];
        match result {
            Ok((open, length)) => {
                tracing::info!(topic = %open.name, partitions = open.partitions.len(), records = length, "reading results");
                self.view.topics[number].length.store(length, Ordering::Relaxed);
                slot.state = State::Reading(open);
                slot.is_logged = false;
            }
            Err(error) if error.passes() => {
                tracing::debug!(%error, "results topic not there yet");
                slot.state = State::Closed(Instant::now());
            }
            Err(error) => {
                if !std::mem::replace(&mut slot.is_logged, true) {
                    tracing::error!(%error, "results cannot be read: whoever asks for them gets 503");
                }
                slot.state = State::Closed(Instant::now() + DENIED_AGAIN);
            }
        }
    }

    fn checked(&mut self, number: usize, result: Result<Option<TopicChange>, TopicError>) {
        let slot = &mut self.slots[number];
        let State::Whole(open, checked) = &mut slot.state else {
            return;
        };
        *checked = Instant::now();
        let change = match result {
            Ok(change) => change,
            Err(error) => return tracing::debug!(%error, "results topic not checked"),
        };
        slot.is_missing = false;
        match change {
            None => {}
            Some(TopicChange::Grown(now)) => *open = now,
            Some(TopicChange::Identified(_, id)) => open.identify(id),
            Some(TopicChange::Missing(_)) => slot.is_missing = true,
            Some(TopicChange::Recreated(now)) => {
                slot.state = State::Reading(now);
                self.lost(number);
            }
            Some(TopicChange::Deleted(_)) => {
                slot.state = State::Closed(Instant::now());
                self.lost(number);
            }
        }
    }

    /// The topic was deleted, and all results with it.
    fn lost(&mut self, number: usize) {
        tracing::error!(topic = %self.topics[number].name, "the results topic was deleted, and its results are lost");
        self.view.topics[number].is_whole.store(false, Ordering::Release);
        self.index.forget_topic(number as u16);
    }
}

fn seconds() -> u32 {
    (now_ms() / 1000).clamp(0, u32::MAX.into()) as u32
}

impl Actor for ResultsReader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(stored) = self.stored.take() {
            ctx.add_stream(ReceiverStream::new(stored));
        }
        let (find, accepted) = (ctx.address().recipient(), ctx.address().recipient());
        self.view.reader.send_replace(Some(ReaderHandle { find, accepted }));
        self.tick(ctx);
        ctx.run_interval(TICK, |reader, ctx| reader.tick(ctx));
    }
}

impl StreamHandler<Vec<Stored>> for ResultsReader {
    fn handle(&mut self, records: Vec<Stored>, _: &mut Self::Context) {
        let now = seconds();
        self.handled += records.len() as u64;
        for stored in records {
            if self.index.take(stored, now) {
                self.waiters.wake(stored.id);
                self.accepted.remove(&stored.id.low64());
            }
        }
        self.show();
    }
    // finished(): the default stops the actor, which is right: its thread is gone.
}

impl Handler<Find> for ResultsReader {
    type Result = actix::MessageResult<Find>;

    fn handle(&mut self, Find { id, waiter }: Find, _: &mut Self::Context) -> Self::Result {
        let found = self.index.find(id, seconds());
        if let (Found::Nothing, Some(waiter)) = (found, waiter) {
            self.waiters.add(id, waiter);
        }
        actix::MessageResult(found)
    }
}

impl Handler<Accepted> for ResultsReader {
    type Result = ();

    fn handle(&mut self, Accepted { id, deadline }: Accepted, _: &mut Self::Context) {
        // Its result may have come before.
        if self.accepted.len() < self.max_accepted && self.index.find(id, seconds()) == Found::Nothing {
            self.accepted.insert(id.low64(), deadline);
            self.show();
        }
    }
}

impl Handler<Asked> for ResultsReader {
    type Result = ();

    fn handle(&mut self, Asked { number, what }: Asked, _: &mut Self::Context) {
        let slot = &mut self.slots[number];
        slot.is_asked = false;
        match what {
            What::Opened(result) => self.opened(number, result),
            What::Read(Some(wanted)) => {
                if let State::Reading(open) = &slot.state {
                    slot.state = State::AtEnd(open.clone(), wanted);
                }
            }
            What::Checked(result) => self.checked(number, result),
            What::Read(None) | What::Nothing => {}
        }
    }
}
