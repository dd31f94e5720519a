//! The run: every system with every number of connections, one after the other, as often as `repeats` says.

use std::thread;

use crate::error::Result;
use crate::figures::{Machine, Memory, Point, Run};
use crate::options::{Options, System};
use crate::outcome::Outcome;
use crate::process::{Process, Used, Watched, raise_file_limit};
use crate::protocol::{BEGIN, END};
use crate::stage::{Base, Driver, Khp, Load};
use crate::{medians, memory, report};

/// Measures every system as `options` say.
pub fn run(options: &Options) -> Result<Run> {
    raise_file_limit();
    let mut base = Base::start(options)?;
    let mut points = Vec::new();
    let mut memory = Memory::default();
    for &proxies in &options.proxies {
        // The service as it is comes first, whatever is measured: `raw` copies records that it has written.
        let variants = options.systems.iter().copied().filter(|system| system.is_khp());
        let forms = [System::Khp]
            .into_iter()
            .chain(variants.filter(|system| *system != System::Khp));
        let khps: Vec<Khp> = forms
            .map(|system| base.start_khp(system, options, proxies))
            .collect::<Result<_>>()?;
        let first = proxies == options.proxies[0];
        if first {
            memory = memory::measure(&base, &khps[0], options)?;
        }
        warm_up(&mut base, &khps, options, first)?;
        for repeat in 1..=options.repeats {
            for &connections in &options.connections {
                for &system in &options.systems {
                    // A system without proxies is measured once, whatever the number of proxies.
                    if !first && !system.is_khp() {
                        continue;
                    }
                    let point = measure(&base, &khps, system, connections, options)?;
                    println!("{repeat}/{}: {}", options.repeats, report::line(&point));
                    points.push(point);
                }
            }
        }
    }
    let machine = machine();
    Ok(Run {
        rows: medians::rows(&points, machine.cores, options.rate.is_some()),
        machine,
        options: options.clone(),
        replication_factor: 1,
        memory,
        points,
    })
}

/// Loads each system once before the first point. The service is first, because `raw` copies records that it has written.
fn warm_up(base: &mut Base, khps: &[Khp], options: &Options, first: bool) -> Result<()> {
    let warm_up = Options {
        warm_up: 0.0,
        seconds: options.first_warm_up,
        rate: None,
        ..options.clone()
    };
    let connections = 64 * khps[0].proxies.len();
    for khp in khps {
        measure(base, khps, khp.system, connections, &warm_up)?;
    }
    if first && options.systems.contains(&System::Raw) {
        base.start_raw()?;
        measure(base, khps, System::Raw, connections, &warm_up)?;
    }
    if first && options.systems.contains(&System::Hop) {
        measure(base, khps, System::Hop, connections, &warm_up)?;
    }
    Ok(())
}

fn measure(base: &Base, khps: &[Khp], system: System, connections: usize, options: &Options) -> Result<Point> {
    let proxies = khps[0].proxies.len();
    let times = if options.per_proxy { proxies } else { 1 };
    let load = Load {
        connections: connections * times,
        body: options.body,
        rate: options.rate.map(|rate| rate * times as f64),
        warm_up: options.warm_up,
        seconds: options.seconds,
    };
    let driver = base
        .driver(system, khps, &load)
        .ok_or_else(|| format!("{} is not running", system.name()))?;
    let (outcome, used) = drive(system.driver_name(), &driver)?;
    Ok(Point {
        system,
        proxies,
        connections,
        used,
        outcome,
    })
}

/// Runs a load to its end, and returns what it found and what it and the processes that work for it used.
pub fn drive(name: &str, driver: &Driver) -> Result<(Outcome, Vec<Used>)> {
    let mut process = Process::role(name, &driver.arguments)?;
    let watched: Vec<Watched> = [process.watched()].into_iter().chain(driver.watched.clone()).collect();
    expect(&mut process, BEGIN)?;
    let before = watched.iter().map(Watched::begin).collect::<Result<Vec<_>>>()?;
    expect(&mut process, END)?;
    // The load's process still runs, so its use can be read.
    let after = watched.iter().map(Watched::usage).collect::<Result<Vec<_>>>()?;
    let outcome: Outcome = serde_json::from_str(&process.line()?)?;
    let used = watched
        .iter()
        .zip(before.iter().zip(&after))
        .map(|(watched, (before, after))| watched.used(before, after, outcome.requests));
    let used = used.collect();
    Ok((outcome, used))
}

fn expect(process: &mut Process, expected: &str) -> Result<()> {
    let line = process.line()?;
    (line == expected)
        .then_some(())
        .ok_or_else(|| format!("a load printed {line:?} instead of {expected:?}").into())
}

/// The machine on which this runs.
pub fn machine() -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    Machine {
        cpu: model.unwrap_or("unknown CPU").to_owned(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
    }
}
