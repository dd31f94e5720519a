//! One measured interval.

use crate::error::Result;
use crate::figures::Point;
use crate::options::{Options, System};
use crate::outcome::Outcome;
use crate::process::{Process, Used, Watched};
use crate::protocol::{BEGIN, END};
use crate::stage::{Base, Driver, Khp, Load};

/// Puts a load on a system. With `per_proxy` it is that of each proxy.
pub fn measure(base: &Base, khps: &[Khp], system: System, load: &Load, options: &Options) -> Result<Point> {
    let proxies = khps[0].proxies.len();
    let times = if options.per_proxy { proxies } else { 1 };
    let in_all = Load {
        connections: load.connections * times,
        rate: load.rate.map(|rate| rate * times as f64),
        ..load.clone()
    };
    let driver = base
        .driver(system, khps, &in_all)
        .ok_or_else(|| format!("{} is not running", system.name()))?;
    let (outcome, used) = drive(system.driver_name(), &driver)?;
    Ok(Point {
        round: 0,
        system,
        proxies,
        connections: load.connections,
        rate: load.rate,
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
