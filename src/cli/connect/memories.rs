//! What is wrong between a request topic and the topic that remembers its keys.

use crate::cli::connect::finding::{Finding, Kind};

/// The memory of a request topic needs a partition for each of that. `partitions`: how many a topic has, where it is there.
pub fn finding(memory: &str, request_topic: &str, partitions: impl Fn(&str) -> Option<i32>) -> Option<Finding> {
    let (there, needed) = (partitions(memory)?, partitions(request_topic)?);
    (there < needed).then(|| {
        Finding::stops(
            Kind::Partitions,
            &super::topics::subject(memory),
            format!(
                "it has {there} partitions, and {request_topic} has {needed}: requests with an idempotency key get 503"
            ),
            format!("kafka-topics --alter --topic {memory} --partitions {needed}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_needs_as_many_partitions_as_its_topic() {
        let found = |there: Option<i32>, needed: Option<i32>| {
            finding("m", "r", |topic| if topic == "m" { there } else { needed }).map(|found| found.cure)
        };
        assert_eq!(
            found(Some(2), Some(4)).as_deref(),
            Some("kafka-topics --alter --topic m --partitions 4")
        );
        for (there, needed) in [(Some(4), Some(4)), (Some(6), Some(4)), (None, Some(4)), (Some(4), None)] {
            assert_eq!(found(there, needed), None);
        }
    }
}
