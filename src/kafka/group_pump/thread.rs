//! The pump's thread: it owns a group consumer from its connection to its close.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::Consumer;
use tokio::sync::mpsc;

use super::completion::Completion;
use super::consumer::GroupConsumer;
use super::context::PumpContext;
use super::error::PumpError;
use super::handle::PumpHandle;
use super::intake::Intake;
use super::plan::PumpPlan;
use super::pump::Pump;
use super::request_topic::await_topic;

/// Starts the pump's thread. It ends by a `PumpHandle::command`, or by an error; either way the worker's channel closes.
///
/// # Errors
/// The operating system has no thread left.
pub fn spawn(
    plan: PumpPlan,
    handle: PumpHandle,
    completions: Receiver<Completion>,
    records: mpsc::Sender<Intake>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("pump-{}", plan.topic)).spawn(move || {
        let topic = plan.topic.clone();
        handle.attach();
        if let Err(error) = pump(&plan, &handle, completions, records) {
            tracing::error!(%topic, error = &error as &dyn std::error::Error, "pump ended; its worker is restarted");
        }
    })
}

/// The thread's life: connect, wait for the topic, join the group, pump, leave the group.
fn pump(
    plan: &PumpPlan,
    handle: &PumpHandle,
    completions: Receiver<Completion>,
    records: mpsc::Sender<Intake>,
) -> Result<(), PumpError> {
    let dead = |source| PumpError::Consumer {
        topic: plan.topic.clone(),
        source,
    };
    let (events, rebalances) = crossbeam_channel::unbounded();
    let (commits, answers) = crossbeam_channel::unbounded();
    let context = PumpContext::new(handle.clone(), events, commits);
    let mut consumer = GroupConsumer::from_config_and_context(&plan.config, context).map_err(dead)?;
    let waker = handle.clone();
    consumer.set_nonempty_callback(move || waker.wake());
    if !await_topic(plan, handle, &consumer) {
        return Ok(());
    }
    consumer.subscribe(&[&plan.topic]).map_err(dead)?;
    let (rebalances, completions) = ((rebalances, answers), (completions, records));
    let mut pump = Pump::new(plan, handle, Arc::new(consumer), rebalances, completions);
    let end = pump.run();
    // What was done of a topic that is gone must not be committed of its successor.
    let commit = !matches!(end, Err(PumpError::Recreated { .. } | PumpError::Rewound { .. }));
    pump.leave(commit);
    end
}
