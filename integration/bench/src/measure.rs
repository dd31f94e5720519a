//! The run: every system with every number of connections, in turn, as often as `repeats` says.

use crate::error::Result;
use crate::figures::{Memory, Run};
use crate::machine::machine;
use crate::options::Options;
use crate::point::measure;
use crate::process::raise_file_limit;
use crate::stage::{Base, Load};
use crate::{medians, memory, ratios, report, warm_up};

/// Measures every system as `options` say.
pub fn run(options: &Options) -> Result<Run> {
    raise_file_limit();
    let mut base = Base::start(options)?;
    for &system in options.systems.iter().filter(|system| system.is_peer()) {
        base.start_peer(system)?;
    }
    let mut points = Vec::new();
    let mut memory = Memory::default();
    for &proxies in &options.proxies {
        let khps = base.start_khps(options, proxies)?;
        let first = proxies == options.proxies[0];
        if first {
            memory = memory::measure(&base, &khps[0], options)?;
        }
        warm_up::run(&mut base, &khps, options, first)?;
        for round in 1..=options.repeats {
            for load in loads(options) {
                for &system in &options.systems {
                    // A system without proxies is measured once, whatever the number of proxies.
                    if !first && !system.is_khp() {
                        continue;
                    }
                    let mut point = measure(&base, &khps, system, &load, options)?;
                    point.round = round;
                    println!("{round}/{}: {}", options.repeats, report::line(&point));
                    points.push(point);
                }
            }
        }
    }
    let machine = machine();
    Ok(Run {
        rows: medians::rows(&points, machine.cores),
        ratios: ratios::ratios(&points),
        machine,
        options: options.clone(),
        replication_factor: 1,
        memory,
        points,
    })
}

/// The loads of one round. All systems have the same before any has the next.
fn loads(options: &Options) -> impl Iterator<Item = Load> {
    let connections = options.connections.iter().copied();
    connections.flat_map(move |connections| {
        options.rates().into_iter().map(move |rate| Load {
            connections,
            body: options.body,
            rate,
            warm_up: options.warm_up,
            seconds: options.seconds,
        })
    })
}
