//! The program. Its life: flags → settings → log → run → exit code.

use std::process::ExitCode;

use actix_khp::app::App;
use actix_khp::app::demo;
use actix_khp::cli::{self, Command, check, create_topics, health, top};
use actix_khp::dlq;
use actix_khp::process::exit;
use actix_khp::process::open_files;
use actix_khp::process::signals::Signals;
use actix_khp::process::telemetry;
use actix_khp::settings::{Loaded, Mode};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    ExitCode::from(match command {
        Command::Run(loaded) => start(loaded),
        Command::Check(loaded, connect) => check::run(&loaded, connect),
        Command::CreateTopics(loaded) => create_topics::run(&loaded.settings),
        Command::Health(loaded, question, asked) => health::run(&loaded.settings, question, asked),
        Command::Top(asked) => top::run(&asked, &cli::environment()),
        Command::Dlq(loaded, command) => dlq::run(&loaded.settings, &command),
    })
}

/// Everything a running service needs around it. The last lines of the log are written when this returns.
fn start(loaded: Loaded) -> u8 {
    let _last_lines = telemetry::init(&loaded.settings.log);
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    open_files::raise_limit();
    run(loaded)
}

fn run(loaded: Loaded) -> u8 {
    let system = actix::System::new();
    let code = system.block_on(async {
        // Before anything is started: from here on a SIGTERM drains.
        let mut signals = match Signals::install() {
            Ok(signals) => signals,
            Err(error) => return fail(&error),
        };
        let started = match loaded.settings.mode {
            Mode::Demo => demo::start(loaded).await,
            _ => App::start(loaded),
        };
        match started {
            Ok(app) => app.run(&mut signals).await,
            Err(error) => fail(&error),
        }
    });
    // Dropping the runtime would wait without a limit for what still blocks in its pool, and the shutdown has had its time.
    std::mem::forget(system);
    code
}

fn fail(error: &dyn std::error::Error) -> u8 {
    tracing::error!(%error, "cannot start");
    exit::SOFTWARE
}
