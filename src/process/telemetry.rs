//! Log output: one subscriber for our `tracing` events and for what libraries write through `log`.

use std::sync::OnceLock;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

use crate::process::events;
use crate::process::log_writer::{LastLines, LogWriter};
use crate::process::output;

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// A tracing filter directive (`info`, `actix_khp=debug,info`); `RUST_LOG` wins.
    pub level: String,
    /// The shape of its lines.
    pub format: LogFormat,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for machines.
    Json,
}

/// Libraries whose lines repeat ours, or that any client can provoke. `log.level` and `RUST_LOG` can switch them on by name.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

/// Sets another filter. One for the process, as the log itself is.
static FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// From now on this is logged, written as `log.level` is. False: `RUST_LOG` is set, and wins; or there is no log.
///
/// # Errors
/// It is no filter.
pub fn set_level(level: &str) -> Result<bool, ParseError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))?;
    match FILTER.get() {
        Some(set) if EnvFilter::try_from_default_env().is_err() => set(filter),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Starts logging to standard error, and sends panics there too, so that each is one line in the log's own format.
/// `RUST_LOG`, where set and legal, wins over `log.level`. What is returned is to be dropped at the end of the process.
pub fn init(log: &Log) -> Option<LastLines> {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(format!("{QUIET},{}", log.level)))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let writer = LogWriter::start()
        .map_err(|error| output::complain(format_args!("there is no log: {error}")))
        .ok()?;
    let last_lines = writer.last_lines();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // They would go to standard error, and panic where that cannot be written.
        .log_internal_errors(false)
        .with_target(true);
    let (filter, handle) = reload::Layer::new(filter);
    let lines = match log.format {
        LogFormat::Text => lines.with_ansi(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    };
    let started = tracing_subscriber::registry()
        .with(lines)
        .with(events::layer())
        .try_init();
    // Err: a test of this process has installed one already.
    if started.is_ok() {
        keep(move |filter| handle.reload(filter));
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            tracing::error!(thread = thread.name().unwrap_or("unnamed"), %panic, "a panic: report it as a bug of actix-khp");
        }));
    }
    Some(last_lines)
}

fn keep<E>(set: impl Fn(EnvFilter) -> Result<(), E> + Send + Sync + 'static) {
    // Err of the calls: the subscriber is the process's own, and lives as long; this is done once.
    let _ = FILTER.set(Box::new(move |filter| drop(set(filter))));
}
