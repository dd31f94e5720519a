//! Other programs that carry HTTP requests through Kafka, to measure this one against. Each has a package of its own under `peers/`, outside
//! the workspace, and is built where it is to be measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build;
use crate::error::Result;
use crate::kafka::free_port;
use crate::options::System;
use crate::process::{Process, Watched};

/// What cargo takes from the environment, and what would make it build a peer in another way than this program.
const FOREIGN: [&str; 2] = ["CARGO_PROFILE_", "CARGO_TARGET_DIR"];

/// The processes of a peer.
pub struct Peer {
    pub system: System,
    pub address: SocketAddr,
    proxy: Process,
    processor: Process,
}

/// Builds those peers among the systems that can be built, and returns the systems without the others.
pub fn built(systems: &[System]) -> Vec<System> {
    let can_be_had = |system: System| match build(system) {
        Ok(()) => true,
        Err(error) => {
            println!("{} is left out: {error}", system.name());
            false
        }
    };
    let systems = systems.iter().copied();
    systems
        .filter(|system| !system.is_peer() || can_be_had(*system))
        .collect()
}

fn build(system: System) -> Result<()> {
    let mut command = match system {
        System::Spring => {
            let mut maven = Command::new("mvn");
            // Maven writes beside its pom.xml, which says where.
            let target = format!("-Dbench.target={}", spring_dir()?.display());
            maven.args(["-B", "-q", "-Dstyle.color=never", &target, "-f"]);
            maven.arg(package("spring").join("pom.xml")).arg("package");
            maven
        }
        _ => {
            let mut cargo = build::command()?;
            for (name, _) in std::env::vars_os() {
                if FOREIGN
                    .iter()
                    .any(|foreign| name.to_string_lossy().starts_with(foreign))
                {
                    cargo.env_remove(&name);
                }
            }
            cargo.args(["--locked", "--manifest-path"]);
            cargo.arg(package("mq-bridge").join("Cargo.toml"));
            cargo.arg("--target-dir").arg(build::peers_dir()?);
            cargo
        }
    };
    let built = command
        .status()
        .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    built.success().then_some(()).ok_or_else(|| "it does not build".into())
}

fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

fn spring_dir() -> Result<PathBuf> {
    Ok(build::peers_dir()?.join("spring"))
}

impl Peer {
    /// Starts its processor and its proxy, and waits until a request comes through. `topics` are those of requests and of replies.
    pub fn start(system: System, brokers: &str, topics: &[String; 2], backend: SocketAddr) -> Result<Self> {
        let start = |name: &str, role: &str| {
            let [requests, replies] = topics;
            let mut command = command(system)?;
            command
                .arg(role)
                .env("BROKERS", brokers)
                .env("REQUESTS", requests)
                .env("REPLIES", replies)
                .env("BACKEND", backend.to_string())
                .env("PORT", free_port().to_string());
            let mut process = Process::start(name, &mut command)?;
            let port = process.ready()?;
            println!("{} {name}: ready", system.name());
            Ok::<_, Box<dyn std::error::Error>>((process, port))
        };
        let (processor, _) = start("processor 0", "processor")?;
        let (proxy, port) = start(
            "proxy 0",
            if system == System::MqBridge {
                "endpoint"
            } else {
                "front"
            },
        )?;
        Ok(Peer {
            system,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            proxy,
            processor,
        })
    }

    pub fn watched(&self) -> [Watched; 2] {
        [self.proxy.watched(), self.processor.watched()]
    }
}

fn command(system: System) -> Result<Command> {
    if system == System::Spring {
        let mut java = Command::new("java");
        java.arg("-jar").arg(spring_dir()?.join("spring-peer.jar"));
        return Ok(java);
    }
    let dir = build::peers_dir()?.join(build::profile()?);
    Ok(Command::new(dir.join("mq-bridge-peer")))
}
