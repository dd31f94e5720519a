//! A partition's way around a batch that cannot be unpacked.

use std::time::{Duration, Instant};

use super::{Next, Partition};
use crate::kafka::detour::{Detour, Step};
use crate::kafka::fetch_queue::{FetchError, high_watermark, seek};
use crate::kafka::group_pump::consumer::GroupConsumer;
use crate::kafka::record::{Copied, Fetched};

impl Partition {
    pub(super) fn poll(&self) -> Option<Result<Copied, FetchError>> {
        let copy = |fetched: Fetched<'_>| fetched.copy(&self.topic, self.max_record);
        self.queue.records.poll(Duration::ZERO, copy)
    }

    /// An error came. One of a batch that cannot be unpacked would come for ever.
    pub(super) fn failed(&mut self, consumer: &GroupConsumer, error: FetchError) -> Next {
        let Some(first) = error.unreadable().map(|place| place.offset) else {
            return Next::Error(error.error);
        };
        tracing::debug!(topic = %self.topic, partition = self.number, offset = first, error = %error.error, "a batch cannot be unpacked");
        let step = match &mut self.detour {
            None => {
                self.detour = Some(Detour::begin(first));
                Step::Wait
            }
            Some(detour) => {
                let end = high_watermark(consumer, &self.topic, self.number);
                detour.failed(first, end, Instant::now())
            }
        };
        self.follow(consumer, step)
    }

    pub(super) fn follow(&mut self, consumer: &GroupConsumer, step: Step) -> Next {
        match step {
            Step::Wait => Next::Searching,
            Step::Seek(offset) => {
                seek(consumer, &self.topic, self.number, offset);
                Next::Searching
            }
            Step::Pass(batch) => {
                self.detour = None;
                seek(consumer, &self.topic, self.number, batch.end);
                // It is committed with what comes after it, and by itself where nothing does.
                self.begun = true;
                self.position = Some(batch.end);
                self.tracker.start(batch.end - 1, 0);
                self.tracker.finish(batch.end - 1);
                Next::Poisoned(batch)
            }
        }
    }
}
