//! The tables of topics.

use crate::cli::top::figures::{count, ms, rate, seconds};
use crate::cli::top::line::{Line, Style, plain};
use crate::cli::top::order::Order;
use crate::console::documents::{Consumed, Point, Sent};
use crate::dlq::printable;

/// The figures that every topic has.
fn topic(name: &str, last: Option<&Point>) -> Line {
    let none = Point::default();
    let last = last.unwrap_or(&none);
    let failed = if last.error_rate > 0.0 {
        Style::Bad
    } else {
        Style::Plain
    };
    plain(format!("{:<32}{:>11}", fitted(name, 31), rate(last.rate)))
        .then(failed, format!("{:>10}", rate(last.error_rate)))
        .then(Style::Plain, format!("{:>9}{:>9}", ms(last.p50_ms), ms(last.p99_ms)))
}

const TOPIC: &str = " requests/s  errors/s      p50      p99";

/// The topics that a proxy sends to.
pub fn sent(topics: &[Sent], order: Order) -> Vec<Line> {
    let mut rows: Vec<&Sent> = topics.iter().collect();
    order.sort(&mut rows, |row| (&row.topic, row.last.clone().unwrap_or_default(), 0));
    let head = Line::default().then(Style::Strong, format!("{:<32}{TOPIC}", "sent to"));
    let rows = rows.into_iter().map(|row| topic(&row.topic, row.last.as_ref()));
    std::iter::once(head).chain(rows).collect()
}

/// The topics that a processor consumes.
pub fn consumed(topics: &[Consumed], order: Order) -> Vec<Line> {
    let mut rows: Vec<&Consumed> = topics.iter().collect();
    order.sort(&mut rows, |row| {
        (&row.status.name, row.last.clone().unwrap_or_default(), row.status.lag)
    });
    let head = format!(
        "{:<32}{TOPIC}{:>7}{:>11}{:>9}{:>12}  state",
        "consumed", "lag", "in flight", "oldest", "partitions"
    );
    let head = Line::default().then(Style::Strong, head);
    let rows = rows.into_iter().map(|row| {
        let figures = format!(
            "{:>7}{:>11}{:>9}{:>12}  ",
            count(row.status.lag as f64),
            count(row.status.in_flight as f64),
            seconds(row.oldest_in_flight_seconds),
            row.status.partitions
        );
        let line = topic(&row.status.name, row.last.as_ref()).then(Style::Plain, figures);
        condition(row)
            .into_iter()
            .fold(line, |line, (style, text)| line.then(style, format!("{text}  ")))
    });
    std::iter::once(head).chain(rows).collect()
}

/// How its workers, its breaker and its backend are; what is as it should be says little.
fn condition(row: &Consumed) -> Vec<(Style, String)> {
    let row = &row.status;
    let workers = match row.workers.len() {
        0 | 1 => row.state.to_string(),
        several => format!("{} by {several} workers", row.state),
    };
    let is_consuming = row.state == "consuming";
    let mut all = vec![(if is_consuming { Style::Good } else { Style::Warn }, workers)];
    if !matches!(&*row.breaker, "" | "closed") {
        all.push((Style::Bad, format!("breaker {}", row.breaker)));
    }
    if row.backend == "down" {
        all.push((Style::Bad, "backend down".into()));
    }
    all
}

/// A name as it is printed, in so much room.
fn fitted(name: &str, room: usize) -> String {
    let name = printable::line(name);
    match name.chars().count() > room {
        false => name,
        true => name.chars().take(room - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(fitted("short", 5), "short");
        assert_eq!(fitted("longer", 5), "long…");
        // As many as are printed, not as many as it has.
        assert_eq!(fitted("a\u{202e}b", 6), "a\\u{2…");
    }
}
