//! Consumers that read ranges, one for each that is read at a time. They are started when they are first needed, and kept.

use std::ops::ControlFlow;

use crossbeam_channel::{Receiver, Sender};
use rdkafka::ClientConfig;

use crate::kafka::range_reader::{Contents, Range, RangeError, RangeReader};
use crate::kafka::record::Fetched;

/// The consumers. Whoever has them read sees to it that no more ranges are read at once than there may be.
pub struct RangeReaders {
    config: ClientConfig,
    contents: Contents,
    /// Those that read nothing now; bounded by their number.
    idle: (Sender<RangeReader>, Receiver<RangeReader>),
}

impl RangeReaders {
    /// There are `most` of them. `config` is that of a consumer, `contents` what they read.
    pub fn new(config: ClientConfig, contents: Contents, most: usize) -> Self {
        RangeReaders {
            config,
            contents,
            idle: crossbeam_channel::bounded(most),
        }
    }

    /// Hands the records of a range to `take`, first to last, until it breaks off. `wanted` is asked while nothing comes. True: all of
    /// them were handed over. Blocks.
    ///
    /// # Errors
    /// Records of the range are gone, or Kafka does not give them.
    pub fn read(
        &self,
        range: &Range,
        wanted: impl Fn() -> bool,
        take: impl FnMut(Fetched<'_>) -> ControlFlow<()>,
    ) -> Result<bool, RangeError> {
        let reader = match self.idle.1.try_recv() {
            Ok(reader) => reader,
            Err(_) => {
                let reader = RangeReader::new(&self.config, self.contents);
                reader.map_err(|error| RangeError::Unread(error.to_string()))?
            }
        };
        let read = reader.read(range, wanted, take);
        if reader.is_alive() {
            // Err: never, there is room for each.
            let _ = self.idle.0.try_send(reader);
        }
        read
    }
}
