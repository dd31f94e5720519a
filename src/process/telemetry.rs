//! Log output: one subscriber for our `tracing` events and for what libraries write through `log`.

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::process::events;
use crate::process::log_writer::{LastLines, LogWriter};
use crate::process::output;
use crate::process::repeats::Repeats;

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct Log {
    /// A tracing filter directive (`info`, `actix_khp=debug,info`); `RUST_LOG` wins.
    pub level: String,
    /// The shape of its lines.
    pub format: LogFormat,
    /// Which requests get a line when they end.
    pub access: AccessLog,
    /// The queries of paths are shown. Credentials may travel there.
    pub shows_queries: bool,
}

/// Which requests get a line in the log when they end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum AccessLog {
    #[default]
    Off,
    /// Those that got no whole answer of the backend, or one from 500 on.
    Failures,
    All,
    /// All, but at most so many lines per second.
    PerSecond(f64),
}

/// The target of the access log's lines. `log.access` decides about them, whatever the level is.
pub const ACCESS: &str = "access";

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

/// Whether this is a level, or a filter made of levels and modules.
pub fn is_filter(text: &str) -> bool {
    let is_level = |part: &str| part.parse::<LevelFilter>().is_ok();
    let is_directive = |part: &str| is_level(part) || part.rsplit_once('=').is_some_and(|(_, level)| is_level(level));
    text.split(',').map(str::trim).all(is_directive) && EnvFilter::try_new(text).is_ok()
}

/// What the filter is changed by. One for the process, as the log itself is.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// From now on this is logged, written as `log.level` is. False: `RUST_LOG` is set, and wins; or there is no log.
///
/// # Errors
/// It is no filter.
pub fn set_level(level: &str) -> Result<bool, ParseError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))?;
    let is_ours = EnvFilter::try_from_default_env().is_err();
    let handle = FILTER.get().filter(|_| is_ours);
    Ok(handle.is_some_and(|handle| handle.reload(filter).is_ok()))
}

/// Starts logging to standard error, and sends panics there too, so that each is one line in the log's own format.
/// `RUST_LOG`, where set and legal, wins over `log.level`. What is returned is to be dropped at the end of the process.
pub fn init(log: &Log) -> Option<LastLines> {
    let filter = EnvFilter::try_from_default_env()
        .or_else(|_| EnvFilter::try_new(format!("{QUIET},{}", log.level)))
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    // The level is a hint: without it, each debug line of any library would be asked about.
    let is_access = filter_fn(|metadata| metadata.target() == ACCESS).with_max_level_hint(LevelFilter::INFO);
    let filter = filter.or(is_access).and(Repeats);
    let writer = LogWriter::start()
        .map_err(|error| output::complain(format_args!("there is no log: {error}")))
        .ok()?;
    let last_lines = writer.last_lines();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // They would go to standard error, and panic where that cannot be written.
        .log_internal_errors(false)
        .with_target(true);
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
        // Err: set once, here.
        let _ = FILTER.set(handle);
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            tracing::error!(thread = thread.name().unwrap_or("unnamed"), %panic, "a panic: report it as a bug of actix-khp");
        }));
    }
    Some(last_lines)
}
