//! The real binary as a child process, with a real configuration file.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::client::{self, Connection, Request, Response};
use super::kafka::{brokers, free_port};
use super::metrics::Metrics;
use super::wait::{PATIENCE, eventually, within};
use super::{TempDir, Topics};

pub const BINARY: &str = env!("CARGO_BIN_EXE_actix-khp");

/// How a process is to be started.
#[derive(Debug, Clone)]
pub struct Spec {
    mode: &'static str,
    pub(super) config: Value,
    env: Vec<(String, String)>,
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
    /// A process with nothing but its broker configured, quick to create topics and to stop.
    pub fn new(mode: &'static str) -> Self {
        let config = json!({
            "kafka": { "bootstrap_servers": brokers_of(mode) },
            "bind": "127.0.0.1",
            "management_bind": "127.0.0.1",
            // Nobody's answer is to come too late on a busy machine; a test of deadlines sets its own.
            "default_timeout": 50,
            "pre_stop": 0,
            "create_topics": { "partitions": 4 },
            "health_check_interval": 0,
        });
        Spec {
            mode,
            config,
            env: Vec::new(),
        }
    }

    /// Sets a key; dots lead into maps (`create_topics.partitions`).
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.config;
        for key in path.split('.') {
            place = &mut place[key];
        }
        *place = value.into();
        self
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

    /// Starts the process and waits until it is ready.
    pub async fn start(self) -> App {
        let app = self.launch().await;
        let (_, took) = within(PATIENCE, "ready", async || {
            app.expect_health("/health/ready", 200).await
        })
        .await;
        println!("{} ready after {took:?}", app.mode);
        app
    }

    /// Starts the process and waits until it answers `/health/live`, ready or not.
    pub async fn launch(self) -> App {
        for _ in 0..3 {
            let mut app = App::spawn(&self);
            let started = Instant::now();
            while started.elapsed() < PATIENCE {
                if app.health("/health/live").await == Some(200) {
                    return app;
                }
                if let Ok(Some(status)) = app.child.try_wait() {
                    let log = app.log();
                    // Another process was quicker to the port: once more, with others.
                    if log.to_lowercase().contains("in use") {
                        break;
                    }
                    panic!("{} ended at once, {status}:\n{log}", self.mode);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            assert!(
                app.log().to_lowercase().contains("in use"),
                "{} does not come alive:\n{}",
                self.mode,
                app.log()
            );
        }
        panic!("{}: no free ports in three tries", self.mode);
    }
}

/// Demo mode brings its own broker; nothing is started for it.
fn brokers_of(mode: &str) -> &'static str {
    if mode == "demo" { "demo.invalid:9092" } else { brokers() }
}

/// A running process. Dropped, it is killed; when the test fails, its log is printed.
pub struct App {
    mode: &'static str,
    child: Child,
    pid: u32,
    port: u16,
    /// Where /health, /metrics and /status are: a processor's management port, a proxy's own.
    management_port: u16,
    /// Sent with every request to the management API.
    token: Option<String>,
    dir: TempDir,
}

impl App {
    fn spawn(spec: &Spec) -> Self {
        raise_file_limit();
        // A test that starts a process again behind the same nginx names its port.
        let named = spec.config["port"].as_u64().map(|port| port as u16);
        let (port, mut management_port) = (named.unwrap_or_else(free_port), free_port());
        let mut config = spec.config.clone();
        config["port"] = json!(port);
        if spec.mode == "proxy" && config["management_port"].is_null() {
            management_port = port;
        } else {
            config["management_port"] = json!(management_port);
        }
        let dir = TempDir::new();
        // JSON is YAML.
        let file = dir.path().join("config.yaml");
        std::fs::write(&file, format!("{config:#}")).expect("the configuration file is written");
        let log = std::fs::File::create(log_file(dir.path())).expect("the log file is created");
        let child = command()
            .args(["--mode", spec.mode, "--config"])
            .arg(&file)
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle to the log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{BINARY}: {error}"));
        let pid = child.id().expect("a child just started has an id");
        let token = config["management_token"].as_str().map(str::to_owned);
        App {
            mode: spec.mode,
            child,
            pid,
            port,
            management_port,
            token,
            dir,
        }
    }

    /// `host:port` where a proxy takes requests.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `host:port` of /health, /metrics and /status.
    pub fn management_address(&self) -> String {
        format!("127.0.0.1:{}", self.management_port)
    }

    /// Bytes of memory that the process has in use.
    pub fn resident_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kilobytes.expect("VmRSS in kB") * 1024
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How many threads the process has.
    pub fn threads(&self) -> usize {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs");
        tasks.count()
    }

