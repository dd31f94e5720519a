//! What the figures say: medians of the repeats, and how they stand to the limit.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::measure::{Point, Run};
use crate::options::System;
use crate::process::Used;

/// The median of every figure of one load, each taken by itself; latencies in µs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub system: System,
    pub proxies: usize,
    pub connections: usize,
    pub per_second: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    /// Of all repeats.
    pub errors: u64,
    pub used: Vec<Used>,
    /// For actix-khp, where raw and hop were measured beside it.
    pub limit: Option<Limit>,
}

/// What the parts allow the whole, in requests per second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limit {
    /// 1/(1/raw + 1/hop).
    pub per_second: f64,
    /// How far actix-khp comes.
    pub ratio: f64,
    /// In-flight requests ÷ (raw's mean latency + hop's median with the fewest connections, where none queue).
    pub by_latency: f64,
    /// Cores ÷ (CPU time per request of all processes of raw and of hop).
    pub by_cpu: f64,
}

impl Row {
    fn of(points: &[&Point]) -> Option<Self> {
        let first = points.first()?;
        let figure = |read: fn(&Point) -> f64| median(points.iter().map(|point| read(point)).collect());
        let used = first.used.iter().enumerate().map(|(index, used)| {
            let figure = |read: fn(&Used) -> f64| median(points.iter().map(|point| read(&point.used[index])).collect());
            Used {
                name: used.name.clone(),
                cpu_us_per_request: figure(|used| used.cpu_us_per_request),
                rss_mib: figure(|used| used.rss_mib),
                received_bytes_per_request: figure(|used| used.received_bytes_per_request),
            }
        });
        Some(Row {
            system: first.system,
            proxies: first.proxies,
            connections: first.connections,
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

    /// µs of CPU time per request of the processes whose names begin so.
    fn cpu(&self, name: &str) -> f64 {
        let of_name = self.used.iter().filter(|used| used.name.starts_with(name));
        of_name.map(|used| used.cpu_us_per_request).sum()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() % 2 {
        0 if middle > 0 => (figures[middle - 1] + figures[middle]) / 2.0,
        _ => figures.get(middle).copied().unwrap_or_default(),
    }
}

/// One row for every load, in the order in which they were first measured. What is paced runs into no limit.
pub fn rows(points: &[Point], cores: usize, paced: bool) -> Vec<Row> {
    let load = |point: &Point| (point.proxies, point.connections, point.system);
    let mut loads = Vec::new();
    for point in points {
        if !loads.contains(&load(point)) {
            loads.push(load(point));
        }
    }
    let of_load = |wanted| points.iter().filter(|point| load(point) == wanted).collect::<Vec<_>>();
    let mut rows: Vec<Row> = loads
        .into_iter()
        .filter_map(|wanted| Row::of(&of_load(wanted)))
        .collect();
    for index in (0..rows.len()).filter(|_| !paced) {
        rows[index].limit = limit(&rows, &rows[index], cores);
    }
    rows
}

fn limit(rows: &[Row], khp: &Row, cores: usize) -> Option<Limit> {
    let of = |system| move |row: &&Row| row.system == system;
    let beside = |row: &&Row| (row.proxies, row.connections) == (khp.proxies, khp.connections);
    let raw = rows.iter().filter(of(System::Raw)).find(beside)?;
    let hop = rows.iter().filter(of(System::Hop)).find(beside)?;
    let unqueued = rows.iter().filter(of(System::Hop)).min_by_key(|row| row.connections)?;
    let per_second = 1.0 / (1.0 / raw.per_second + 1.0 / hop.per_second);
    (khp.system == System::Khp).then(|| Limit {
        per_second,
        ratio: khp.per_second / per_second,
        by_latency: khp.connections as f64 * 1e6 / (raw.mean + unqueued.p50),
        by_cpu: cores as f64 * 1e6 / (raw.cpu("") + hop.cpu("")),
    })
}

/// One point, while the run goes on.
pub fn line(point: &Point) -> String {
    Row::of(&[point]).map(|row| row_text(&row)).unwrap_or_default()
}

/// The whole report.
pub fn text(run: &Run) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, run);
    text
}

fn write_report(out: &mut String, run: &Run) -> std::fmt::Result {
    let (options, machine, memory) = (&run.options, &run.machine, &run.memory);
    writeln!(
        out,
        "\n{}, {} cores, Linux {}; one broker, replication factor {}; {} bytes, backend {} ms, wire format {}, {} processors; \
         medians of {} × {} s",
        machine.cpu,
        machine.cores,
        machine.kernel,
        run.replication_factor,
        options.body,
        options.backend_latency,
        options.wire_format,
        options.processors,
        options.repeats,
        options.seconds,
    )?;
    writeln!(out, "\n{HEAD}")?;
    let mut connections = 0;
    for row in &run.rows {
        if std::mem::replace(&mut connections, row.connections) != row.connections {
            writeln!(out)?;
        }
        writeln!(out, "{}", row_text(row))?;
    }
    writeln!(out)?;
    for row in &run.rows {
        let Some(limit) = &row.limit else { continue };
        let binds = if limit.by_latency < limit.by_cpu {
            "latency"
        } else {
            "CPU"
        };
        writeln!(
            out,
            "{:>5} connections: limit {:.0}/s, actix-khp {:.2} × limit; ceilings: in-flight ÷ latency {:.0}/s, cores ÷ CPU {:.0}/s: {binds} binds",
            row.connections, limit.per_second, limit.ratio, limit.by_latency, limit.by_cpu,
        )?;
        let at = |system| {
            run.rows
                .iter()
                .find(|other| other.system == system && other.connections == row.connections)
        };
        if let (Some(raw), Some(hop)) = (at(System::Raw), at(System::Hop)) {
            let forwarder = hop.cpu("hop");
            writeln!(
                out,
                "                   CPU of the proxies {:.2} × hop's, of the processors {:.2} ×; p50 − (raw + hop) = {:+.2} ms",
                row.cpu("proxy") / forwarder,
                row.cpu("processor") / forwarder,
                (row.p50 - raw.p50 - hop.p50) / 1e3,
            )?;
        }
    }
    writeln!(
        out,
        "\nidle: proxy {:.1} MiB, processor {:.1} MiB; ready: proxy {:.2} s, processor {:.2} s; {:.1} KiB for each of {} waiting connections",
        memory.proxy_idle_mib,
        memory.processor_idle_mib,
        memory.proxy_ready_seconds,
        memory.processor_ready_seconds,
        memory.kib_per_waiting,
        memory.waiting,
    )
}

const HEAD: &str = "conns proxies system    req/s  p50 ms     p90     p99   p99.9 errors  CPU µs per request, resident MiB (TCP bytes received per request)";

fn row_text(row: &Row) -> String {
    let used = row.used.iter().map(|used| {
        format!(
            "{} {:.0} µs {:.0} MiB ({:.0})",
            used.name, used.cpu_us_per_request, used.rss_mib, used.received_bytes_per_request
        )
    });
    format!(
        "{:>5} {:>7} {:>6} {:>8.0} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>6}  {}",
        row.connections,
        row.proxies,
        row.system.name(),
        row.per_second,
        row.p50 / 1e3,
        row.p90 / 1e3,
        row.p99 / 1e3,
        row.p999 / 1e3,
        row.errors,
        used.collect::<Vec<_>>().join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_figures_is_taken() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
        assert_eq!(median(vec![]), 0.0);
    }
}
