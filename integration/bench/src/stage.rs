//! Everything that runs beside the load: Kafka, the backend, and the systems that are measured.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::error::Result;
use crate::kafka::Node;
use crate::options::{Options, System};
use crate::peers::Peer;
use crate::process::{Process, Watched};
use crate::role::Topics;
use crate::service::{self, Env, Service};
use crate::topics;
use crate::variants::Variants;

/// The JVM options of a broker that is to be fast. Those of the tests make it start quickly.
const BROKER_JVM: &[&str] = &["-Xms1g", "-Xmx1g"];

/// One load on one system.
#[derive(Debug, Clone)]
pub struct Load {
    pub connections: usize,
    /// Bytes of a request's body.
    pub body: usize,
    /// Requests per second over all connections; `None`: each connection sends as soon as it is answered.
    pub rate: Option<f64>,
    /// Seconds of load before the measured interval.
    pub warm_up: f64,
    /// Seconds of the measured interval.
    pub seconds: f64,
}

/// The processes that live for the whole run.
pub struct Base {
    pub binary: PathBuf,
    /// `None`: the run uses a Kafka that ran before.
    node: Option<Node>,
    brokers: String,
    /// Of actix-khp as it is.
    pub env: Env,
    variants: Variants,
    backend: Server,
    hop: Option<Server>,
    raw: Option<Raw>,
    peers: Vec<Peer>,
}

/// A role that listens on a port.
struct Server {
    process: Process,
    address: SocketAddr,
}

/// The half of the ping-pong that lives for the whole run. The other half is started for each point.
struct Raw {
    echoer: Process,
    topics: Topics,
}

/// The processes of actix-khp in one of its forms.
pub struct Khp {
    pub system: System,
    pub proxies: Vec<Service>,
    pub processors: Vec<Service>,
}

/// The process that makes one load, and the processes that work for it.
pub struct Driver {
    pub arguments: Vec<String>,
    pub watched: Vec<Watched>,
}

/// Where a system takes requests, and the processes that work for them.
pub struct Targets {
    pub addresses: Vec<SocketAddr>,
    pub watched: Vec<Watched>,
}

impl Base {
    pub fn start(options: &Options) -> Result<Self> {
        let binary = service::binary(options.binary.as_deref())?;
        let (node, brokers) = match &options.brokers {
            Some(brokers) => (None, brokers.clone()),
            None => {
                let node = Node::try_start(BROKER_JVM)?;
                let brokers = node.brokers();
                (Some(node), brokers)
            }
        };
        let latency = options.backend_latency.to_string();
        let backend = server("backend", &["backend", "--latency", &latency])?;
        let hop = match options.systems.contains(&System::Hop) {
            true => Some(server("hop", &["hop", "--backend", &backend.address.to_string()])?),
            false => None,
        };
        Ok(Base {
            binary,
            node,
            env: service::env(&brokers, backend.address, System::Khp, options),
            brokers,
            variants: Variants::create()?,
            backend,
            hop,
            raw: None,
            peers: Vec::new(),
        })
    }

    /// Starts another program, with topics like those of actix-khp.
    pub fn start_peer(&mut self, system: System) -> Result<()> {
        let settings = service::settings(&self.env)?;
        let topics = ["requests", "responses"].map(|use_| service::topic(&format!("{}-{use_}", system.name())));
        topics::create(&settings, &topics)?;
        self.peers
            .push(Peer::start(system, &self.brokers, &topics, self.backend.address)?);
        Ok(())
    }

    /// Starts the ping-pong. It copies records that the service has written.
    pub fn start_raw(&mut self) -> Result<()> {
        let settings = service::settings(&self.env)?;
        let topics = |like: &str| -> Result<Topics> {
            Ok(Topics {
                env: serde_json::to_string(&self.env)?,
                requests: service::topic("raw-requests"),
                replies: service::topic("raw-responses"),
                like: like.into(),
            })
        };
        let mut arguments = vec!["raw-echoer".to_owned()];
        arguments.extend(topics(&settings.proxy.response_topic)?.arguments());
        let mut echoer = Process::role("echoer", &arguments)?;
        echoer.ready()?;
        self.raw = Some(Raw {
            echoer,
            topics: topics(&settings.proxy.request_topic)?,
        });
        Ok(())
    }

