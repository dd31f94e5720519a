//! What changed in this process, and why: the last lines of the log that have a field `event`, kept for the console. They are kept
//! whatever `log.level` is.

use std::collections::VecDeque;
use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::sync::LazyLock;

use arc_swap::ArcSwap;
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::wire::now_ms;

/// As many are kept; the oldest makes room.
pub const KEPT: usize = 500;
/// Characters of a text or a value that are kept.
const LONGEST: usize = 300;
/// The field that marks a line.
const MARK: &str = "event";

/// One change.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Counts from 1 in each process.
    pub number: u64,
    /// When it happened, in ms since 1970.
    pub at: i64,
    /// `error`, `warn` or `info`.
    pub level: &'static str,
    /// What kind of change it is, as `breaker`: the value of the field `event`.
    pub kind: String,
    /// The line's text.
    pub text: String,
    /// Its other fields, in their order.
    pub fields: Vec<(&'static str, String)>,
}

static CHANGES: LazyLock<Changes> = LazyLock::new(Changes::default);

/// The changes after this number, the oldest first.
pub fn after(number: u64) -> Vec<Arc<Change>> {
    CHANGES.after(number)
}

/// The last ones, by number. They are rare: each copies the list.
#[derive(Default)]
struct Changes(ArcSwap<VecDeque<Arc<Change>>>);

impl Changes {
    fn after(&self, number: u64) -> Vec<Arc<Change>> {
        let changes = self.0.load();
        // The newest stand last, and mostly there is none.
        let newer = changes.iter().rev().take_while(|change| change.number > number);
        let newer = newer.count();
        changes.range(changes.len() - newer..).cloned().collect()
    }

    /// Numbers a change as it gets its place: whoever asks for what comes after a number must not miss one that was numbered before, and
    /// got its place later.
    fn keep(&self, change: &Change) {
        self.0.rcu(|changes| {
            let last = changes.back().map_or(0, |last| last.number);
            let numbered = Arc::new(Change {
                number: last + 1,
                ..change.clone()
            });
            let passed_over = (changes.len() + 1).saturating_sub(KEPT);
            let kept = changes.iter().skip(passed_over).cloned().chain([numbered]);
            kept.collect::<VecDeque<_>>()
        });
    }
}

/// Keeps lines that have the field `event`.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    let is_marked = |metadata: &Metadata<'_>| metadata.is_event() && metadata.fields().field(MARK).is_some();
    // The level is a hint: without it, each debug line of any library would be asked about.
    Keeper.with_filter(filter_fn(is_marked).and(LevelFilter::INFO))
}

struct Keeper;

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut change = Change {
            number: 0,
            at: now_ms(),
            level: match *event.metadata().level() {
                tracing::Level::ERROR => "error",
                tracing::Level::WARN => "warn",
                _ => "info",
            },
            kind: String::new(),
            text: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut change);
        CHANGES.keep(&change);
    }
}

impl Visit for Change {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = value.chars().take(LONGEST).collect();
        match field.name() {
            MARK => self.kind = value,
            "message" => self.text = value,
            name => self.fields.push((name, value)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string does not fail; a value's own failure leaves what it had written.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    /// Those of one kind: other tests of this process log, too.
    fn of_kind(kind: &str) -> Vec<Arc<Change>> {
        let mut changes = after(0);
        changes.retain(|change| change.kind == kind);
        changes
    }

    #[test]
    fn marked_lines_are_kept_with_their_fields_and_others_are_not() {
        let subscriber = tracing_subscriber::registry().with(layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("an unmarked line");
            tracing::debug!(event = "test-a", "too fine");
            tracing::warn!(event = "test-a", backend = %"http://b", count = 3, "a marked line");
        });
        let kept = of_kind("test-a");
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!((kept[0].level, &*kept[0].text), ("warn", "a marked line"));
        assert_eq!(
            kept[0].fields,
            [("backend", "http://b".to_owned()), ("count", "3".to_owned())]
        );
        assert!(after(kept[0].number).iter().all(|change| change.kind != "test-a"));
        assert!(after(0).iter().all(|change| change.text != "an unmarked line"));
    }

    #[test]
    fn numbers_stand_in_order_whoever_was_first() {
        let all = Arc::new(Changes::default());
        let change = Change {
            number: 0,
            at: 0,
            level: "info",
            kind: String::new(),
            text: String::new(),
            fields: Vec::new(),
        };
        let threads = [0; 8].map(|_| {
            let (all, change) = (all.clone(), change.clone());
            std::thread::spawn(move || (0..KEPT).for_each(|_| all.keep(&change)))
        });
        while !threads.iter().all(std::thread::JoinHandle::is_finished) {
            let kept = all.after(0);
            let is_in_order = kept.windows(2).all(|pair| pair[0].number + 1 == pair[1].number);
            assert!(
                is_in_order,
                "{:?}",
                kept.iter().map(|change| change.number).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn the_oldest_makes_room_and_no_text_is_long() {
        let subscriber = tracing_subscriber::registry().with(layer());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..2 * KEPT {
                tracing::info!(event = "test-b", number, text = "x".repeat(1000), "a line");
            }
        });
        let kept = of_kind("test-b");
        assert!(kept.len() <= KEPT && kept.len() > KEPT / 2, "{}", kept.len());
        let last = kept.last().unwrap();
        assert_eq!(last.fields[0].1, (2 * KEPT - 1).to_string());
        assert_eq!(last.fields[1].1.len(), LONGEST);
    }
}
