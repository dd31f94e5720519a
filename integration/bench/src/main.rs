//! Measures actix-khp against the limit that its parts set: raw Kafka (a ping-pong of librdkafka) and a plain HTTP hop. Both run on the
//! same machine, with the same broker and the same backend, in the same run.
//!
//!     cargo run --release -p bench            # the full run, about ten minutes
//!     cargo run --release -p bench -- --streams  # streams and large bodies instead
//!     cargo run --release -p bench -- --help  # the options
//!
//! The program starts itself again for every part that is a process of its own: see `role`.

/// Programs that a run builds.
mod build;
/// What can fail in a run.
mod error;
/// What a run finds, as `bench.json` holds it.
mod figures;
/// A real Kafka, the one that the tests use.
mod kafka;
/// The machine on which it runs.
mod machine;
/// The run: every system with every number of connections.
mod measure;
/// From points to rows: medians and the limit.
mod medians;
/// Memory and start-up time of the service.
mod memory;
/// The command line.
mod options;
/// The requests of one measured interval.
mod outcome;
/// Other programs for the same purpose.
mod peers;
/// The figures as a picture.
mod plot;
/// One measured interval.
mod point;
/// Child processes, and how much of the machine they use.
mod process;
/// The lines that a role prints for the process that started it.
mod protocol;
/// actix-khp beside each other system.
mod ratios;
/// The figures as text.
mod report;
/// The parts that run as processes of their own.
mod role;
/// The processes of actix-khp.
mod service;
/// Hundreds of processes in simulated time.
mod simulation;
/// Everything that runs beside the load.
mod stage;
/// The run of streams and large bodies.
mod streams;
/// Topics of systems that do not create theirs.
mod topics;
/// What actix-khp is given beside its defaults.
mod variants;
/// Load before the first point.
mod warm_up;

use std::process::ExitCode;

use clap::Parser;

use crate::error::Result;
use crate::options::Options;
use crate::role::Role;

#[derive(Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.role {
        Some(role) => role.run(),
        None => run(cli.options.settled()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> Result<()> {
    if !options.streams.is_empty() {
        return streams::run(&options);
    }
    options.systems = peers::built(&options.systems);
    let run = measure::run(&options)?;
    print!("{}", report::text(&run));
    std::fs::create_dir_all(&options.out)?;
    let (json, svg) = (options.out.join("bench.json"), options.out.join("bench.svg"));
    std::fs::write(&json, serde_json::to_string_pretty(&run)?)?;
    std::fs::write(&svg, plot::svg(&run))?;
    println!("\n{} and {} written", json.display(), svg.display());
    Ok(())
}
