//! What does not fit into a topic: its `max.message.bytes` against the records that are written to it, or read from it.

use crate::cli::connect::expected::TopicUse;
use crate::processor::memory::answers;
use crate::proxy::uploads::topics::{LARGEST_PIECE, piece};
use crate::settings::HEAD_ROOM;

/// No record that steers a stream is larger.
const LARGEST_CONTROL: usize = 4 * 1024;

/// What goes wrong with such a limit, and what to do about it.
pub fn problem(used: TopicUse, limit: usize) -> Option<(String, String)> {
    if let TopicUse::TakesRequests { max_record, .. } = used {
        return (limit > max_record).then(|| {
            let problem = format!("records over max_record_size ({max_record}) are given up");
            (
                named(limit, &problem),
                "raise max_record_size, or lower max.message.bytes".to_owned(),
            )
        });
    }
    let (needed, problem, other) = needed(used, limit)?;
    (limit < needed).then(|| {
        let cure = format!("set max.message.bytes to {needed} or more{other}");
        (named(limit, &problem), cure)
    })
}

fn named(limit: usize, problem: &str) -> String {
    format!("max.message.bytes is {limit}: {problem}")
}

/// As much as a topic has to take; what becomes of records that it does not take; and another cure than to raise its limit.
fn needed(used: TopicUse, limit: usize) -> Option<(usize, String, &'static str)> {
    match used {
        TopicUse::SendsRequests { max_body: 0, .. } => Some((
            HEAD_ROOM,
            "requests get 413 whose head and query do not fit".to_owned(),
            "",
        )),
        TopicUse::SendsRequests { max_body, .. } => Some((
            max_body.saturating_add(HEAD_ROOM),
            format!(
                "bodies over about {} bytes get 413, though max_body_size is {max_body}",
                limit.saturating_sub(HEAD_ROOM)
            ),
            ", or lower max_body_size",
        )),
        TopicUse::SendsBodies => Some((
            LARGEST_PIECE,
            format!("bodies go there in pieces of {} bytes, one record each", piece(limit)),
            "",
        )),
        TopicUse::SendsReplies { max_record } => Some((
            max_record,
            "answers that do not fit, and are not streamed, become 502 response-too-large".to_owned(),
            "",
        )),
        TopicUse::FindsResults { max_record, .. } => Some((
            max_record,
            "answers that do not fit cannot be fetched later".to_owned(),
            "",
        )),
        TopicUse::RemembersKeys { max_record, .. } => Some((
            max_record,
            "answers that do not fit, and are not streamed, become 502 response-too-large, as do their repeats"
                .to_owned(),
            "",
        )),
        TopicUse::SendsDeadLetters { max_record } => {
            Some((max_record, "dead letters that do not fit are cut".to_owned(), ""))
        }
        TopicUse::KeepsAnswers { .. } => Some((
            answers::LARGEST_PIECE,
            "answers larger than a record are kept there in smaller pieces, one record each".to_owned(),
            "",
        )),
        TopicUse::SteersStreams { .. } => Some((LARGEST_CONTROL, "what steers an answer may not fit".to_owned(), "")),
        // What does not write has no say in this, but for the requests above.
        TopicUse::AwaitsReplies { .. }
        | TopicUse::DeletesResults { .. }
        | TopicUse::TakesRequests { .. }
        | TopicUse::RecallsKeys { .. }
        | TopicUse::RecallsAnswers { .. }
        | TopicUse::HeedsControl { .. }
        | TopicUse::TakesBodies => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    #[test]
    fn each_topic_that_is_written_to_has_a_limit_below_which_it_says_what_is_lost() {
        let (kept, deadline, max_record) = (DEADLINE, DEADLINE, 1_000_000);
        let requests = |max_body| TopicUse::SendsRequests { max_body, deadline };
        for (used, needed, lost) in [
            (requests(0), HEAD_ROOM, "413"),
            (requests(500_000), 500_000 + HEAD_ROOM, "413"),
            (TopicUse::SendsBodies, 263_168, "pieces"),
            (
                TopicUse::SendsReplies { max_record },
                1_000_000,
                "502 response-too-large",
            ),
            (TopicUse::FindsResults { kept, max_record }, 1_000_000, "fetched later"),
            (TopicUse::RemembersKeys { kept, max_record }, 1_000_000, "their repeats"),
            (TopicUse::KeepsAnswers { kept }, 262_656, "smaller pieces"),
            (TopicUse::SendsDeadLetters { max_record }, 1_000_000, "are cut"),
            (TopicUse::SteersStreams { required: false }, 4096, "may not fit"),
        ] {
            assert_eq!(problem(used, needed), None, "{used:?}");
            let (problem, cure) = problem(used, needed - 1).unwrap();
            assert!(problem.contains(lost), "{problem}");
            assert!(cure.contains(&format!("max.message.bytes to {needed} ")), "{cure}");
        }
        let (problem, _) = problem(TopicUse::SendsBodies, 1000).unwrap();
        assert!(problem.contains("pieces of 1 bytes"), "{problem}");
    }

    #[test]
    fn what_is_read_may_not_be_larger_than_what_is_taken() {
        let takes = TopicUse::TakesRequests {
            workers: 1,
            max_record: 1000,
            deadline: DEADLINE,
        };
        assert_eq!(problem(takes, 1000), None);
        assert!(problem(takes, 1001).is_some());
    }
}
