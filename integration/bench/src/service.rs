//! actix-khp as users run it: its own processes, default settings, configured by environment.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use actix_khp::settings::{self, Mode, Settings};

use crate::build;
use crate::error::Result;
use crate::kafka::free_port;
use crate::options::{Options, System};
use crate::process::{Process, rss_mib};

/// A process that creates its topics and joins a new group is ready well within this.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// The memory of a process that has just become ready, or has just taken a thousand requests, is stable well within this.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Longer than any large body of a run takes, in seconds.
const STREAM_TIMEOUT: u64 = 600;

/// The environment of both roles. A setting that is not in it has its default.
pub type Env = BTreeMap<String, String>;

/// The environment of one system of this run, with topics of its own.
pub fn env(brokers: &str, backend: SocketAddr, system: System, options: &Options) -> Env {
    // What streams need beside the defaults: bodies without a limit, whatever time they take, and a place for each stream.
    let is_streams = !options.streams.is_empty();
    let timeout = if is_streams {
        format!(",{STREAM_TIMEOUT}")
    } else {
        String::new()
    };
    let streams = [
        ("KHP__MAX_BODY_SIZE", "0".to_owned()),
        ("DEFAULT_TIMEOUT", STREAM_TIMEOUT.to_string()),
        ("KHP__MAX_STREAMS", (options.stream_count + 100).max(1000).to_string()),
        ("MAX_CONCURRENT_REQUESTS", (options.stream_count + 100).to_string()),
    ];
    let [requests, replies] = ["requests", "responses"].map(|use_| topic(&format!("{}-{use_}", system.name())));
    let set = [
        ("KAFKA_BOOTSTRAP_SERVERS", brokers.to_owned()),
        (
            "KAFKA_TOPICS",
            format!("bench-{}:{requests},{replies},http://{backend}{timeout}", system.name()),
        ),
        ("KHP__REQUEST_TOPIC", requests),
        ("KHP__RESPONSE_TOPIC", replies.clone()),
        ("WARMUP_TOPICS", replies),
        ("KHP__BIND", "127.0.0.1".into()),
        ("KHP__MANAGEMENT_BIND", "127.0.0.1".into()),
        ("KHP__REPLY_PARTITION", options.reply_partition.clone()),
        ("KHP__WIRE_FORMAT", options.wire_format.clone()),
    ];
    let streams = streams.into_iter().filter(|_| is_streams);
    let receiver = ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{backend}"));
    let variant = match system {
        System::KhpTraced => vec![receiver],
        System::KhpTraced1 => vec![
            receiver,
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".into()),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01".into()),
        ],
        System::KhpLogged => vec![("KHP__LOG__ACCESS", "all".into())],
        _ => Vec::new(),
    };
    let properties = options
        .property
        .iter()
        .map(|(name, value)| (property_variable(name), value.clone()));
    let other_env = options.other_env.iter().filter(|_| system == System::KhpOther).cloned();
    set.into_iter()
        .chain(streams)
        .chain(
            options
                .stream_window
                .map(|bytes| ("KHP__STREAM_WINDOW", bytes.to_string())),
        )
        .chain(variant)
        .map(|(name, value)| (name.to_owned(), value))
        .chain(properties)
        .chain(other_env)
        .collect()
}

/// The variable that sets a librdkafka property. No property has a `_` in its name.
fn property_variable(name: &str) -> String {
    format!("KHP__KAFKA__PROPERTIES__{}", name.to_uppercase().replace('.', "_"))
}

/// A topic that no other run uses.
pub fn topic(name: &str) -> String {
    format!("bench-{}-{name}", std::process::id())
}

/// The settings that the service reads from such an environment. `raw` uses the same.
pub fn settings(env: &Env) -> Result<Settings> {
    Ok(settings::load(Mode::All, &[], env)?.settings)
}

