//! Measures actix-khp against the limit that its parts set: raw Kafka (a ping-pong of librdkafka) and a plain HTTP hop, on one
//! machine, one broker and one backend, in one run.
//!
//!     cargo run --release -p bench            # the full run, some nine minutes
//!     cargo run --release -p bench -- --help  # what can be varied
//!
//! The program runs itself once more for every part that is a process of its own: see `role`.

mod measure;
mod memory;
mod options;
mod outcome;
mod plot;
mod process;
mod report;
mod role;
mod service;
mod stage;

/// A real Kafka: the tests' own.
#[path = "../../harness/kafka.rs"]
mod kafka;

use std::process::ExitCode;

use clap::Parser;

use crate::options::Options;
use crate::role::Role;

/// What goes wrong in a bench is told to whoever runs it, and ends the run.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

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

fn run(options: Options) -> Result<()> {
    let run = measure::run(&options)?;
    print!("{}", report::text(&run));
    std::fs::create_dir_all(&options.out)?;
    let (json, svg) = (options.out.join("bench.json"), options.out.join("bench.svg"));
    std::fs::write(&json, serde_json::to_string_pretty(&run)?)?;
    std::fs::write(&svg, plot::svg(&run))?;
    println!("\n{} and {} written", json.display(), svg.display());
    Ok(())
}
