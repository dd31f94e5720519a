//! What is to be reached, and whether it was: each figure beside those of raw and hop in the same run.

use super::figures::{Bound, StreamRow};
use crate::figures::Row;
use crate::options::{Scenario, System};

/// What two processes may add to the delay of an event, in ms.
const ADDED: f64 = 0.5;
/// The part of 1/(1/raw + 1/hop) that a large body has to reach.
const PART: f64 = 0.6;
/// The resident memory that a large body may add to a process, whatever its size, in MiB.
const GROWTH: f64 = 24.0;
/// The delay of a token, in ms.
const TOKEN: f64 = 50.0;
/// How much slower small requests may be beside a download.
const SLOWER: f64 = 3.0;
/// The time until a backend sees that its client left, in ms.
const LEAVING: f64 = 1000.0;

/// Every bound whose figures were measured.
pub fn bounds(rows: &[StreamRow]) -> Vec<Bound> {
    let find = |scenario, case: &str, system| rows.iter().find(|row| row.is_of(scenario, case, system));
    let row = |scenario, case: &str, system| find(scenario, case, system).map(|found| &found.row);
    let mut bounds = Vec::new();
    let three = |scenario| {
        let [raw, hop, khp] = [System::Raw, System::Hop, System::Khp].map(|system| find(scenario, "", system));
        Some((raw?, hop?, khp?))
    };
    if let Some((raw, hop, khp)) = three(Scenario::FirstByte) {
        let [raw, hop, khp] = [raw, hop, khp].map(|row| row.row.p50 / 1e3);
        let what = format!("delay of an event, p50 in ms: raw {raw:.2} + hop {hop:.2} + {ADDED}");
        bounds.push(at_most(what, khp, raw + hop + ADDED));
    }
    for (scenario, name) in [(Scenario::Down, "down"), (Scenario::Up, "up")] {
        let speeds = three(scenario).map(|(raw, hop, khp)| [raw, hop, khp].map(StreamRow::mib_per_second));
        if let Some([Some(raw), Some(hop), Some(khp)]) = speeds {
            let what = format!("{name}, MiB/s: {PART} × 1/(1/{raw:.0} + 1/{hop:.0})");
            bounds.push(at_least(what, khp, PART / (1.0 / raw + 1.0 / hop)));
        }
        let roles =
            row(scenario, "", System::Khp).map(|row| ["proxy", "processor"].map(|role| (role, grown(row, role))));
        for (role, grown) in roles.into_iter().flatten() {
            bounds.push(at_most(
                format!("{name}, memory that a {role} grows by, in MiB"),
                grown,
                GROWTH,
            ));
        }
    }
    if let Some(tokens) = row(Scenario::Tokens, "", System::Khp) {
        bounds.push(at_most("delay of a token, p99 in ms".into(), tokens.p99 / 1e3, TOKEN));
        bounds.push(at_most(
            "streams that broke or were not in order".into(),
            tokens.errors as f64,
            0.0,
        ));
    }
    let p99 = |case| Some(row(Scenario::Beside, case, System::Khp)?.p99 / 1e3);
    if let (Some(alone), Some(beside)) = (p99("alone"), p99("beside")) {
        let what = format!("small requests beside a download, p99 in ms: {SLOWER} × {alone:.1}");
        bounds.push(at_most(what, beside, SLOWER * alone));
    }
    for (case, name) in [("early", "before the first byte"), ("later", "in mid-stream")] {
        if let Some(row) = row(Scenario::Leave, case, System::Khp) {
            bounds.push(at_most(format!("leaving {name}, p50 in ms"), row.p50 / 1e3, LEAVING));
        }
    }
    bounds
}

fn grown(row: &Row, role: &str) -> f64 {
    let of_role = row.used.iter().filter(|used| used.name.starts_with(role));
    of_role.map(|used| used.grown_mib).fold(0.0, f64::max)
}

fn at_most(what: String, found: f64, bound: f64) -> Bound {
    Bound {
        is_kept: found <= bound,
        what,
        found,
        bound,
    }
}

fn at_least(what: String, found: f64, bound: f64) -> Bound {
    Bound {
        is_kept: found >= bound,
        what,
        found,
        bound,
    }
}
