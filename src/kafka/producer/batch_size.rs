//! How large the batches of a topic may be, where the topic takes less than the producer would send.
//!
//! A broker refuses a batch over its topic's `max.message.bytes` as a whole, and librdkafka has one batch size for all topics of a client.
//! So topics that take little are served by further clients. Their batch sizes are powers of two: any number of such topics shares a
//! handful of clients.

/// Below this, each record is a batch of its own.
const LEAST: usize = 4 << 10;

/// The batch size of the client that serves a topic with this limit; `None`: the shared client's batches, of `largest` bytes, are small
/// enough. All sizes are in bytes. With the default of 1 MB for `largest`, there are nine such sizes.
pub(super) fn batch_size(limit: usize, largest: usize) -> Option<usize> {
    match limit {
        limit if limit >= largest => None,
        limit if limit < LEAST => Some(1),
        limit => Some(1 << limit.ilog2()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const DEFAULT: usize = 1_000_000;

    #[test]
    fn batches_fit_their_topic_and_are_at_least_half_as_large_as_it_takes() {
        for limit in 1..DEFAULT {
            let size = batch_size(limit, DEFAULT).unwrap();
            assert!(size <= limit, "{limit}: {size}");
            assert!(limit < LEAST || size * 2 > limit, "{limit}: {size}");
        }
    }

    #[test]
    fn any_number_of_topics_needs_few_clients() {
        let sizes: BTreeSet<_> = (1..2 * DEFAULT).map(|limit| batch_size(limit, DEFAULT)).collect();
        assert_eq!(sizes.len(), 10, "the shared client and {sizes:?}");
    }

    #[test]
    fn a_topic_that_takes_what_is_sent_keeps_the_shared_client() {
        assert_eq!(batch_size(DEFAULT, DEFAULT), None);
        assert_eq!(batch_size(1_048_588, DEFAULT), None, "Kafka's default");
        assert_eq!(batch_size(DEFAULT - 1, DEFAULT), Some(1 << 19));
        assert_eq!(batch_size(0, DEFAULT), Some(1));
    }
}
