//! Load before the first point, until CPU time per request stands still: the broker's JIT compiler goes on for a minute.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::figures::cpu;
use crate::options::{Options, System};
use crate::point::measure;
use crate::stage::{Base, Khp, Load};

/// Connections of each proxy meanwhile.
const CONNECTIONS: usize = 64;
/// Seconds of one interval. Over shorter ones, the broker's CPU time varies by more than `STEADY`.
const INTERVAL: f64 = 5.0;
/// By what part successive intervals may differ.
const STEADY: f64 = 0.05;
/// So many successive intervals are compared: two may be alike by chance.
const COMPARED: usize = 3;

/// Loads each system. The service is first, because `raw` copies records that it has written. `first`: systems without proxies, too.
pub fn run(base: &mut Base, khps: &[Khp], options: &Options, first: bool) -> Result<()> {
    for khp in khps {
        until_steady(base, khps, khp.system, options)?;
    }
    for &system in options.systems.iter().filter(|system| first && !system.is_khp()) {
        if system == System::Raw {
            base.start_raw()?;
        }
        until_steady(base, khps, system, options)?;
    }
    Ok(())
}

fn until_steady(base: &Base, khps: &[Khp], system: System, options: &Options) -> Result<()> {
    let load = Load {
        connections: CONNECTIONS * khps[0].proxies.len(),
        body: options.body,
        rate: None,
        warm_up: 0.0,
        seconds: options.first_warm_up.clamp(0.5, INTERVAL),
    };
    let [least, most] = [options.first_warm_up, options.first_warm_up_most].map(Duration::from_secs_f64);
    // What has a JIT compiler: a name, or all of them. (The names of processes begin with it.)
    let compiles = if system == System::Spring { "" } else { "broker" };
    let mut intervals = Vec::new();
    let began = Instant::now();
    loop {
        let point = measure(base, khps, system, &load, options)?;
        intervals.push(cpu(&point.used, compiles));
        let (is_steady, spent) = (is_steady(&intervals), began.elapsed());
        if spent >= least && (is_steady || spent >= most) {
            println!(
                "{}: {:.0} s of warm-up; the broker's CPU, µs per request: {:.0}{}",
                system.name(),
                spent.as_secs_f64(),
                cpu(&point.used, "broker"),
                if is_steady { "" } else { ", not yet steady" },
            );
            return Ok(());
        }
    }
}

/// The last intervals differ by no more than `STEADY`. They are alike where the broker is not watched, or has nothing to do, too.
fn is_steady(intervals: &[f64]) -> bool {
    let Some(compared) = intervals.last_chunk::<COMPARED>() else {
        // It is all zeros.
        return intervals.iter().all(|cpu| *cpu == 0.0);
    };
    let lowest = compared.iter().copied().fold(f64::MAX, f64::min);
    let highest = compared.iter().copied().fold(0.0, f64::max);
    highest <= lowest * (1.0 + STEADY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_warm_once_three_intervals_are_alike() {
        assert!(!is_steady(&[40.0]));
        assert!(!is_steady(&[40.0, 40.0]));
        assert!(!is_steady(&[60.0, 40.0, 41.0]));
        // Each differs little from the one before it, and the first much from the last.
        assert!(!is_steady(&[44.0, 42.0, 40.0]));
        assert!(is_steady(&[60.0, 40.0, 41.0, 40.0]));
        // Nobody watches the broker.
        assert!(is_steady(&[0.0]));
    }
}
