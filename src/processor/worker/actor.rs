//! Works on the records of one request topic: one task for each, within the limits.
//!
//! Owns: the records in flight, their lanes and their backend client. Sent to by: its pump (records), the producer's polling thread
//! (records that Kafka did not take). Death: its pump leaves the group, unfinished records are redelivered, and the supervisor makes a
//! new one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, StreamHandler};
use futures_util::FutureExt;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tokio_util::sync::CancellationToken;

use crate::kafka::group_pump::intake::Intake;
use crate::process::progress::Progress;
use crate::processor::record::RecordProcessor;
use crate::processor::record::outbox::{Undelivered, UndeliveredReceiver, redeliver};
use crate::processor::stream::calls::Event;
use crate::processor::stream::shared::Upkeep;
use crate::processor::worker::lanes::Lanes;

const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);

/// The actor.
pub struct TopicWorker {
    processor: Rc<RecordProcessor>,
    lanes: Lanes,
    /// Taken when the actor starts.
    inputs: Option<Inputs>,
    /// Cancelled by the supervisor when this generation is over.
    over: CancellationToken,
    /// Held by each record that is worked on, too: so it shows when all is done.
    worked_on: Arc<()>,
    progress: Progress,
}

/// What a worker reads.
pub struct Inputs {
    pub records: mpsc::Receiver<Intake>,
    pub undelivered: UndeliveredReceiver,
    /// What comes on the control topic. `None`: answers are not streamed.
    pub heard: Option<broadcast::Receiver<Arc<[Event]>>>,
}

impl TopicWorker {
    /// Must be made on the Arbiter it runs on: the connections to the backend live there.
    pub fn new(
        processor: RecordProcessor,
        inputs: Inputs,
        over: CancellationToken,
        worked_on: Arc<()>,
        progress: Progress,
    ) -> Self {
        TopicWorker {
            lanes: Lanes::new(processor.caller.topic.ordering),
            processor: Rc::new(processor),
            inputs: Some(inputs),
            over,
            worked_on,
            progress,
        }
    }
}

impl TopicWorker {
    /// A task of its own, since the context would poll every item it holds at each wake. It ends with the generation, since the thread may
    /// go on.
    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        // In a box: `run_until_cancelled_owned` has room for what it is given three times over.
        actix::spawn(self.over.clone().run_until_cancelled_owned(Box::pin(work)));
    }
}

impl Actor for TopicWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(inputs) = self.inputs.take() {
            ctx.add_stream(ReceiverStream::new(inputs.records));
            ctx.add_stream(UnboundedReceiverStream::new(inputs.undelivered));
            if let Some(heard) = inputs.heard {
                self.spawn(hear(self.processor.clone(), heard));
            }
        }
        ctx.run_interval(SIGN_OF_LIFE_EVERY, |worker, _| worker.progress.touch());
        self.spawn(keep_up(self.processor.clone()));
    }
}

/// Looks after the open streams: as long as they last, which may be longer than the actor does.
async fn keep_up(processor: Rc<RecordProcessor>) {
    let RecordProcessor {
        streams, outbox, kafka, ..
    } = &*processor;
    let Some(streams) = streams else { return };
    let mut upkeep = Upkeep::new();
    loop {
        tokio::time::sleep(SIGN_OF_LIFE_EVERY).await;
        upkeep.tick(streams, outbox, kafka);
    }
}

/// Steers the open calls by what comes on the control topic.
async fn hear(processor: Rc<RecordProcessor>, mut heard: broadcast::Receiver<Arc<[Event]>>) {
    let Some(streams) = &processor.streams else { return };
    loop {
        match heard.recv().await {
            Ok(events) => events.iter().for_each(|event| streams.calls.hear(event)),
            Err(broadcast::error::RecvError::Lagged(batches)) => tracing::warn!(
                topic = %streams.control.name,
                batches,
                "a worker was too busy for its control topic: streams that missed their credit end"
            ),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

impl StreamHandler<Intake> for TopicWorker {
    fn handle(&mut self, intake: Intake, _: &mut Self::Context) {
        self.progress.touch();
        let turn = self.lanes.join(&intake.record);
        let (work, worked_on) = (self.processor.clone().process(intake, turn), self.worked_on.clone());
        self.spawn(work.map(move |()| drop(worked_on)));
    }
    // finished(): the default stops the actor, which is right: its pump is gone.
}

impl StreamHandler<Undelivered> for TopicWorker {
    fn handle(&mut self, undelivered: Undelivered, _: &mut Self::Context) {
        self.spawn(redeliver(undelivered));
    }
}
