//! What is shown, as lines.

use std::time::Duration;

use crate::cli::top::client::Seen;
use crate::cli::top::figures::{count, long, ms, rate};
use crate::cli::top::line::{Line, Style, plain};
use crate::cli::top::order::Order;
use crate::cli::top::tables::{consumed, sent};
use crate::console::documents::{Bound, Level, Now, Point, Process};
use crate::wire::now_ms;

/// The phases, in the order in which a request goes through them; `back` is the processor's `reply` where both roles are one process.
const PHASES: [&str; 8] = [
    "admission",
    "produce",
    "queue",
    "permit",
    "backend",
    "back",
    "reply",
    "write",
];
/// The bar of a bound.
const BAR: usize = 20;
/// The share of a bound from which on it stands out.
const NEAR: f64 = 0.8;

/// All of it.
pub fn lines(seen: &Seen, url: &str, order: Order) -> Vec<Line> {
    let mut lines = vec![head(&seen.process, url)];
    lines.extend(state(&seen.now));
    lines.push(Line::default());
    lines.extend(figures(&seen.now));
    lines.extend(bounds(&seen.now.bounds));
    if let Some(topics) = &seen.topics.proxy {
        lines.push(Line::default());
        lines.extend(sent(topics, order));
    }
    if let Some(topics) = &seen.topics.processor {
        lines.push(Line::default());
        lines.extend(consumed(topics, order));
    }
    lines
}

/// A process that does not answer.
pub fn trouble(url: &str, why: &str) -> Vec<Line> {
    vec![
        Line::default()
            .then(Style::Strong, "actix-khp")
            .then(Style::Plain, format!("  {url}")),
        Line::default().then(Style::Bad, "gone  ").then(Style::Plain, why),
    ]
}

/// What keys do.
pub fn footer(order: Order) -> Line {
    let keys = [("q", " quit  "), ("↑ ↓ PgUp PgDn", " scroll  "), ("s", " sort by: ")];
    let line = keys.into_iter().fold(Line::default(), |line, (key, what)| {
        line.then(Style::Strong, key).then(Style::Weak, what)
    });
    line.then(Style::Weak, order.as_str())
}

fn head(process: &Process, url: &str) -> Line {
    let roles = match (process.proxy, process.processor) {
        (true, true) => "proxy and processor",
        (true, false) => "proxy",
        _ => "processor",
    };
    let since = u64::try_from(now_ms() - process.began).unwrap_or_default();
    let up = long(Duration::from_millis(since));
    let instance = process.instance.as_ref().map(|id| format!("  instance {id}"));
    let about = format!(
        " {}  {roles}{}  up {up}  {url}",
        process.version,
        instance.unwrap_or_default()
    );
    Line::default()
        .then(Style::Strong, "actix-khp")
        .then(Style::Plain, about)
}

fn style(level: Level) -> Style {
    match level {
        Level::Bad => Style::Bad,
        Level::Warn => Style::Warn,
        Level::Ok => Style::Good,
    }
}

fn state(now: &Now) -> Vec<Line> {
    let word = match now.state.level {
        Level::Bad => "bad   ",
        Level::Warn => "warn  ",
        Level::Ok => "ok    ",
    };
    let sentence = Line::default()
        .then(style(now.state.level), word)
        .then(Style::Plain, &now.state.sentence);
    let reasons = now.state.reasons.iter().map(|reason| {
        let mark = Line::default().then(style(reason.level), "    - ");
        mark.then(Style::Plain, &reason.text)
    });
    // One alone is in the sentence already.
    std::iter::once(sentence)
        .chain(reasons.filter(|_| now.state.reasons.len() > 1))
        .collect()
}

fn figures(now: &Now) -> Vec<Line> {
    let head = format!(
        "{:<12}{:>11}{:>11}{:>9}{:>9}{:>11}",
        "", "requests/s", "errors/s", "p50", "p99", "in flight"
    );
    let row = |name: &str, point: &Point| {
        let failed = if point.error_rate > 0.0 {
            Style::Bad
        } else {
            Style::Plain
        };
        plain(format!("{name:<12}{:>11}", rate(point.rate)))
            .then(failed, format!("{:>11}", rate(point.error_rate)))
            .then(
                Style::Plain,
                format!(
                    "{:>9}{:>9}{:>11}",
                    ms(point.p50_ms),
                    ms(point.p99_ms),
                    count(point.in_flight as f64)
                ),
            )
    };
    let mut lines = vec![
        Line::default().then(Style::Strong, head),
        row("last second", &now.point),
        row("last minute", &now.minute),
    ];
    let minute = &now.minute;
    let phases = PHASES
        .iter()
        .filter_map(|phase| Some((phase, minute.phases_ms.get(*phase)?)));
    let phases: Vec<String> = phases
        .map(|(phase, time)| format!("{phase} {}", ms(Some(*time))))
        .collect();
    if !phases.is_empty() {
        lines.push(plain(format!("{:<12}{}", "phases", phases.join(", "))));
    }
    let codes: Vec<String> = minute
        .codes
        .iter()
        .map(|(code, count)| format!("{code} {count}"))
        .collect();
    if !codes.is_empty() {
        lines.push(plain(format!("{:<12}", "failed")).then(Style::Bad, codes.join(", ")));
    }
    lines
}

