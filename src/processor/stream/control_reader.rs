//! Reads all control topics of the process, and tells the workers what comes.
//!
//! Owns: the consumer, and which control topics it reads. Sent to by: the reading thread (records), its own tasks (what became of a topic).
//! Death: the supervisor makes a new one, which reads on from the ends; answers are whole until then.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, StreamHandler, WrapFuture};
use prometheus::IntCounter;
use rdkafka::ClientConfig;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::questions::Questions;
use crate::kafka::config::ReplyPartition;
use crate::kafka::reply_stream::{OpenTopic, ReplyStream, TopicChange};
use crate::process::progress::Progress;
use crate::processor::stream::calls::Event;
use crate::processor::stream::control::{ControlTopic, Reading};
use crate::processor::stream::heard::{Controls, Heard};
use crate::processor::stream::shared::Streams;
use crate::supervision::spawn_watched::spawn_watched;
use crate::supervision::supervised::{ExitNotice, Home, Life, Supervised};
use crate::wire::SharedSealing;
use crate::wire::beside::InstanceId;

const TICK: Duration = Duration::from_secs(1);
/// How often open topics are compared with what Kafka has.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How often a topic is tried that may not be read.
const DENIED_AGAIN: Duration = Duration::from_secs(10);
/// How long a worker that is behind is waited for. Longer, and it counts as stalled soon.
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes the generations of the reader.
pub struct ControlReaderFactory {
    pub streams: Streams,
    pub config: ClientConfig,
    pub questions: Arc<dyn Questions>,
    pub admin: TopicAdmin,
    pub sealing: SharedSealing,
    /// Counts records that are not believed.
    pub unbelieved: IntCounter,
}

impl Supervised for ControlReaderFactory {
    fn name(&self) -> &str {
        "control_reader"
    }

    fn launch(&mut self, _: u64, home: &Home, exited: ExitNotice) -> Result<Life, String> {
        let (stream, heard) = ReplyStream::start(
            &self.config,
            self.questions.clone(),
            self.admin.clone(),
            |_| ReplyPartition::All,
            0,
            Controls::new(self.sealing.clone(), self.unbelieved.clone()),
        )
        .map_err(|error| error.to_string())?;
        let (streams, progress) = (self.streams.clone(), Progress::default());
        let sign_of_life = progress.clone();
        spawn_watched(
            home,
            move |_: &mut Context<ControlReader>| ControlReader::new(streams, stream, heard, sign_of_life),
            exited,
        )
        .ok_or("its thread could not be started")?;
        Ok(Life {
            progress: vec![progress],
            pump: None,
        })
    }

    fn generation_ended(&mut self) {
        let topics = self.streams.controls();
        topics.iter().for_each(|topic| topic.set_reading(Reading::Opening));
    }
}

/// The actor.
pub struct ControlReader {
    streams: Streams,
    topics: HashMap<Arc<str>, Slot>,
    stream: ReplyStream,
    /// Taken when the actor starts.
    heard: Option<mpsc::Receiver<Vec<Heard>>>,
    progress: Progress,
}

/// One control topic.
struct Slot {
    topic: Arc<ControlTopic>,
    state: State,
    /// A task asks Kafka about it.
    is_asked: bool,
    /// It was missing at the last check.
    is_missing: bool,
    /// That it cannot be read was logged.
    is_logged: bool,
    /// Requesters that were silent up to the topic's end. Told a tick later: what was read by then is on its way.
    silent: HashSet<InstanceId>,
}

enum State {
    /// It is opened at the next tick from then on.
    Closed(Instant),
    Open(OpenTopic, Instant),
}

/// What a task found out about a topic. Sent by the actor's own tasks.
#[derive(Message)]
#[rtype(result = "()")]
struct Found {
    name: Arc<str>,
    what: What,
}

enum What {
    Opened(Result<OpenTopic, TopicError>),
    Checked(Result<Option<TopicChange>, TopicError>),
    /// Whether all that the topic holds was heard; of these it was asked for.
    AtEnd(bool, HashSet<InstanceId>),
}

impl ControlReader {
    fn new(streams: Streams, stream: ReplyStream, heard: mpsc::Receiver<Vec<Heard>>, progress: Progress) -> Self {
        ControlReader {
            streams,
            topics: HashMap::new(),
            stream,
            heard: Some(heard),
            progress,
        }
    }

