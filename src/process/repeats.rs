//! A line about a request that repeats an earlier one is said once, then counted: a backend that is down must not fill the log with the
//! same words. Lines are the same if they differ in nothing but the request: its ids, its record's position, its attempts.

use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata};
use tracing_subscriber::layer::{Context, Filter};

/// The field by which a line is about one request.
const OF_REQUEST: &str = "correlation_id";
/// What else only tells one request from the next.
const OF_RECORD: [&str; 4] = ["partition", "offset", "attempts", "request_id"];

/// Different lines that are counted at once. Those beyond are written.
const SLOTS: usize = 256;
/// So many of them are looked at for one line.
const PROBES: usize = 8;

/// Lines that were said.
static SAID: [Slot; SLOTS] = [const { Slot::free() }; SLOTS];

struct Slot {
    /// The hash of a line; 0: it is free.
    line: AtomicU64,
    /// How often it came since it was said, or counted last.
    more: AtomicU64,
    text: ArcSwapOption<Said>,
}

/// What the count is said with.
struct Said {
    topic: String,
    text: String,
}

impl Slot {
    const fn free() -> Self {
        Slot {
            line: AtomicU64::new(0),
            more: AtomicU64::new(0),
            text: ArcSwapOption::const_empty(),
        }
    }
}

/// Lets through what is not counted.
pub struct Repeats;

impl<S> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::always()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_counted = *metadata.level() <= tracing::Level::WARN && metadata.fields().field(OF_REQUEST).is_some();
        !is_counted || is_new(event)
    }
}

fn is_new(event: &Event<'_>) -> bool {
    let mut words = Words(DefaultHasher::new());
    event.metadata().callsite().hash(&mut words.0);
    event.record(&mut words);
    // 0 is a free slot's.
    let line = words.0.finish().max(1);
    for probe in 0..PROBES {
        let slot = &SAID[(line as usize).wrapping_add(probe) % SLOTS];
        match slot.line.compare_exchange(0, line, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                slot.more.store(0, Ordering::Release);
                let mut said = Said {
                    topic: String::new(),
                    text: String::new(),
                };
                event.record(&mut said);
                slot.text.store(Some(Arc::new(said)));
                return true;
            }
            Err(known) if known == line => {
                slot.more.fetch_add(1, Ordering::AcqRel);
                return false;
            }
            Err(_) => {}
        }
    }
    true
}

/// Says how often each line came again. One that did not is new when it comes. Called from time to time, and at the end.
pub fn say_counts() {
    for slot in SAID.iter().filter(|slot| slot.line.load(Ordering::Acquire) != 0) {
        match slot.more.swap(0, Ordering::AcqRel) {
            0 => slot.line.store(0, Ordering::Release),
            more => {
                let said = slot.text.load();
                let (topic, text) = said.as_ref().map(|said| (&*said.topic, &*said.text)).unzip();
                tracing::warn!(more, topic, line = text, "the same was to be said again");
            }
        }
    }
}

/// Hashes what makes a line.
struct Words(DefaultHasher);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != OF_REQUEST && !OF_RECORD.contains(&field.name()) {
            field.name().hash(&mut self.0);
            // A hasher takes everything; a value's own failure leaves what it had written.
            let _ = write!(self, "{value:?}");
        }
    }
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "topic" => self.topic = format!("{value:?}"),
            "message" => self.text = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::process::test_log::Text;

    /// One test alone: the table is the process's.
    #[test]
    fn a_line_about_the_next_request_is_counted_and_another_is_said() {
        let text = Text::default();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(text.clone());
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(Repeats));
        tracing::subscriber::with_default(subscriber, || {
            for (topic, offset) in [("repeats-a", 1), ("repeats-a", 2), ("repeats-b", 3), ("repeats-a", 4)] {
                tracing::warn!(topic, offset, correlation_id = format!("id-{offset}"), "no answer");
            }
            tracing::warn!(topic = "repeats-a", offset = 5, "about no request");
            tracing::warn!(topic = "repeats-a", offset = 6, "about no request");
            say_counts();
            // Nothing came since: it is free, and said anew.
            say_counts();
            tracing::warn!(topic = "repeats-a", offset = 7, correlation_id = "id-7", "no answer");
        });
        let text = text.read();
        let count = |what: &str| text.matches(what).count();
        assert_eq!(
            (count("id-1"), count("id-2"), count("id-3"), count("id-4")),
            (1, 0, 1, 0),
            "{text}"
        );
        assert_eq!(count("about no request"), 2, "{text}");
        assert_eq!(count("more=2 topic=\"repeats-a\" line=\"no answer\""), 1, "{text}");
        // Another place in the source.
        assert_eq!(count("id-7"), 1, "{text}");
    }
}
