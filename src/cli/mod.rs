//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::producer::{BaseProducer, Producer};

use crate::dlq;
use crate::kafka::client::properties;
use crate::kafka::cluster::admin::{TopicAdmin, TopicError, describe};
use crate::process::exit;
use crate::settings::{self, Loaded, Mode, Settings};

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
    Check(What),
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
    Check(Loaded),
    CreateTopics(Loaded),
    Dlq(Loaded, dlq::Command),
}

/// Reads arguments, environment and files; on a fault everything wrong is on standard error, and the exit code is returned.
///
/// # Errors
/// The exit code: 0 after `--help` and `--version`, else 64.
pub fn parse() -> Result<Command, ExitCode> {
    let cli = Cli::try_parse().map_err(|error| {
        // Err: standard error is closed; the exit code still tells.
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK })
    })?;
    match cli.command {
        None => load(&cli.what, None).map(Command::Run),
        Some(Sub::Check(what)) => load(&what, None).map(Command::Check),
        Some(Sub::Dlq { config, command }) => {
            load_for(Mode::Processor, &config).map(|loaded| Command::Dlq(loaded, command))
        }
        Some(Sub::Topics {
            command: TopicsCommand::Create(what),
        }) => load(&what, Some(Mode::Proxy)).map(Command::CreateTopics),
    }
}

fn load(what: &What, default_mode: Option<Mode>) -> Result<Loaded, ExitCode> {
    let Some(mode) = what.mode.or(default_mode) else {
        eprintln!("no mode: give --mode proxy|processor|all|demo, or set MODE (see --help)");
        return Err(ExitCode::from(exit::USAGE));
    };
    load_for(mode, &what.config)
}

fn load_for(mode: Mode, files: &[PathBuf]) -> Result<Loaded, ExitCode> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    settings::load(mode, files, &environment).map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(exit::USAGE)
    })
}

/// `topics create`: creates what is missing, says what is there; returns the exit code.
pub fn create_topics(settings: &Settings) -> u8 {
    let config = properties::reply_producer(&settings.kafka, settings.proxy.default_timeout);
    let client = match BaseProducer::from_config_and_context(&config, rdkafka::producer::DefaultProducerContext) {
        Ok(client) => client,
        Err(error) => {
            eprintln!("kafka client: {error}");
            return exit::USAGE;
        }
    };
    let admin = TopicAdmin::new(settings::CreateTopics {
        enabled: true,
        ..settings.create_topics.clone()
    });
    let mut code = exit::OK;
    for topic in topics_named_by(settings) {
        let done = describe(client.client(), &topic).and_then(|found| match found {
            Some(found) => Ok((found.partitions, "exists")),
            None => admin
                .ensure(client.client(), &topic, true)
                .map(|partitions| (partitions, "created")),
        });
        match done {
            Ok((partitions, what)) => println!("{topic}: {what}, {partitions} partitions"),
            Err(error @ TopicError::Unreachable { .. }) => {
                eprintln!("{error} (now {})", settings.kafka.bootstrap_servers);
                return exit::UNAVAILABLE;
            }
            Err(error) => {
                eprintln!("{error}");
                code = exit::SOFTWARE;
            }
        }
    }
    code
}

/// Each topic once: the processor's where it has any, and the proxy's where that has routes or the processor has none (its default
/// topics are always named).
fn topics_named_by(settings: &Settings) -> Vec<String> {
    let routed = !settings.proxy.routes.is_empty();
    let default_reply_topic = (!routed).then_some(settings.proxy.response_topic.as_str());
    let proxy = settings.proxy.request_topics().into_iter();
    let proxy = proxy.chain(settings.proxy.reply_topics()).chain(default_reply_topic);
    let own = &settings.processor;
    let processor = own
        .topics
        .iter()
        .flat_map(|topic| [&topic.request_topic, &topic.response_topic])
        .chain(&own.dead_letter_topic)
        .map(String::as_str);
    let named: Vec<&str> = match own.topics.is_empty() || routed || settings.mode == Mode::All {
        true => proxy.chain(processor).collect(),
        false => processor.collect(),
    };
    let mut topics: Vec<String> = named.into_iter().map(str::to_owned).collect();
    topics.sort();
    topics.dedup();
    topics
}
