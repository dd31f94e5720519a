//! From points to rows: the medians of the repeats, and the limit beside them.

use crate::figures::{Limit, Point, Row};
use crate::options::System;
use crate::process::Used;

/// One row for every load, in the order in which they were first measured. A paced load reaches no limit, so its rows have none.
pub fn rows(points: &[Point], cores: usize) -> Vec<Row> {
    let load = |point: &Point| (point.proxies, point.connections, point.rate, point.system);
    let mut loads = Vec::new();
    for point in points {
        if !loads.contains(&load(point)) {
            loads.push(load(point));
        }
    }
    let of_load = |wanted| points.iter().filter(|point| load(point) == wanted).collect::<Vec<_>>();
    let mut rows: Vec<Row> = loads.into_iter().filter_map(|wanted| row(&of_load(wanted))).collect();
    for index in 0..rows.len() {
        rows[index].limit = limit(&rows, &rows[index], cores);
    }
    rows
}

/// The medians of points with the same load; `None` where there is no point.
pub fn row(points: &[&Point]) -> Option<Row> {
    let first = points.first()?;
    let figure = |read: fn(&Point) -> f64| median(points.iter().map(|point| read(point)).collect());
    let used = first.used.iter().enumerate().map(|(index, used)| {
        let figure = |read: fn(&Used) -> f64| median(points.iter().map(|point| read(&point.used[index])).collect());
        Used {
            name: used.name.clone(),
            cpu_us_per_request: figure(|used| used.cpu_us_per_request),
            rss_mib: figure(|used| used.rss_mib),
            // A bound holds for each of them.
            grown_mib: points
                .iter()
                .map(|point| point.used[index].grown_mib)
                .fold(0.0, f64::max),
            received_bytes_per_request: figure(|used| used.received_bytes_per_request),
            switches_per_request: figure(|used| used.switches_per_request),
            involuntary_per_request: figure(|used| used.involuntary_per_request),
        }
    });
    Some(Row {
        system: first.system,
        proxies: first.proxies,
        connections: first.connections,
        rate: first.rate,
        per_second: figure(|point| point.outcome.per_second()),
        mean: figure(|point| point.outcome.mean),
        p50: figure(|point| point.outcome.p50),
        p90: figure(|point| point.outcome.p90),
        p99: figure(|point| point.outcome.p99),
        p999: figure(|point| point.outcome.p999),
        errors: points.iter().map(|point| point.outcome.errors).sum(),
        used: used.collect(),
        limit: None,
    })
}

fn limit(rows: &[Row], khp: &Row, cores: usize) -> Option<Limit> {
    let of = |system| move |row: &&Row| row.system == system;
    let beside = |row: &&Row| (row.proxies, row.connections) == (khp.proxies, khp.connections);
    let raw = rows.iter().filter(of(System::Raw)).find(beside)?;
    let hop = rows.iter().filter(of(System::Hop)).find(beside)?;
    let unqueued = rows.iter().filter(of(System::Hop)).min_by_key(|row| row.connections)?;
    let per_second = 1.0 / (1.0 / raw.per_second + 1.0 / hop.per_second);
    (khp.system == System::Khp && khp.rate.is_none()).then(|| Limit {
        per_second,
        ratio: khp.per_second / per_second,
        by_latency: khp.connections as f64 * 1e6 / (raw.mean + unqueued.p50),
        by_cpu: cores as f64 * 1e6 / (raw.cpu("") + hop.cpu("")),
    })
}

/// The middle one; 0 where there is none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        0 if middle > 0 => (figures[middle - 1] + figures[middle]) / 2.0,
        _ => figures.get(middle).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
