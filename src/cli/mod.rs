//! The command line: flags, environment and files into a command with checked settings.
//!
//! - [`check`]: the command `check`.
//! - [`connect`]: `check --connect`, what is wrong around the service.
//! - [`health`]: the command `health`.
//! - [`container`]: which process `health` asks where it is told nothing.
//! - [`open_files`]: how many open files a configuration needs.
//! - [`memory`]: how much memory its clients may take.
//! - [`create_topics`]: the command `topics create`.
//! - [`top`]: the command `top`.

pub mod check;
pub mod connect;
mod container;
pub mod create_topics;
pub mod health;
mod memory;
mod open_files;
pub mod top;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::connect::Form;
use crate::cli::health::{Asked, Question};
use crate::cli::top::Top;
use crate::dlq;
use crate::process::{exit, output};
use crate::settings::{self, Env, Loaded, Mode, SettingsError};

/// Carries HTTP requests through Apache Kafka and brings the answer back to the client that waits.
#[derive(Debug, Parser)]
#[command(name = "actix-khp", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    what: What,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Debug, Args)]
struct What {
    /// Which roles to play
    #[arg(long, env = "MODE", value_enum)]
    mode: Option<Mode>,
    /// A configuration file (YAML, TOML or JSON by extension); later ones win; instead of CONFIG_PATH
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Validate the settings and print the effective ones, secrets masked
    Check {
        #[command(flatten)]
        what: What,
        /// Ask Kafka and the backends, and print what is wrong instead; 69 where something stops traffic
        #[arg(long)]
        connect: bool,
        /// Print what is wrong as JSON
        #[arg(long, requires = "connect")]
        json: bool,
    },
    /// Ask the process that runs with these settings whether it is ready: 0, or 69 and the reasons. In a container, without --mode and
    /// --config: process 1, with its own
    Health {
        #[command(flatten)]
        what: What,
        /// Ask only whether it turns
        #[arg(long)]
        live: bool,
    },
    /// Watch a running process: what it does, and what is wrong with it
    Top(Top),
    /// Manage topics
    Topics {
        #[command(subcommand)]
        command: TopicsCommand,
    },
    /// Look at dead letters, and send them round again
    Dlq {
        /// A configuration file of a processor; later ones win; instead of CONFIG_PATH
        #[arg(long, value_name = "FILE", global = true)]
        config: Vec<PathBuf>,
        #[command(subcommand)]
        command: dlq::Command,
    },
}

#[derive(Debug, Subcommand)]
enum TopicsCommand {
    /// Create the topics that the configuration names
    Create(What),
}

/// What the user asks for, settings loaded and checked.
pub enum Command {
    Run(Loaded),
    Check(Loaded, Option<Form>),
    CreateTopics(Loaded),
    Health(Loaded, Question, Asked),
    Dlq(Loaded, dlq::Command),
    Top(Top),
}

/// Reads arguments, environment and files; on a fault everything wrong is on standard error, and the exit code is returned.
///
/// # Errors
/// The exit code: 0 after `--help` and `--version`, else 64.
pub fn parse() -> Result<Command, ExitCode> {
    let (cli, names_settings) = read().map_err(|error| {
        let printed = error.print().and_then(|()| io::stdout().flush());
        ExitCode::from(match error.use_stderr() {
            true => exit::USAGE,
            false => output::exit_code(printed),
        })
    })?;
    match cli.command {
        None => load(&cli.what, None).map(Command::Run),
        Some(Sub::Check { what, connect, json }) => {
            let form = if json { Form::Json } else { Form::Table };
            let loaded = try_load(&what, None).map_err(|error| {
                if let (Form::Json, Unloaded::Faulty(faulty)) = (form, &error) {
                    connect::print_faults(faulty);
                }
                error.complain()
            });
            loaded.map(|loaded| Command::Check(loaded, connect.then_some(form)))
        }
        Some(Sub::Health { what, live }) => {
            let question = if live { Question::Live } else { Question::Ready };
            let service = (!names_settings).then(of_the_container).flatten();
            let (what, asked) = match service {
                Some(service) => (service, Asked::Container),
                None => (what, Asked::Process),
            };
            load(&what, None).map(|loaded| Command::Health(loaded, question, asked))
        }
        Some(Sub::Top(top)) => Ok(Command::Top(top)),
        Some(Sub::Dlq { config, command }) => {
            let loaded = load_for(Mode::Processor, &config).map_err(|error| error.complain());
            loaded.map(|loaded| Command::Dlq(loaded, command))
        }
        Some(Sub::Topics {
            command: TopicsCommand::Create(what),
        }) => load(&what, Some(Mode::Proxy)).map(Command::CreateTopics),
    }
}

/// The command line, and whether a command that it has names settings there: the environment does not count.
fn read() -> Result<(Cli, bool), clap::Error> {
    let matches = Cli::command().try_get_matches()?;
    let names = |own: &ArgMatches| {
        let is_given =
            |id| matches!(own.try_contains_id(id), Ok(true)) && own.value_source(id) == Some(ValueSource::CommandLine);
        ["mode", "config"].into_iter().any(is_given)
    };
    let names_settings = matches.subcommand().is_some_and(|(_, own)| names(own));
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()))?;
    Ok((cli, names_settings))
}

/// What the service runs with, where it is process 1.
fn of_the_container() -> Option<What> {
    let service = Cli::try_parse_from(container::service()?).ok()?;
    service.command.is_none().then_some(service.what)
}

/// The command line itself, for man pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Checks a command line as documents show it, its first word the program's name.
///
/// # Errors
/// It does not parse.
#[cfg(test)]
pub(crate) fn parses(words: &[String]) -> Result<(), clap::Error> {
    Cli::try_parse_from(words).map(drop)
}

/// Why there are no settings.
enum Unloaded {
    NoMode,
    Faulty(SettingsError),
}

impl Unloaded {
    /// Says it on standard error. Returns the exit code.
    fn complain(&self) -> ExitCode {
        match self {
            Unloaded::NoMode => {
                output::complain("no mode: give --mode proxy|processor|all|demo, or set MODE (see --help)")
            }
            Unloaded::Faulty(error) => output::complain(error),
        }
        ExitCode::from(exit::USAGE)
    }
}

fn load(what: &What, default_mode: Option<Mode>) -> Result<Loaded, ExitCode> {
    try_load(what, default_mode).map_err(|error| error.complain())
}

fn try_load(what: &What, default_mode: Option<Mode>) -> Result<Loaded, Unloaded> {
    let mode = what.mode.or(default_mode).ok_or(Unloaded::NoMode)?;
    load_for(mode, &what.config)
}

fn load_for(mode: Mode, files: &[PathBuf]) -> Result<Loaded, Unloaded> {
    settings::load(mode, files, &environment()).map_err(Unloaded::Faulty)
}

/// The variables of this process.
pub fn environment() -> Env {
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