    /// Asks what is due.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.progress.touch();
        self.follow();
        let now = Instant::now();
        for (name, slot) in &mut self.topics {
            let silent = std::mem::take(&mut slot.silent).into_iter().map(Event::Silent);
            let silent: Vec<Event> = silent.collect();
            if !silent.is_empty() {
                slot.topic.tell(silent);
            }
            let suspects = slot.topic.suspects();
            if slot.is_asked {
                continue;
            }
            let (stream, name, missing) = (self.stream.clone(), name.clone(), slot.is_missing);
            let ask: Box<dyn FnOnce() -> What + Send> = match &slot.state {
                State::Closed(again) if now >= *again => {
                    let name = name.clone();
                    Box::new(move || What::Opened(stream.open(&name, true)))
                }
                State::Open(open, _) if !suspects.is_empty() => {
                    let open = open.clone();
                    Box::new(move || What::AtEnd(stream.is_at_all_ends(&open, PATIENCE), suspects))
                }
                State::Open(open, checked) if now.duration_since(*checked) >= CHECK_EVERY => {
                    let open = open.clone();
                    Box::new(move || What::Checked(stream.check_now(&open, missing)))
                }
                _ => continue,
            };
            slot.is_asked = true;
            let actor = ctx.address();
            actix::spawn(async move {
                // Err: it panicked, which ends with the next tick's question.
                if let Ok(what) = tokio::task::spawn_blocking(ask).await {
                    actor.do_send(Found { name, what });
                }
            });
        }
    }

    /// Takes in topics that have come, and gives up those that nobody uses any more: streams of a topic that is not worked on any more are
    /// steered to their end.
    fn follow(&mut self) {
        // One that comes back under a name that is given up is opened at the next tick, when its reading has ended.
        for topic in self.streams.controls() {
            let name = topic.name.clone();
            self.topics.entry(name).or_insert_with(|| Slot::new(topic));
        }
        let stream = &self.stream;
        self.topics.retain(|name, slot| {
            let is_used = Arc::strong_count(&slot.topic) > 1;
            if slot.is_asked || is_used {
                return true;
            }
            let (stream, name) = (stream.clone(), name.clone());
            // A panic in it is logged by the panic hook; the topic is then read in vain.
            drop(tokio::task::spawn_blocking(move || stream.close(&name)));
            false
        });
    }

    fn tell(&self, heard: Vec<Heard>) {
        let mut heard = heard.into_iter().peekable();
        while let Some(first) = heard.next() {
            let topic = first.topic;
            let mut events = vec![Event::Control(first.control)];
            while let Some(more) = heard.next_if(|more| more.topic == topic) {
                events.push(Event::Control(more.control));
            }
            if let Some(slot) = self.topics.get(&topic) {
                slot.topic.tell(events);
            }
        }
    }

    fn is_behind(&self) -> bool {
        self.topics.values().any(|slot| slot.topic.is_behind())
    }
}

impl Slot {
    fn new(topic: Arc<ControlTopic>) -> Self {
        Slot {
            topic,
            state: State::Closed(Instant::now()),
            is_asked: false,
            is_missing: false,
            is_logged: false,
            silent: HashSet::new(),
        }
    }

    fn opened(&mut self, result: Result<OpenTopic, TopicError>) {
        match result {
            Ok(open) => {
                tracing::info!(topic = %self.topic.name, partitions = open.partitions.len(), "reading the control topic");
                self.state = State::Open(open, Instant::now());
                self.is_logged = false;
                self.topic.set_reading(Reading::Reads);
            }
            Err(error) if error.passes() => {
                tracing::debug!(%error, "control topic not there yet");
                self.state = State::Closed(Instant::now());
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_logged, true) {
                    match self.topic.is_required() {
                        true => tracing::error!(%error, "the control topic cannot be read, and streaming is required"),
                        false => tracing::warn!(%error, "the control topic cannot be read: answers are whole"),
                    }
                }
                self.state = State::Closed(Instant::now() + DENIED_AGAIN);
                self.topic.set_reading(Reading::Cannot);
            }
        }
    }

    fn checked(&mut self, result: Result<Option<TopicChange>, TopicError>) {
        let State::Open(open, checked) = &mut self.state else {
            return;
        };
        *checked = Instant::now();
        let change = match result {
            Ok(change) => change,
            Err(error) => return tracing::debug!(%error, "control topic not checked"),
        };
        self.is_missing = false;
        match change {
            None => {}
            Some(TopicChange::Grown(now) | TopicChange::Recreated(now)) => *open = now,
            Some(TopicChange::Identified(_, id)) => open.identify(id),
            Some(TopicChange::Missing(_)) => self.is_missing = true,
            Some(TopicChange::Deleted(_)) => {
                self.state = State::Closed(Instant::now());
                self.topic.set_reading(Reading::Opening);
            }
        }
    }
}

impl Actor for ControlReader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(heard) = self.heard.take() {
            ctx.add_stream(ReceiverStream::new(heard));
        }
        self.tick(ctx);
        ctx.run_interval(TICK, |reader, ctx| reader.tick(ctx));
    }
}

impl StreamHandler<Vec<Heard>> for ControlReader {
    fn handle(&mut self, heard: Vec<Heard>, ctx: &mut Self::Context) {
        if !self.is_behind() {
            return self.tell(heard);
        }
        // A worker's thread is busy. Credit that it would miss may be the last.
        let topics: Vec<_> = self.topics.values().map(|slot| slot.topic.clone()).collect();
        let room = async move {
            let end = Instant::now() + PATIENCE;
            while topics.iter().any(|topic| topic.is_behind()) && Instant::now() < end {
                actix::clock::sleep(Duration::from_millis(1)).await;
            }
        };
        ctx.wait(room.into_actor(self).map(move |(), reader, _| reader.tell(heard)));
    }
    // finished(): the default stops the actor, which is right: its thread is gone.
}

impl Handler<Found> for ControlReader {
    type Result = ();

    fn handle(&mut self, Found { name, what }: Found, _: &mut Self::Context) {
        let Some(slot) = self.topics.get_mut(&name) else { return };
        slot.is_asked = false;
        match what {
            What::Opened(result) => slot.opened(result),
            What::Checked(result) => slot.checked(result),
            What::AtEnd(true, suspects) => slot.silent = suspects,
            // Silence means nothing.
            What::AtEnd(false, _) => slot.topic.tell(vec![Event::Behind]),
        }
    }
}
