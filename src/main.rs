//! The program. Its life: flags → settings → log → run → exit code.

use std::process::ExitCode;

use actix_khp::app::App;
use actix_khp::cli::{self, Command};
use actix_khp::settings::{Mode, Settings};
use actix_khp::shutdown::{exit, stop_signal};
use actix_khp::{demo, telemetry};

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    ExitCode::from(match command {
        Command::Run(loaded) => {
            telemetry::init(&loaded.settings.log);
            loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            run(loaded.settings)
        }
        Command::Check(loaded) => {
            print!("{}", loaded.to_yaml());
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("warning: {warning}"));
            exit::OK
        }
        Command::CreateTopics(loaded) => cli::create_topics(&loaded.settings),
    })
}

fn run(settings: Settings) -> u8 {
    actix::System::new().block_on(async {
        let started = match settings.mode {
            Mode::Demo => demo::start(settings).await,
            _ => App::start(settings),
        };
        match started {
            Ok(app) => app.run(stop_signal(), stop_signal()).await,
            Err(error) => {
                tracing::error!(%error, "cannot start");
                exit::SOFTWARE
            }
        }
    })
}