fn bounds(bounds: &[Bound]) -> Vec<Line> {
    let mut lines = Vec::new();
    let longest = bounds.iter().map(|bound| bound.name.chars().count()).max().unwrap_or(0);
    for bound in bounds {
        let share = if bound.of > 0.0 {
            (bound.used / bound.of).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let filled = (share * BAR as f64).ceil() as usize;
        let bar = format!("{}{}", "|".repeat(filled), " ".repeat(BAR - filled));
        let style = if share >= NEAR { Style::Warn } else { Style::Good };
        let line = plain(format!("{:<longest$}  [", bound.name)).then(style, bar);
        lines.push(line.then(
            Style::Plain,
            format!("] {:>5} of {:<5} {}", count(bound.used), count(bound.of), bound.what),
        ));
    }
    match lines.is_empty() {
        true => lines,
        false => std::iter::once(Line::default()).chain(lines).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::top::screen::{Colours, text};

    fn seen() -> Seen {
        let last = |rate: f64, p99: f64| json!({"rate": rate, "error_rate": 0.5, "p50_ms": 1.25, "p99_ms": p99, "in_flight": 3});
        let topic = |name: &str, lag: i64, rate: f64| {
            json!({"name": name, "state": "consuming", "partitions": 4, "lag": lag, "in_flight": 2, "workers": [{}, {}],
                "backend": "up", "breaker": "open", "last": last(rate, rate), "oldest_in_flight_seconds": 0.25})
        };
        Seen {
            process: serde_json::from_value(json!({"version": "0.1.0", "instance": "a\u{1b}[2Jb", "proxy": true, "processor": true,
                "began": now_ms() - 65_000}))
            .unwrap(),
            now: serde_json::from_value(json!({
                "state": {"level": "warn", "sentence": "Ready, but slow.", "reasons": [{"level": "warn", "text": "slow"}, {"level": "bad", "text": "old"}]},
                "point": last(12.0, 20.0),
                "minute": {"rate": 1.0, "codes": {"overloaded": 7}, "phases_ms": {"reply": 2.0, "admission": 0.25}},
                "bounds": [{"name": "max_pending", "what": "requests in flight", "used": 9500.0, "of": 10000.0}],
            }))
            .unwrap(),
            topics: serde_json::from_value(json!({
                "proxy": [{"topic": "orders", "last": last(3.0, 5.0)}],
                "processor": [topic("a", 5, 9.0), topic("b", 123_456, 1.0)],
            }))
            .unwrap(),
        }
    }

    fn shown(order: Order) -> String {
        text(&lines(&seen(), "http://h:1", order), None, Colours::Off)
    }

    #[test]
    fn all_of_it_is_there_and_nothing_moves_the_cursor() {
        let shown = shown(Order::Name);
        for part in [
            "up 1 min 5 s  http://h:1",
            "warn  Ready, but slow.",
            "    - old",
            "last second          12        0.5   1.2 ms    20 ms          3",
            "phases      admission 0.2 ms, reply 2.0 ms",
            "failed      overloaded 7",
            "max_pending  [||||||||||||||||||| ]  9500 of 10k   requests in flight",
            "consuming by 2 workers  breaker open",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        assert!(!shown.contains('\u{1b}') && !shown.contains("backend up"), "{shown}");
    }

    #[test]
    fn topics_are_sorted_by_what_is_asked_for() {
        let first = |order: Order| {
            let shown = shown(order);
            let (_, consumed) = shown.split_once("consumed").unwrap();
            consumed.lines().nth(1).unwrap().chars().next().unwrap()
        };
        let mut order = Order::default();
        let firsts = [(); 4].map(|()| {
            let found = (order.as_str(), first(order));
            order = order.next();
            found
        });
        assert_eq!(firsts, [("name", 'a'), ("rate", 'a'), ("p99", 'a'), ("lag", 'b')]);
        assert_eq!(order, Order::Name);
    }
}