/// The binary to measure: the one named, or a fresh build.
pub fn binary(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = named {
        return Ok(binary.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("actix-khp");
    let built = build::command()?
        .args(["--package", "actix-khp", "--bin", "actix-khp"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !built.success() {
        return Err("actix-khp does not build; --binary names another".into());
    }
    beside
        .exists()
        .then_some(beside)
        .ok_or_else(|| "actix-khp is not beside this program: name it with --binary".into())
}

/// One process of the service.
pub struct Service {
    pub process: Process,
    pub address: SocketAddr,
    /// From its start until `/health/ready` is 200.
    pub ready_after: Duration,
    /// Resident memory a moment after that, before the first request.
    pub idle_mib: f64,
}

impl Service {
    /// Starts a proxy and waits until it is ready. `number` is its instance's number, which decides its reply partition.
    pub fn proxy(binary: &Path, env: &Env, config: Option<&Path>, number: usize) -> Result<Self> {
        let mut command = command(binary, "proxy", env, config);
        let (address, management) = (free_address(), free_address());
        command
            .env("INSTANCE_ID", format!("proxy-{number}"))
            .env("PROXY_PORT", address.port().to_string());
        // A port with TLS is asked for its health elsewhere, in plain HTTP.
        if config.is_some() {
            command.env("MANAGEMENT_PORT", management.port().to_string());
        }
        let health = if config.is_some() { management } else { address };
        Self::start(format!("proxy {number}"), &mut command, address, health)
    }

    /// Starts a processor and waits until it has joined its group.
    pub fn processor(binary: &Path, env: &Env, config: Option<&Path>, number: usize) -> Result<Self> {
        let mut command = command(binary, "processor", env, config);
        let address = free_address();
        command.env("MANAGEMENT_PORT", address.port().to_string());
        Self::start(format!("processor {number}"), &mut command, address, address)
    }

    fn start(name: String, command: &mut Command, address: SocketAddr, health: SocketAddr) -> Result<Self> {
        let began = Instant::now();
        let process = Process::start(name.as_str(), command)?;
        while !is_ready(health) {
            if began.elapsed() > READY_LIMIT {
                return Err(format!("{name} is not ready after {READY_LIMIT:?}").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let ready_after = began.elapsed();
        thread::sleep(SETTLE);
        let idle_mib = rss_mib(process.watched().pid)?;
        println!(
            "{name}: ready after {:.2} s, {idle_mib:.1} MiB idle",
            ready_after.as_secs_f64()
        );
        Ok(Service {
            process,
            address,
            ready_after,
            idle_mib,
        })
    }
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn command(binary: &Path, mode: &str, env: &Env, config: Option<&Path>) -> Command {
    let mut command = Command::new(binary);
    command
        .args(["--mode", mode])
        .env_clear()
        .envs(env)
        .env("KHP__LOG__LEVEL", "warn");
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b" 200"))
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    /// What the service, and raw beside it, read from the environment of a system.
    fn properties(system: System, arguments: &[&str]) -> Vec<(String, String)> {
        let cli = Cli::parse_from([&["bench"][..], arguments].concat());
        let backend = SocketAddr::from(([127, 0, 0, 1], 1));
        let env = env("127.0.0.1:9092", backend, system, &cli.options.settled());
        settings(&env).unwrap().kafka.properties.into_iter().collect()
    }

    #[test]
    fn a_property_reaches_every_form_and_the_other_environment_only_the_other() {
        let arguments = [
            "--property=linger.ms=3",
            "--property=fetch.wait.max.ms=4",
            "--other-env=KHP__KAFKA__PROPERTIES__LINGER_MS=1",
        ];
        let pairs = |linger: &str| {
            [("fetch.wait.max.ms", "4"), ("linger.ms", linger)].map(|(n, v)| (n.to_owned(), v.to_owned()))
        };
        assert_eq!(properties(System::Khp, &arguments), pairs("3"));
        assert_eq!(properties(System::KhpOther, &arguments), pairs("1"));
        assert!(properties(System::Khp, &[]).is_empty());
    }
}
