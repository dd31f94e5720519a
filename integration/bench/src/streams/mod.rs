//! The run of streams: every scenario with every system, one after the other, as often as `repeats` says.

/// What is to be reached, and whether it was.
mod bounds;
/// What a run of streams finds, as `streams.json` holds it.
mod figures;
/// The figures as a page.
mod report;

use self::figures::{BESIDE, IDLE_RATE, StreamPoint, StreamRow, StreamRun, TOKEN_RATE};
use crate::error::Result;
use crate::figures::Point;
use crate::machine::machine;
use crate::medians;
use crate::options::{Options, Scenario, System};
use crate::point::drive;
use crate::process::{Process, Watched, raise_file_limit};
use crate::service;
use crate::stage::{Base, Driver, Khp, Load};

/// Bytes of an event: those of a token of an OpenAI-compatible server.
const EVENT: usize = 250;
/// Bytes of a body before the first measured one. It starts clients and fills caches.
const WARM_UP: u64 = 64 << 20;
/// How often a client leaves.
const LEAVES: u64 = 50;

/// Measures, prints and writes what `options` say.
pub fn run(options: &Options) -> Result<()> {
    let run = measure(options)?;
    let page = report::page(&run);
    print!("\n{page}");
    std::fs::create_dir_all(&options.out)?;
    let (json, markdown) = (options.out.join("streams.json"), options.out.join("streams.md"));
    std::fs::write(&json, serde_json::to_string_pretty(&run)?)?;
    std::fs::write(&markdown, page)?;
    println!("\n{} and {} written", json.display(), markdown.display());
    Ok(())
}

fn measure(options: &Options) -> Result<StreamRun> {
    raise_file_limit();
    let base = Base::start(options)?;
    let khps = base.start_khps(options, 1)?;
    let stage = Stage {
        base: &base,
        khps: &khps,
        options,
        raw_topic: service::topic("raw-pieces-requests"),
    };
    let mut points = Vec::new();
    for &scenario in &options.streams {
        stage.warm_up(scenario)?;
        for repeat in 1..=options.repeats {
            for case in scenario.cases() {
                for &system in options.systems.iter().filter(|system| scenario.takes(**system, case)) {
                    let mut point = stage.point(scenario, case, system, options.large)?;
                    point.point.round = repeat;
                    println!("{repeat}/{}: {}", options.repeats, report::line(&point));
                    points.push(point);
                }
            }
        }
    }
    let rows = rows(&points);
    Ok(StreamRun {
        machine: machine(),
        bounds: bounds::bounds(&rows),
        options: options.clone(),
        replication_factor: 1,
        rows,
        points,
    })
}

/// What runs, and what is asked of it.
struct Stage<'a> {
    base: &'a Base,
    khps: &'a [Khp],
    options: &'a Options,
    raw_topic: String,
}

