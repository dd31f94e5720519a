//! Works on the records of one request topic: one task for each, within the limits.
//!
//! Owns: the records in flight, their lanes and their backend client. Sent to by: its pump (records), the producer's polling thread (records that
//! Kafka did not take). Death: its pump leaves the group, unfinished records are redelivered, and the supervisor makes a new one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, StreamHandler};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};

use crate::kafka::group_pump::intake::Intake;
use crate::process::progress::Progress;
use crate::processor::backend::client::Backend;
use crate::processor::record::outbox::{Undelivered, UndeliveredReceiver, redeliver};
use crate::processor::record::way::run;
use crate::processor::worker::lanes::Lanes;
use crate::processor::worker::shared::Worker;

const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(1);

/// The actor.
pub struct TopicWorker {
    worker: Arc<Worker>,
    backend: Rc<Backend>,
    lanes: Lanes,
    inputs: Option<Inputs>,
    progress: Progress,
}

/// What a worker reads.
pub struct Inputs {
    pub records: mpsc::Receiver<Intake>,
    pub undelivered: UndeliveredReceiver,
}

impl TopicWorker {
    /// Must be made on the Arbiter it runs on: its HTTP client cannot move.
    pub fn new(worker: Arc<Worker>, backend: Backend, inputs: Inputs, progress: Progress) -> Self {
        TopicWorker {
            lanes: Lanes::new(worker.topic.ordering),
            worker,
            backend: Rc::new(backend),
            inputs: Some(inputs),
            progress,
        }
    }
}

impl Actor for TopicWorker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(inputs) = self.inputs.take() {
            ctx.add_stream(ReceiverStream::new(inputs.records));
            ctx.add_stream(UnboundedReceiverStream::new(inputs.undelivered));
        }
        ctx.run_interval(SIGN_OF_LIFE_EVERY, |worker, _| worker.progress.touch());
    }
}

impl StreamHandler<Intake> for TopicWorker {
    fn handle(&mut self, intake: Intake, _ctx: &mut Self::Context) {
        self.progress.touch();
        #[cfg(test)]
        tests::strike(&intake.record, _ctx);
        // A task of its own: the context would poll every item it holds at each wake.
        let turn = self.lanes.join(&intake.record);
        actix::spawn(run(self.worker.clone(), self.backend.clone(), intake, turn));
    }
    // finished(): the default stops the actor, which is right: its pump is gone.
}

impl StreamHandler<Undelivered> for TopicWorker {
    fn handle(&mut self, undelivered: Undelivered, _: &mut Self::Context) {
        actix::spawn(redeliver(undelivered));
    }
}

#[cfg(test)]
pub mod tests {
    use actix::{ActorContext, Context};

    use super::TopicWorker;
    use crate::wire::RawRecord;

    /// A record with this header makes a worker under test panic, stop or freeze, the first time it comes.
    pub const FAULT_HEADER: &[u8] = b"test-fault";

    pub fn strike(record: &RawRecord, ctx: &mut Context<TopicWorker>) {
        let fault = record.headers.iter().find(|(name, _)| name == FAULT_HEADER);
        let Some(fault) = fault.and_then(|(_, value)| value.as_deref()) else {
            return;
        };
        // A redelivered record is worked on.
        static STRUCK: tokio::sync::Mutex<Vec<(std::sync::Arc<str>, i32, i64)>> =
            tokio::sync::Mutex::const_new(Vec::new());
        let place = (record.topic.clone(), record.partition, record.offset);
        let mut struck = loop {
            if let Ok(struck) = STRUCK.try_lock() {
                break struck;
            }
        };
        if struck.contains(&place) {
            return;
        }
        struck.push(place);
        drop(struck);
        match fault {
            b"panic-once" => panic!("asked to panic"),
            b"stop-once" => ctx.stop(),
            b"freeze-once" => std::thread::sleep(std::time::Duration::from_secs(20)),
            _ => {}
        }
    }
}
