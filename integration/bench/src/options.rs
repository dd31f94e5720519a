//! The command line: what a run measures, and how.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// A system that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// librdkafka ping-pong: produce, echo, consume.
    Raw,
    /// A minimal actix-web → awc forwarder, without Kafka.
    Hop,
    /// actix-khp.
    Khp,
    /// The same with TLS between it and its clients.
    KhpTls,
    /// The same where each request brings a token.
    KhpJwt,
    /// The same with sealed records.
    KhpSealed,
    /// The same with every request traced. The backend takes the spans.
    KhpTraced,
    /// The same with one request in a hundred traced.
    #[value(name = "khp-traced-1")]
    #[serde(rename = "khp-traced-1")]
    KhpTraced1,
    /// The same with a line of the access log for each request.
    KhpLogged,
    /// The same of another version, or with other settings: the binary that `--other` names, and the environment of `--other-env`.
    KhpOther,
    /// mq-bridge with an HTTP endpoint of its own.
    MqBridge,
    /// mq-bridge behind a small HTTP front.
    MqBridgeFront,
    /// A gateway and a replier with Spring Kafka.
    Spring,
}

impl System {
    pub fn name(self) -> &'static str {
        match self {
            System::Raw => "raw",
            System::Hop => "hop",
            System::Khp => "khp",
            System::KhpTls => "khp-tls",
            System::KhpJwt => "khp-jwt",
            System::KhpSealed => "khp-sealed",
            System::KhpTraced => "khp-traced",
            System::KhpTraced1 => "khp-traced-1",
            System::KhpLogged => "khp-logged",
            System::KhpOther => "khp-other",
            System::MqBridge => "mq-bridge",
            System::MqBridgeFront => "mq-bridge-front",
            System::Spring => "spring",
        }
    }

    /// The name of the process that loads it.
    pub fn driver_name(self) -> &'static str {
        match self {
            System::Raw => "requester",
            _ => "load",
        }
    }

    /// It is actix-khp in some form.
    pub fn is_khp(self) -> bool {
        !matches!(self, System::Raw | System::Hop) && !self.is_peer()
    }

    /// It is another program for the same purpose.
    pub fn is_peer(self) -> bool {
        matches!(self, System::MqBridge | System::MqBridgeFront | System::Spring)
    }
}

/// What is measured of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The delay of an event, on an idle system.
    FirstByte,
    /// A large body of an answer.
    Down,
    /// A large body of a request.
    Up,
    /// Many streams at once.
    Tokens,
    /// Small requests, alone and beside a download at full speed.
    Beside,
    /// Clients that leave before the first byte and in mid-stream.
    Leave,
}

impl Scenario {
    pub fn name(self) -> &'static str {
        match self {
            Scenario::FirstByte => "first-byte",
            Scenario::Down => "down",
            Scenario::Up => "up",
            Scenario::Tokens => "tokens",
            Scenario::Beside => "beside",
            Scenario::Leave => "leave",
        }
    }

    /// The cases of a scenario; all but one have one.
    pub fn cases(self) -> &'static [&'static str] {
        match self {
            Scenario::Beside => &["alone", "beside"],
            Scenario::Leave => &["early", "later"],
            _ => &[""],
        }
    }

    /// Without Kafka, or without HTTP, not all of them have a meaning.
    pub fn takes(self, system: System, case: &str) -> bool {
        match system {
            System::Raw => matches!(self, Scenario::FirstByte | Scenario::Down | Scenario::Up),
            // A forwarder that waits for the first byte does not look at its client.
            System::Hop => case != "early",
            _ => true,
        }
    }
}

