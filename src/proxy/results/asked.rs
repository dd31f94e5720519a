//! What the reader asks Kafka about a results topic. All of it blocks: it runs on threads beside the actor.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::kafka::cluster::admin::{TopicAdmin, TopicError};
use crate::kafka::cluster::questions::Questions;
use crate::kafka::config::Purpose;
use crate::kafka::reply_stream::{OpenTopic, ReplyStream, TopicChange};
use crate::proxy::results::selection::Read;

/// How long a topic may take to be read to its end, before that is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between a record's position and its handing over lies less than that.
const HAND_OVER: Duration = Duration::from_millis(50);

/// What was found out.
pub enum What {
    /// The topic is read, and had so many offsets.
    Opened(Result<(OpenTopic, i64), TopicError>),
    /// `Some`: all was read, and so many records handed over by then.
    Read(Option<u64>),
    Checked(Result<Option<TopicChange>, TopicError>),
    /// The task panicked, and the panic hook has logged it.
    Nothing,
}

impl What {
    /// Makes sure that a topic exists, and begins to read it.
    pub fn open(
        stream: &ReplyStream,
        questions: &dyn Questions,
        admin: &TopicAdmin,
        name: &Arc<str>,
        kept: Duration,
    ) -> Self {
        let open = || {
            questions.ensure(admin, name, Purpose::Results { kept }, true)?;
            let open = stream.open(name, false)?;
            let length = stream.length(&open)?;
            Ok((open, length))
        };
        What::Opened(open())
    }

    /// Waits until all was read that a topic has.
    pub fn read_to_end(stream: &ReplyStream, open: &OpenTopic, read: &Read) -> Self {
        What::Read(stream.is_at_all_ends(open, PATIENCE).then(|| {
            std::thread::sleep(HAND_OVER);
            read.wanted.load(Ordering::Relaxed)
        }))
    }
}