    /// Starts every form of actix-khp that is measured. The service as it is comes first, whatever is measured: `raw` copies records that it
    /// has written.
    pub fn start_khps(&self, options: &Options, proxies: usize) -> Result<Vec<Khp>> {
        let variants = options.systems.iter().copied().filter(|system| system.is_khp());
        let forms = [System::Khp]
            .into_iter()
            .chain(variants.filter(|system| *system != System::Khp));
        forms.map(|system| self.start_khp(system, options, proxies)).collect()
    }

    /// Starts a form of actix-khp.
    fn start_khp(&self, system: System, options: &Options, proxies: usize) -> Result<Khp> {
        let env = service::env(&self.brokers, self.backend.address, system, options);
        let config = self.variants.config_of(system);
        let binary = match system {
            System::KhpOther => match &options.other {
                Some(other) => other.as_path(),
                None if !options.other_env.is_empty() => self.binary.as_path(),
                None => return Err("--other names the binary of khp-other, or --other-env its environment".into()),
            },
            _ => self.binary.as_path(),
        };
        // Processors are first and create the topics, so that the proxies find them as they usually do.
        let processors =
            (0..options.processors).map(|number| Service::processor(binary, &env, config.as_deref(), number));
        let processors = processors.collect::<Result<_>>()?;
        let proxies = (0..proxies).map(|number| Service::proxy(binary, &env, config.as_deref(), number));
        Ok(Khp {
            system,
            proxies: proxies.collect::<Result<_>>()?,
            processors,
        })
    }

    /// The driver that loads `system`; `None` where that system does not run.
    pub fn driver(&self, system: System, khps: &[Khp], load: &Load) -> Option<Driver> {
        let http = |targets: Vec<SocketAddr>| {
            let mut arguments = vec!["load".to_owned(), "--targets".into()];
            arguments.push(targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
            arguments.extend(["--connections".into(), load.connections.to_string()]);
            arguments.extend(["--body".into(), load.body.to_string()]);
            arguments.extend(
                load.rate
                    .iter()
                    .flat_map(|rate| ["--rate".to_owned(), rate.to_string()]),
            );
            arguments
        };
        let (mut arguments, watched) = match system {
            System::Raw => {
                let raw = self.raw.as_ref()?;
                let mut arguments = vec!["raw-requester".to_owned()];
                arguments.extend(raw.topics.arguments());
                arguments.extend(["--in-flight".into(), load.connections.to_string()]);
                let watched: Vec<Watched> = [raw.echoer.watched()].into_iter().chain(self.broker()).collect();
                (arguments, watched)
            }
            _ => {
                let Targets { addresses, watched } = self.targets(system, khps)?;
                let mut arguments = http(addresses);
                arguments.extend(self.variants.load_arguments(system));
                (arguments, watched)
            }
        };
        arguments.extend(["--warm-up".into(), load.warm_up.to_string()]);
        arguments.extend(["--seconds".into(), load.seconds.to_string()]);
        Some(Driver { arguments, watched })
    }

    /// `None` where that system does not run, or takes no HTTP.
    pub fn targets(&self, system: System, khps: &[Khp]) -> Option<Targets> {
        let backend = self.backend.process.watched();
        match system {
            System::Raw => None,
            System::Hop => self.hop.as_ref().map(|hop| Targets {
                addresses: vec![hop.address],
                watched: vec![hop.process.watched(), backend],
            }),
            _ if system.is_peer() => self
                .peers
                .iter()
                .find(|peer| peer.system == system)
                .map(|peer| Targets {
                    addresses: vec![peer.address],
                    watched: peer
                        .watched()
                        .into_iter()
                        .chain(self.broker())
                        .chain([backend])
                        .collect(),
                }),
            _ => khps.iter().find(|khp| khp.system == system).map(|khp| {
                let services = khp.proxies.iter().chain(&khp.processors);
                let watched = services.map(|service| service.process.watched());
                Targets {
                    addresses: khp.proxies.iter().map(|proxy| proxy.address).collect(),
                    watched: watched.chain(self.broker()).chain([backend]).collect(),
                }
            }),
        }
    }

    pub fn backend(&self) -> SocketAddr {
        self.backend.address
    }

    /// `None`: the run uses a Kafka that ran before.
    pub fn broker(&self) -> Option<Watched> {
        self.node.as_ref().map(|node| Watched {
            name: "broker".into(),
            pid: node.pid(),
        })
    }
}

fn server(name: &str, arguments: &[&str]) -> Result<Server> {
    let mut process = Process::role(name, arguments)?;
    let port = process.ready()?;
    Ok(Server {
        process,
        address: SocketAddr::from(([127, 0, 0, 1], port)),
    })
}