#[derive(Debug, Clone, Args, Serialize)]
pub struct Options {
    /// Connections of the load generator, each with one request in flight; `raw` has as many records in flight
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256,1024")]
    pub connections: Vec<usize>,
    /// Bytes of a request's body; the backend answers with the same (512KiB is 524288)
    #[arg(long, default_value_t = 1000)]
    pub body: usize,
    /// How long the backend takes for each answer, in ms
    #[arg(long, default_value_t = 0)]
    pub backend_latency: u64,
    /// Number of proxies; each of several numbers is measured
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub proxies: Vec<usize>,
    #[arg(long, default_value_t = 1)]
    pub processors: usize,
    /// `connections` and `rate` are those of each proxy, not of all of them
    #[arg(long)]
    pub per_proxy: bool,
    /// Requests per second, paced evenly over the connections: an open loop, whose latencies count from when a request was to be sent.
    /// Each of several rates is measured; raw, which has no pace, is left out. Without it each connection sends as soon as it is answered
    #[arg(long, value_delimiter = ',')]
    pub rate: Vec<f64>,
    /// The proxies' setting of that name: auto, all or a number
    #[arg(long, default_value = "auto")]
    pub reply_partition: String,
    /// The proxies' setting of that name: native or json
    #[arg(long, default_value = "native")]
    pub wire_format: String,
    /// The service's setting of that name, in bytes; its default without it
    #[arg(long)]
    pub stream_window: Option<usize>,
    /// A librdkafka property of the service, and of raw beside it, as NAME=VALUE; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub property: Vec<(String, String)>,
    #[arg(long, value_delimiter = ',', default_value = "raw,hop,khp")]
    pub systems: Vec<System>,
    /// Builds these peers and measures them, too; without a value, all of them. One that cannot be built is left out
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 0..=1,
        default_missing_value = "mq-bridge,mq-bridge-front,spring",
        conflicts_with = "streams"
    )]
    pub peers: Vec<System>,
    /// Measures these of streams, in the place of connections; without a value, all of them
    #[arg(
        long,
        value_delimiter = ',',
        num_args = 0..=1,
        default_missing_value = "first-byte,down,up,tokens,beside,leave"
    )]
    pub streams: Vec<Scenario>,
    /// Bytes of a large body
    #[arg(long, default_value_t = 1 << 30)]
    pub large: u64,
    /// How many streams there are at once
    #[arg(long, default_value_t = 1000)]
    pub stream_count: usize,
    /// Measured seconds of each point
    #[arg(long, default_value_t = 8.0)]
    pub seconds: f64,
    /// Seconds of load before each point's measurement
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// The least seconds of load on each system before the first point. It goes on until the broker's CPU time per request stands still: its
    /// JIT compiler needs that
    #[arg(long, default_value_t = 15.0)]
    pub first_warm_up: f64,
    /// The most seconds of it
    #[arg(long, default_value_t = 90.0)]
    pub first_warm_up_most: f64,
    /// How often each point is measured; the report shows medians
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// Connections that wait for a reply while memory is measured; 0: memory is not measured
    #[arg(long, default_value_t = 1000)]
    pub waiting: usize,
    /// Directory for bench.json and bench.svg, or streams.json and streams.md
    #[arg(long, default_value = "target/bench")]
    pub out: PathBuf,
    /// The service's binary; without it, it is built
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// The binary of the system khp-other: another version, which is measured in turn with this one. With --other-env, it may be the same
    #[arg(long)]
    pub other: Option<PathBuf>,
    /// A variable of the environment of khp-other alone; can be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub other_env: Vec<(String, String)>,
    /// A Kafka that runs already (its CPU is not shown then); without it, one is started
    #[arg(long)]
    pub brokers: Option<String>,
    /// A short run that shows whether everything works; its figures mean little
    #[arg(long)]
    pub smoke: bool,
}

impl Options {
    /// Puts the short run in the place of the full one where `smoke` is set.
    pub fn settled(mut self) -> Self {
        let peers = std::mem::take(&mut self.peers);
        self.add(peers);
        if self.streams.is_empty() && !self.rate.is_empty() {
            self.systems.retain(|system| *system != System::Raw);
        }
        if self.smoke {
            self.connections = vec![1, 16];
            (self.seconds, self.warm_up) = (1.0, 0.2);
            (self.first_warm_up, self.first_warm_up_most) = (0.5, 0.5);
            (self.repeats, self.waiting) = (1, 100);
            (self.large, self.stream_count) = (8 << 20, 20);
        }
        self
    }

    fn add(&mut self, peers: Vec<System>) {
        for peer in peers {
            if !self.systems.contains(&peer) {
                self.systems.push(peer);
            }
        }
    }

    /// What is sent each second, in turn; `None`: as much as is answered.
    pub fn rates(&self) -> Vec<Option<f64>> {
        match self.rate.is_empty() {
            true => vec![None],
            false => self.rate.iter().copied().map(Some).collect(),
        }
    }
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("NAME=VALUE is wanted")?;
    Ok((name.to_owned(), value.to_owned()))
}
