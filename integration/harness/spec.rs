//! How a process of the service is configured and started.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::binary::{command, command_of, limited};
use super::kafka::brokers;
use super::names::Topics;
use super::service::Service;
use super::wait::{PATIENCE, within};

/// The mode, the configuration file and the environment of a process.
#[derive(Debug, Clone)]
pub struct Spec {
    mode: &'static str,
    pub(super) config: Value,
    env: Vec<(String, String)>,
    open_files: Option<u32>,
    binary: Option<PathBuf>,
}

/// A proxy whose default topics are these.
pub fn proxy(topics: &Topics) -> Spec {
    let mut spec = Spec::new("proxy");
    spec.config["request_topic"] = json!(topics.request);
    spec.config["response_topic"] = json!(topics.response);
    spec.config["warmup_topics"] = json!([topics.response]);
    spec
}

/// A processor that carries each of these topics to the URL beside it.
pub fn processor(topics: &[(&Topics, &str)]) -> Spec {
    let mut spec = Spec::new("processor");
    spec.config["topics"] = topics_config(topics);
    spec
}

/// Both roles in one process.
pub fn all(topics: &Topics, backend_url: &str) -> Spec {
    let mut spec = proxy(topics);
    spec.mode = "all";
    spec.config["topics"] = topics_config(&[(topics, backend_url)]);
    spec
}

fn topics_config(topics: &[(&Topics, &str)]) -> Value {
    let entries = topics.iter().map(|(topics, backend_url)| {
        json!({
            "request_topic": topics.request,
            "response_topic": topics.response,
            "backend_url": backend_url,
            "consumer_group": topics.group,
        })
    });
    entries.collect()
}

impl Spec {
    /// A process that has only its broker configured, and that creates topics and stops quickly.
    pub fn new(mode: &'static str) -> Self {
        let config = json!({
            // Demo mode brings its own broker; no Kafka is started for it.
            "kafka": { "bootstrap_servers": if mode == "demo" { "demo.invalid:9092" } else { brokers() } },
            "bind": "127.0.0.1",
            "management_bind": "127.0.0.1",
            // Long enough for a busy machine. A test of deadlines sets its own.
            "default_timeout": 50,
            "pre_stop": 0,
            "create_topics": { "partitions": 4 },
            "health_check_interval": 0,
        });
        Spec {
            mode,
            config,
            env: Vec::new(),
            open_files: None,
            binary: None,
        }
    }

    /// Sets a key; dots lead into maps (`create_topics.partitions`).
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut entry = &mut self.config;
        for key in path.split('.') {
            entry = &mut entry[key];
        }
        *entry = value.into();
        self
    }

    /// Connects the process to these brokers instead of the shared ones.
    pub fn on(self, brokers: impl Into<String>) -> Self {
        self.set("kafka.bootstrap_servers", brokers.into())
    }

    /// Sets a key of every entry in `topics`.
    pub fn set_topics(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        for entry in self.config["topics"].as_array_mut().into_iter().flatten() {
            entry[key] = value.clone();
        }
        self
    }

    /// Gives requests to this path a deadline of their own; all others go to the same topics and wait `default_timeout`.
    pub fn timeout_of(self, path: &str, timeout: impl Into<Value>) -> Self {
        let route = |path: &str| {
            json!({
                "path": path,
                "request_topic": self.config["request_topic"],
                "response_topic": self.config["response_topic"],
            })
        };
        let (mut own, rest) = (route(path), route("/{tail}*"));
        own["timeout"] = timeout.into();
        self.set("routes", json!([own, rest]))
    }

    /// Sets a key of one entry in `topics`.
    pub fn set_topic(mut self, index: usize, key: &str, value: impl Into<Value>) -> Self {
        self.config["topics"][index][key] = value.into();
        self
    }

    /// Takes a key out of the configuration file, so that the environment or the default stands.
    pub fn unset(mut self, key: &str) -> Self {
        self.config.as_object_mut().expect("a map").remove(key);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts the process with this limit of open files, which it cannot raise.
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Another binary than the one that is tested.
    pub fn binary(mut self, binary: &Path) -> Self {
        self.binary = Some(binary.to_owned());
        self
    }

    /// The configuration file.
    pub fn config(&self) -> String {
        format!("{:#}", self.config)
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(self) -> Service {
        let service = self.launch().await;
        let (_, took) = within(PATIENCE, "ready", async || {
            service.expect_health("/health/ready", 200).await
        })
        .await;
        println!("{} ready after {took:?}", self.mode);
        service
    }

    /// Starts the process and waits until it answers `/health/live`, ready or not.
    pub async fn launch(&self) -> Service {
        let make = || match (&self.binary, self.open_files) {
            (Some(binary), _) => command_of(binary),
            (None, Some(limit)) => limited(limit),
            (None, None) => command(),
        };
        Service::launch(self.mode, &self.config, &self.env, &make).await
    }
}