    /// What the process has printed so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_file(self.dir.path())).unwrap_or_default()
    }

    /// Sends a request through the proxy.
    pub async fn request(&self, request: Request) -> Response {
        client::request(&self.address(), request).await
    }

    /// Sends a request through the proxy on a connection of its own, and leaves it waiting.
    pub async fn leave_waiting(&self, request: &Request) -> Connection {
        let mut connection = Connection::open(&self.address()).await.expect("the proxy listens");
        connection.send(request).await.expect("the proxy takes the request");
        connection
    }

    /// Waits until the topics of a request are open: it is sent, and its client leaves. A proxy that has just started may still open its
    /// request topic, and answers 503 to whose deadline is too near to wait for that.
    pub async fn wait_until_sent(&self, request: &Request) {
        let client = self.leave_waiting(request).await;
        self.wait_for_metric("proxy_router_entries", &[], 1.0).await;
        drop(client);
        self.wait_until_idle().await;
    }

    /// Asks the management API.
    pub async fn manage(&self, path: &str) -> Response {
        let mut request = Request::get(path);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        client::request(&self.management_address(), request).await
    }

    /// Has the management API do something.
    pub async fn order(&self, path: &str) -> Response {
        let mut request = Request::post(path, "{}").header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        client::request(&self.management_address(), request).await
    }

    /// What `/status` says of a topic.
    pub async fn topic_status(&self, topic: &str) -> Value {
        self.manage("/status").await.json()["topics"][topic].clone()
    }

    /// How often the log has this text.
    pub fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// The status of a health page; `None` when nobody listens.
    pub async fn health(&self, path: &str) -> Option<u16> {
        client::try_request(&self.management_address(), Request::get(path))
            .await
            .ok()
            .map(|answer| answer.status)
    }

    /// `health` as a probe for `within`.
    pub async fn expect_health(&self, path: &str, status: u16) -> Result<(), String> {
        match self.health(path).await {
            Some(seen) if seen == status => Ok(()),
            seen => Err(format!("{} {path}: {seen:?}", self.mode)),
        }
    }

    pub async fn metrics(&self) -> Metrics {
        let answer = self.manage("/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.text())
    }

    /// Waits until the samples of `name` that carry these labels add up to `value`.
    pub async fn wait_for_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{} {name}{labels:?} = {value}", self.mode);
        eventually(&what, async || self.metrics().await.expect_sum(name, labels, value)).await;
    }

    /// Waits until nothing is in flight.
    pub async fn wait_until_idle(&self) {
        if self.mode != "processor" {
            self.wait_for_metric("proxy_pending_requests", &[], 0.0).await;
        }
        if self.mode != "proxy" {
            self.wait_for_metric("processor_messages_in_flight", &[], 0.0).await;
        }
    }

    /// Waits until a proxy has this many requests in flight.
    pub async fn wait_for_pending(&self, count: usize) {
        self.wait_for_metric("proxy_pending_requests", &[], count as f64).await;
    }

    /// Sends a signal: TERM, INT, KILL, STOP, CONT.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.pid)])
            .status()
            .await;
        assert!(
            sent.as_ref().is_ok_and(|status| status.success()),
            "kill -{name} {}: {sent:?}",
            self.pid
        );
    }

    /// Waits for the end of the process: its exit code, `None` when a signal ended it.
    pub async fn wait_exit(&mut self) -> Option<i32> {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(ended) => ended.expect("a child can be waited for").code(),
            Err(_) => panic!("{} still runs after {PATIENCE:?}", self.mode),
        }
    }

    /// Asserts that the process still runs.
    pub fn assert_running(&mut self) {
        let ended = self.child.try_wait();
        assert!(matches!(ended, Ok(None)), "{} ended: {ended:?}", self.mode);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- log of the {} (pid {}) ----\n{}", self.mode, self.pid, self.log());
        }
    }
}

fn log_file(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// How many files this process and its children may open.
pub fn open_files() -> usize {
    raise_file_limit();
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the system tells");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.expect("a number")
}

/// Lets this process and its children open as many files as the system allows, and 65,536 where that may be set: a thousand
/// clients are more than the usual 1,024 carry.
fn raise_file_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The shell's parent is this process.
        let raise = "prlimit --pid $PPID --nofile=65536:65536 2>/dev/null \
            || prlimit --pid $PPID --nofile=$(ulimit -Hn):";
        let raised = std::process::Command::new("sh").args(["-c", raise]).status();
        assert!(
            raised.as_ref().is_ok_and(|status| status.success()),
            "{raise}: {raised:?}"
        );
    });
}

/// The binary with an environment of its own: nothing of the developer's reaches it but the paths and the log filter.
pub fn command() -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}
