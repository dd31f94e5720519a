//! Which topic a letter goes back to, or why it stays.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::dlq::body::{self, Kept};
use crate::dlq::error::DlqError;
use crate::dlq::letter::{Letter, Place};
use crate::dlq::letters::{Letters, derive};
use crate::dlq::options::Redrive;
use crate::dlq::printable::line;
use crate::kafka::topic_name::{is_internal, is_legal};
use crate::settings::Settings;
use crate::wire::Sealing;
use crate::wire::beside::BodyPlace;
use crate::wire::redrive::{Redriven, Stays};
use crate::wire::sealing::is_sealed;

/// A letter on its way.
pub struct Planned {
    pub place: Place,
    pub topic: Arc<str>,
    pub record: Redriven,
}

/// Why a letter stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Left {
    #[error("{0}")]
    Letter(Stays),
    #[error("is sealed, and no key of sealing.keys opens it")]
    Sealed,
    #[error("names no topic it came from (kafka_dlt-original-topic); --to sends it to one")]
    NoTopic,
    #[error(
        "came from topic {0}, which is no request topic of the configuration; --allow {0} permits it, --to sends it elsewhere"
    )]
    NotAllowed(String),
    #[error("came from topic {0}, which does not exist")]
    Missing(String),
    #[error("has lost its body, which topic {0} no longer has")]
    BodyGone(String),
    #[error("has its body in topic {from}, and a letter to that topic must have it in {to}")]
    OtherBodies { from: String, to: String },
    #[error("is not taken by topic {topic}: {code}")]
    Refused { topic: String, code: String },
}

/// Which topics may be written to. A letter's headers are a client's: only names that the operator gave count.
pub struct Targets<'a> {
    settings: &'a Settings,
    to: Option<Arc<str>>,
    allowed: HashSet<String>,
    sealing: Sealing,
    /// Whether topics exist, once asked.
    known: HashMap<String, Option<Arc<str>>>,
}

impl<'a> Targets<'a> {
    /// # Errors
    /// A name that no letter can be sent to.
    pub fn new(settings: &'a Settings, redrive: &Redrive, dead_letter_topic: &str) -> Result<Self, DlqError> {
        for name in redrive.to.iter().chain(&redrive.allow) {
            if !is_legal(name) || is_internal(name) || name == dead_letter_topic {
                let name = line(name);
                return Err(DlqError::Usage(format!(
                    "{name}: letters cannot be sent there; name a request topic"
                )));
            }
        }
        let configured = settings
            .processor
            .topics
            .iter()
            .map(|topic| topic.request_topic.clone());
        Ok(Targets {
            settings,
            to: redrive.to.as_deref().map(Arc::from),
            allowed: configured
                .chain(redrive.allow.iter().cloned())
                .chain(redrive.to.clone())
                .collect(),
            sealing: derive(settings)?,
            known: HashMap::new(),
        })
    }

    /// Where a letter goes; the inner error says why it stays.
    ///
    /// # Errors
    /// Kafka does not answer.
    pub fn plan(&mut self, letter: &Letter, letters: &Letters) -> Result<Result<Planned, Left>, DlqError> {
        let record = match Redriven::new(letter.content()) {
            Ok(_) if letter.opened.is_none() && is_sealed(&letter.record) => return Ok(Err(Left::Sealed)),
            Ok(record) => record,
            Err(why) => return Ok(Err(Left::Letter(why))),
        };
        let named = match (&self.to, letter.original_topic()) {
            (Some(to), _) => to.to_string(),
            (None, Some(named)) if self.allowed.contains(&*named) => named.into_owned(),
            (None, Some(named)) => return Ok(Err(Left::NotAllowed(line(&named)))),
            (None, None) => return Ok(Err(Left::NoTopic)),
        };
        if !self.known.contains_key(&named) {
            let exists = letters.knows(&named)?;
            self.known
                .insert(named.clone(), exists.then(|| Arc::from(named.as_str())));
        }
        if let Some(body) = body::place(letter)
            && let Err(why) = self.has_body(letter, &named, body, letters)?
        {
            return Ok(Err(why));
        }
        let place = letter.place();
        Ok(match self.known.get(&named).cloned().flatten() {
            Some(topic) => {
                let record = match letter.opened {
                    Some(_) => self
                        .sealing
                        .seal_redriven(record, &topic)
                        .map_err(|error| DlqError::Usage(error.to_string()))?,
                    None => record,
                };
                Ok(Planned { place, topic, record })
            }
            None => Err(Left::Missing(named)),
        })
    }
    /// Whether whoever works on the letter again finds its body; the inner error says why not.
    fn has_body(
        &self,
        letter: &Letter,
        target: &str,
        place: BodyPlace,
        letters: &Letters,
    ) -> Result<Result<(), Left>, DlqError> {
        let from = body::topic_of(self.settings, &letter.original_topic().unwrap_or_default());
        let to = body::topic_of(self.settings, target);
        if from != to {
            return Ok(Err(Left::OtherBodies { from: line(&from), to }));
        }
        match letters.has_body(&to, place) {
            Kept::Whole => Ok(Ok(())),
            Kept::Gone => Ok(Err(Left::BodyGone(to))),
            Kept::Unknown => Err(DlqError::Silent(format!("no answer about topic {to}"))),
        }
    }
}
