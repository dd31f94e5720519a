//! The figures as text.

use std::fmt::Write;

use crate::figures::{Point, Ratio, Row, Run};
use crate::medians;
use crate::options::System;

/// One point as a line, for whoever watches the run.
pub fn line(point: &Point) -> String {
    medians::row(&[point]).map(|row| row_text(&row)).unwrap_or_default()
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
    if !run.ratios.is_empty() {
        writeln!(out, "\n{RATIOS_HEAD}")?;
    }
    for ratio in &run.ratios {
        writeln!(out, "{}", ratio_text(ratio))?;
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

const HEAD: &str = "conns proxies          system   rate    req/s  p50 ms     p90     p99   p99.9 errors  CPU µs per request, resident MiB \
                    (TCP bytes received per request; context switches per request: voluntary + involuntary)";

fn row_text(row: &Row) -> String {
    let used = row.used.iter().map(|used| {
        format!(
            "{} {:.0} µs {:.0} MiB ({:.0}; {:.2} + {:.2})",
            used.name,
            used.cpu_us_per_request,
            used.rss_mib,
            used.received_bytes_per_request,
            used.switches_per_request,
            used.involuntary_per_request,
        )
    });
    format!(
        "{:>5} {:>7} {:>15} {:>6} {:>8.0} {:>7.2} {:>7.2} {:>7.2} {:>7.2} {:>6}  {}",
        row.connections,
        row.proxies,
        row.system.name(),
        rate_text(row.rate),
        row.per_second,
        row.p50 / 1e3,
        row.p90 / 1e3,
        row.p99 / 1e3,
        row.p999 / 1e3,
        row.errors,
        used.collect::<Vec<_>>().join(", "),
    )
}

const RATIOS_HEAD: &str = "khp divided by the other, medians of the rounds' own ratios\n\
                           conns proxies           other   rate  req/s (lowest to highest)    p50    p99  CPU: proxy  processor";

fn ratio_text(ratio: &Ratio) -> String {
    let cpu = |cpu: Option<f64>| cpu.map_or("-".into(), |cpu| format!("{cpu:.2}"));
    format!(
        "{:>5} {:>7} {:>15} {:>6} {:>6.2} {:>19} {:>6.2} {:>6.2} {:>11} {:>10}",
        ratio.connections,
        ratio.proxies,
        ratio.than.name(),
        rate_text(ratio.rate),
        ratio.per_second,
        format!("({:.2} to {:.2})", ratio.per_second_lowest, ratio.per_second_highest),
        ratio.p50,
        ratio.p99,
        cpu(ratio.proxy_cpu),
        cpu(ratio.processor_cpu),
    )
}

fn rate_text(rate: Option<f64>) -> String {
    rate.map_or("-".into(), |rate| rate.to_string())
}