impl Stage<'_> {
    fn warm_up(&self, scenario: Scenario) -> Result<()> {
        if matches!(scenario, Scenario::Down | Scenario::Up) {
            for &system in &self.options.systems {
                self.point(scenario, "", system, self.options.large.min(WARM_UP))?;
            }
        }
        Ok(())
    }

    fn point(&self, scenario: Scenario, case: &str, system: System, size: u64) -> Result<StreamPoint> {
        let driver = self.driver(scenario, case, system, size)?;
        // Killed when this returns.
        let _download = match case {
            "beside" => Some(self.download(system)?),
            _ => None,
        };
        let (outcome, used) = drive("load", &driver)?;
        Ok(StreamPoint {
            scenario,
            case: case.to_owned(),
            size,
            point: Point {
                round: 0,
                system,
                proxies: 1,
                connections: self.streams(scenario),
                rate: None,
                outcome,
                used,
            },
        })
    }

    fn streams(&self, scenario: Scenario) -> usize {
        match scenario {
            Scenario::Tokens => self.options.stream_count,
            Scenario::Beside => BESIDE.0,
            _ => 1,
        }
    }

    fn driver(&self, scenario: Scenario, case: &str, system: System, size: u64) -> Result<Driver> {
        let (options, streams) = (self.options, self.streams(scenario));
        if scenario == Scenario::Beside {
            let load = Load {
                connections: streams,
                body: options.body,
                rate: Some(BESIDE.1),
                warm_up: options.warm_up,
                seconds: options.seconds,
            };
            return self
                .base
                .driver(system, self.khps, &load)
                .ok_or_else(|| not_running(system));
        }
        let rate = match scenario {
            Scenario::FirstByte => IDLE_RATE,
            _ => TOKEN_RATE,
        };
        let paced = format!(
            "--rate {rate} --size {EVENT} --warm-up {} --seconds {}",
            options.warm_up, options.seconds
        );
        let work = match (scenario, system) {
            (Scenario::Down, System::Raw) => format!("large --size {size}"),
            (Scenario::Up, System::Raw) => format!("large --size {size} --up"),
            (_, System::Raw) => format!("events {paced}"),
            (Scenario::Down, _) => format!("down --size {size}"),
            (Scenario::Up, _) => format!("up --size {size}"),
            (Scenario::Leave, _) if case == "early" => format!("leave --times {} --early", self.leaves()),
            (Scenario::Leave, _) => format!("leave --times {}", self.leaves()),
            (_, _) => format!("events --streams {streams} {paced}"),
        };
        let (mut arguments, watched) = match system {
            System::Raw => {
                let env = serde_json::to_string(&self.base.env)?;
                let arguments = ["raw-pieces", "--env", &env, "--topic", &self.raw_topic].map(str::to_owned);
                (arguments.to_vec(), self.base.broker().into_iter().collect())
            }
            _ => self.http(system)?,
        };
        arguments.extend(work.split(' ').map(str::to_owned));
        Ok(Driver { arguments, watched })
    }

    /// A client of streams, and the processes that work for it.
    fn http(&self, system: System) -> Result<(Vec<String>, Vec<Watched>)> {
        let targets = self
            .base
            .targets(system, self.khps)
            .ok_or_else(|| not_running(system))?;
        let target = targets
            .addresses
            .first()
            .ok_or_else(|| not_running(system))?
            .to_string();
        let backend = self.base.backend().to_string();
        let arguments = ["stream-load", "--target", &target, "--backend", &backend].map(str::to_owned);
        Ok((arguments.to_vec(), targets.watched))
    }

    /// A client that downloads at full speed until this is dropped.
    fn download(&self, system: System) -> Result<Process> {
        let (mut arguments, _) = self.http(system)?;
        arguments.extend(["down-again-and-again", "--size", &self.options.large.to_string()].map(str::to_owned));
        Process::role("download", &arguments)
    }

    fn leaves(&self) -> u64 {
        match self.options.smoke {
            true => 3,
            false => LEAVES,
        }
    }
}

fn not_running(system: System) -> Box<dyn std::error::Error> {
    format!("{} is not running", system.name()).into()
}

/// The medians of the repeats, in the order in which they were first measured.
fn rows(points: &[StreamPoint]) -> Vec<StreamRow> {
    let mut rows: Vec<StreamRow> = Vec::new();
    for first in points {
        let is_known = |row: &StreamRow| row.is_of(first.scenario, &first.case, first.point.system);
        if rows.iter().any(is_known) {
            continue;
        }
        let of_row = points.iter().filter(|point| {
            (point.scenario, &point.case, point.point.system) == (first.scenario, &first.case, first.point.system)
        });
        let of_row: Vec<&Point> = of_row.map(|point| &point.point).collect();
        rows.extend(medians::row(&of_row).map(|row| StreamRow {
            scenario: first.scenario,
            case: first.case.clone(),
            size: first.size,
            row,
        }));
    }
    rows
}
