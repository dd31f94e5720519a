//! `actix-khp dlq`: dead letters looked at and sent round again. One-shot commands: they read the dead letter topic from its beginning to
//! its end, on one thread, and are done.

mod filter;
mod letter;
mod letters;
mod list;
mod printable;
mod redrive;
mod show;

use clap::{Args, Subcommand};
use rdkafka::error::KafkaError;

use crate::dlq::filter::Filter;
use crate::dlq::letter::Place;
use crate::kafka::cluster::admin::TopicError;
use crate::process::exit;
use crate::settings::Settings;

/// What is to be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the letters that were not redriven yet
    List(List),
    /// Show one letter: its headers and its body
    Show(Show),
    /// Send letters back to the topics they came from
    Redrive(Redrive),
}

/// What `list` takes.
#[derive(Debug, Args)]
pub struct List {
    /// Only letters that pass; several must all hold. FIELD=VALUE, or FIELD~GLOB
    #[arg(long, value_name = "FILTER", long_help = filter::HELP)]
    filter: Vec<Filter>,
    /// How many letters at most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max: usize,
    /// Letters that were redriven, too
    #[arg(long)]
    all: bool,
}

/// What `show` takes.
#[derive(Debug, Args)]
pub struct Show {
    /// Where the letter is, as `list` names it
    #[arg(value_name = "PARTITION:OFFSET")]
    place: Place,
    /// Print credentials too, which are masked otherwise
    #[arg(long)]
    reveal: bool,
    /// Print the whole body, not only its first 4 KiB
    #[arg(long)]
    full: bool,
}

/// What `redrive` takes.
#[derive(Debug, Args)]
pub struct Redrive {
    /// Only letters that pass; several must all hold. FIELD=VALUE, or FIELD~GLOB
    #[arg(long, value_name = "FILTER", long_help = filter::HELP)]
    filter: Vec<Filter>,
    /// How many letters at most
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// Letters per second at most
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Send them all to this topic instead of the one each came from
    #[arg(long, value_name = "TOPIC")]
    to: Option<String>,
    /// Topics that may be written to besides the request topics of the configuration
    #[arg(long, value_name = "TOPIC")]
    allow: Vec<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    crate::settings::rate(text).map_err(str::to_owned)
}

/// Why a command did not do all of its work.
#[derive(Debug, thiserror::Error)]
pub enum DlqError {
    #[error("the configuration names no dead_letter_topic: set it, or DEAD_LETTER_TOPIC")]
    NotConfigured,
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Topic(#[from] TopicError),
    #[error("Kafka does not answer any more ({0}); run the command again")]
    Silent(String),
    #[error("{what}: {source}")]
    Kafka {
        what: String,
        #[source]
        source: KafkaError,
    },
    #[error("stopped by a signal; run the same command again to go on")]
    Interrupted,
}

impl DlqError {
    fn kafka(what: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        let what = what.into();
        |source| DlqError::Kafka { what, source }
    }

    fn exit_code(&self) -> u8 {
        match self {
            DlqError::NotConfigured | DlqError::Usage(_) => exit::USAGE,
            DlqError::Topic(TopicError::Unreachable { .. }) | DlqError::Silent(_) => exit::UNAVAILABLE,
            DlqError::Topic(_) | DlqError::Kafka { .. } => exit::SOFTWARE,
            DlqError::Interrupted => exit::CUT_OFF,
        }
    }
}

/// Does what was asked for; returns the exit code.
pub fn run(settings: &Settings, command: &Command) -> u8 {
    let done = match command {
        Command::List(list) => list::run(settings, list),
        Command::Show(show) => show::run(settings, show),
        Command::Redrive(redrive) => redrive::run(settings, redrive),
    };
    match done {
        Ok(()) => exit::OK,
        Err(error) => {
            eprintln!("{error}");
            error.exit_code()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RawRecord;

    /// A record of partition 3 with the key `k`.
    pub fn record(fields: &[(&str, &[u8])], value: &[u8]) -> RawRecord {
        RawRecord {
            topic: "failed".into(),
            partition: 3,
            offset: 17,
            timestamp: Some(1_700_000_000_000),
            key: Some("k".into()),
            value: Some(value.to_vec().into()),
            headers: fields
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec().into(), Some(value.to_vec().into())))
                .collect(),
        }
    }

    #[test]
    fn a_rate_is_above_nothing() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
