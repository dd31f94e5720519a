//! The run: every system at every number of connections, one after the other, and all of it again.

use std::thread;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::memory::{self, Memory};
use crate::options::{Options, System};
use crate::outcome::{BEGIN, END, Outcome};
use crate::process::{Process, Used, Watched, raise_file_limit};
use crate::report::{self, Row};
use crate::stage::{Base, Khp};

/// One load.
#[derive(Debug, Clone)]
pub struct Load {
    pub connections: usize,
    pub body: usize,
    pub rate: Option<f64>,
    pub warm_up: f64,
    pub seconds: f64,
}

/// One measured interval.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    pub system: System,
    pub proxies: usize,
    pub connections: usize,
    pub outcome: Outcome,
    pub used: Vec<Used>,
}

/// Everything a run found; what `bench.json` holds.
#[derive(Debug, Serialize)]
pub struct Run {
    pub machine: Machine,
    pub options: Options,
    /// Of every topic: one broker has no more.
    pub replication_factor: u32,
    pub memory: Memory,
    /// Medians of the repeats.
    pub rows: Vec<Row>,
    pub points: Vec<Point>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
}

impl Machine {
    fn here() -> Self {
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
}

pub fn run(options: &Options) -> Result<Run> {
    raise_file_limit();
    let mut base = Base::start(options)?;
    let mut points = Vec::new();
    let mut memory = Memory::default();
    for &proxies in &options.proxies {
        let khp = base.start_khp(options, proxies)?;
        let first = proxies == options.proxies[0];
        if first {
            memory = memory::measure(&base, &khp, options)?;
        }
        warm_up(&mut base, &khp, options, first)?;
        for repeat in 1..=options.repeats {
            for &connections in &options.connections {
                for &system in &options.systems {
                    // Those without proxies need no second look.
                    if !first && system != System::Khp {
                        continue;
                    }
                    let point = measure(&base, &khp, system, connections, options)?;
                    println!("{repeat}/{}: {}", options.repeats, report::line(&point));
                    points.push(point);
                }
            }
        }
    }
    let machine = Machine::here();
    Ok(Run {
        rows: report::rows(&points, machine.cores, options.rate.is_some()),
        machine,
        options: options.clone(),
        replication_factor: 1,
        memory,
        points,
    })
}

/// The service first: `raw` imitates its records.
fn warm_up(base: &mut Base, khp: &Khp, options: &Options, first: bool) -> Result<()> {
    let warm_up = Options {
        warm_up: 0.0,
        seconds: options.first_warm_up,
        rate: None,
        ..options.clone()
    };
    let connections = 64 * khp.proxies.len();
    measure(base, khp, System::Khp, connections, &warm_up)?;
    if first && options.systems.contains(&System::Raw) {
        base.start_raw()?;
        measure(base, khp, System::Raw, connections, &warm_up)?;
    }
    if first && options.systems.contains(&System::Hop) {
        measure(base, khp, System::Hop, connections, &warm_up)?;
    }
    Ok(())
}

fn measure(base: &Base, khp: &Khp, system: System, connections: usize, options: &Options) -> Result<Point> {
    let times = if options.per_proxy { khp.proxies.len() } else { 1 };
    let load = Load {
        connections: connections * times,
        body: options.body,
        rate: options.rate.map(|rate| rate * times as f64),
        warm_up: options.warm_up,
        seconds: options.seconds,
    };
    let driver = base
        .driver(system, khp, &load)
        .ok_or_else(|| format!("{} is not running", system.name()))?;
    let mut process = Process::role(system.driver_name(), &driver.arguments)?;
    let mut watched = vec![process.watched()];
    watched.extend(driver.watched);
    expect(&mut process, BEGIN)?;
    let before = watched.iter().map(Watched::usage).collect::<Result<Vec<_>>>()?;
    expect(&mut process, END)?;
    // Before the load's own process ends.
    let after = watched.iter().map(Watched::usage).collect::<Result<Vec<_>>>()?;
    let outcome: Outcome = serde_json::from_str(&process.line()?)?;
    let used = watched
        .iter()
        .zip(before.iter().zip(&after))
        .map(|(watched, (before, after))| watched.used(before, after, outcome.requests));
    Ok(Point {
        system,
        proxies: khp.proxies.len(),
        connections,
        used: used.collect(),
        outcome,
    })
}

fn expect(process: &mut Process, expected: &str) -> Result<()> {
    let line = process.line()?;
    (line == expected)
        .then_some(())
        .ok_or_else(|| format!("a load said {line:?} instead of {expected:?}").into())
}
