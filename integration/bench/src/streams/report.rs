//! The figures of streams as a page of Markdown.

use std::fmt::Write;

use super::figures::{BESIDE, IDLE_RATE, StreamPoint, StreamRow, StreamRun, TOKEN_RATE};
use crate::medians;
use crate::options::Scenario;

/// One point as a line, for whoever watches the run.
pub fn line(point: &StreamPoint) -> String {
    let row = medians::row(&[&point.point]).map(|row| StreamRow {
        scenario: point.scenario,
        case: point.case.clone(),
        size: point.size,
        row,
    });
    row.map(|row| row_text(&row)).unwrap_or_default()
}

/// The whole page.
pub fn page(run: &StreamRun) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut page, run);
    page
}

fn write_page(out: &mut String, run: &StreamRun) -> std::fmt::Result {
    let (options, machine) = (&run.options, &run.machine);
    writeln!(
        out,
        "{}, {} cores, Linux {}; one broker, replication factor {}; medians of {}, of {} s where time is the measure.",
        machine.cpu, machine.cores, machine.kernel, run.replication_factor, options.repeats, options.seconds,
    )?;
    writeln!(
        out,
        "\nfirst-byte: {IDLE_RATE} events a second on one stream. down, up: {} MiB. tokens: {} streams with {TOKEN_RATE} events a \
         second each. beside: {} connections with {} requests a second in all, alone and beside a download at full speed. leave: \
         before the first byte (early) and in mid-stream.\n",
        options.large >> 20,
        options.stream_count,
        BESIDE.0,
        BESIDE.1,
    )?;
    writeln!(out, "{HEAD}")?;
    for row in &run.rows {
        writeln!(out, "{}", row_text(row))?;
    }
    writeln!(out, "\n| What | Found | Bound | Kept |\n|---|---|---|---|")?;
    for bound in &run.bounds {
        let kept = if bound.is_kept { "yes" } else { "**no**" };
        writeln!(
            out,
            "| {} | {:.2} | {:.2} | {kept} |",
            bound.what, bound.found, bound.bound
        )?;
    }
    Ok(())
}

const HEAD: &str = "| Scenario | Case | System | p50 ms | p99 ms | MiB/s | Errors | CPU µs per event, request or MiB | Grown MiB |\n\
                    |---|---|---|---|---|---|---|---|---|";

fn row_text(row: &StreamRow) -> String {
    let units = match row.scenario {
        Scenario::Down | Scenario::Up => (row.size as f64 / f64::from(1 << 20)).max(1.0),
        _ => 1.0,
    };
    let cpu = row
        .row
        .used
        .iter()
        .map(|used| format!("{} {:.0}", used.name, used.cpu_us_per_request / units));
    let grown = row
        .row
        .used
        .iter()
        .map(|used| format!("{} {:.1}", used.name, used.grown_mib));
    format!(
        "| {} | {} | {} | {:.2} | {:.2} | {} | {} | {} | {} |",
        row.scenario.name(),
        row.case,
        row.row.system.name(),
        row.row.p50 / 1e3,
        row.row.p99 / 1e3,
        row.mib_per_second()
            .map_or(String::new(), |speed| format!("{speed:.0}")),
        row.row.errors,
        cpu.collect::<Vec<_>>().join(", "),
        grown.collect::<Vec<_>>().join(", "),
    )
}
