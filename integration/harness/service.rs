//! A running process of the service, which must be idle when its test ends.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::binary;
use super::client::{self, Connection, Request, Response};
use super::kafka::free_port;
use super::management::Management;
use super::metrics::Metrics;
use super::temp_dir::TempDir;
use super::wait::{PATIENCE, eventually};

/// The name of the configuration file. JSON is YAML.
const CONFIG: &str = "config.yaml";
/// How long a log stands still before it counts as written.
const LOG_STANDS_STILL: Duration = Duration::from_millis(50);
/// How often a log that does not stand still is read at most.
const LOG_READS: usize = 20;

/// A process of the service. It answers for its management API by itself: `service.metrics()`.
///
/// Dropped, it must still run and become idle, unless the test has sent it a signal: otherwise the test fails. Then it is killed. When the
/// test fails, its log is printed.
pub struct Service {
    mode: &'static str,
    child: Child,
    pub(super) pid: u32,
    port: u16,
    management: Management,
    /// The test has sent a signal that ends it.
    ending: AtomicBool,
    /// How long it may take to become idle when it is dropped.
    pub(super) idle_within: Duration,
    dir: TempDir,
}

impl Deref for Service {
    type Target = Management;

    fn deref(&self) -> &Management {
        &self.management
    }
}

impl Service {
    /// Starts the process that `make` makes, and waits until it answers `/health/live`. Its ports are free ones, unless `config` names its port.
    pub(super) async fn launch(
        mode: &'static str,
        config: &Value,
        env: &[(String, String)],
        make: &(dyn Fn() -> Command + Sync),
    ) -> Self {
        for _ in 0..3 {
            let mut service = Self::spawn(mode, config, env, make());
            let started = Instant::now();
            while service.ended().is_none() && started.elapsed() < PATIENCE {
                if service.health("/health/live").await == Some(200) {
                    return service;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Another process may have taken a port first: then the next try has others.
            let (ended, log) = (service.ended(), service.log());
            service.ending.store(true, Ordering::Relaxed);
            assert!(
                log.to_lowercase().contains("in use"),
                "{mode} does not come alive ({ended:?}):\n{log}"
            );
        }
        panic!("{mode}: no free ports in three tries");
    }

    fn spawn(mode: &'static str, config: &Value, env: &[(String, String)], mut command: Command) -> Self {
        let named = config["port"].as_u64().map(|port| port as u16);
        let (port, mut management_port) = (named.unwrap_or_else(free_port), free_port());
        let mut config = config.clone();
        config["port"] = json!(port);
        if mode == "proxy" && config["management_port"].is_null() {
            management_port = port;
        } else {
            config["management_port"] = json!(management_port);
        }
        let dir = TempDir::new();
        let file = dir.write(CONFIG, &format!("{config:#}"));
        let log = std::fs::File::create(log_file(dir.path())).expect("the log file is created");
        let child = command
            .args(["--mode", mode, "--config"])
            .arg(&file)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle to the log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        let token = config["management_token"].as_str().map(str::to_owned);
        Service {
            mode,
            pid: child.id().expect("a child just started has an id"),
            child,
            port,
            management: Management::new(mode, local(management_port), token),
            ending: AtomicBool::new(false),
            idle_within: PATIENCE,
            dir,
        }
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join(CONFIG)
    }

    /// What its configuration file says.
    pub fn config(&self) -> Value {
        let text = std::fs::read_to_string(self.config_file()).expect("the file is there");
        serde_json::from_str(&text).expect("the file is JSON")
    }

    /// Changes its configuration file.
    pub fn configure(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.config();
        change(&mut config);
        self.dir.write(CONFIG, &format!("{config:#}"));
    }

    /// Has it read its configuration again, and waits until that has ended so: `applied` or `refused`.
    pub async fn reload(&self, result: &str) {
        let reloads = |metrics: Metrics| metrics.sum("config_reloads_total", &[("result", result)]);
        let before = reloads(self.metrics().await);
        binary::signal("HUP", self.pid);
        eventually(&format!("a reload is {result}"), async || {
            match reloads(self.metrics().await) {
                now if now > before => Ok(()),
                now => Err(format!("{now}")),
            }
        })
        .await;
    }

    /// How the process ended, if it has.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// `host:port` where a proxy takes requests.
    pub fn address(&self) -> String {
        local(self.port)
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

    /// Waits until the topics of a request are open: the request is sent, and its client leaves. A proxy that has just started may still
    /// open its request topic. Until then it answers 503 to a request whose deadline is too near.
    pub async fn wait_until_sent(&self, request: &Request) {
        let client = self.leave_waiting(request).await;
        self.wait_for_metric("proxy_router_entries", &[], 1.0).await;
        drop(client);
        self.wait_until_idle().await;
    }

    /// Bytes of memory that the process has in use.
    pub fn resident_memory(&self) -> usize {
        self.status_kilobytes("VmRSS:") * 1024
    }

    /// The most memory that the process has had in use, in bytes.
    pub fn peak_memory(&self) -> usize {
        self.status_kilobytes("VmHWM:") * 1024
    }

    fn status_kilobytes(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kilobytes.expect("a number of kB")
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

    /// How many files and sockets the process has open.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it runs");
        open.count()
    }

    /// CPU time that the process has used so far. The kernel counts it in steps of 10 ms.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("it runs");
        // The name, which stands in parentheses, may have blanks; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// What the process has logged so far. A thread of its own writes the lines, so a line may follow the answer that it is about: the log
    /// is read until it has stood still for a moment.
    pub fn log(&self) -> String {
        let read = || std::fs::read_to_string(log_file(self.dir.path())).unwrap_or_default();
        let mut log = read();
        for _ in 0..LOG_READS {
            std::thread::sleep(LOG_STANDS_STILL);
            let before = std::mem::replace(&mut log, read());
            if before.len() == log.len() {
                break;
            }
        }
        log
    }

    /// How often the log has this text.
    pub fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Sends a signal that ends the process: TERM, INT, KILL. It need not be idle any more when it is dropped.
    pub fn signal(&self, name: &str) {
        self.ending.store(true, Ordering::Relaxed);
        binary::signal(name, self.pid);
    }

    /// Waits for the end of the process and returns its exit code; `None` when a signal ended it.
    pub async fn wait_exit(&mut self) -> Option<i32> {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(ended) => ended.expect("a child can be waited for").code(),
            Err(_) => panic!("{} still runs after {PATIENCE:?}", self.mode),
        }
    }

    /// Ends the process with SIGTERM and asserts that it drains in time: exit code 0.
    pub async fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.wait_exit().await, Some(0), "{}", self.mode);
    }

    /// Asserts that the process still runs.
    pub fn assert_running(&mut self) {
        let ended = self.ended();
        assert!(ended.is_none(), "{} ended: {ended:?}", self.mode);
    }

    /// Waits, on a thread of its own, until nothing is in flight. The test's thread cannot: it is about to drop this.
    fn assert_idle(&self) -> std::thread::Result<()> {
        let wait = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(self.management.become_idle(self.idle_within));
        };
        std::thread::scope(|scope| scope.spawn(wait).join())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let ended = if failed { None } else { self.ended() };
        let idle = if failed || ended.is_some() || self.ending.load(Ordering::Relaxed) {
            Ok(())
        } else {
            self.assert_idle()
        };
        let unasked = ended.filter(|_| !self.ending.load(Ordering::Relaxed));
        if failed || idle.is_err() || unasked.is_some() {
            eprintln!("---- log of the {} (pid {}) ----\n{}", self.mode, self.pid, self.log());
        }
        if let Err(panic) = idle {
            std::panic::resume_unwind(panic);
        }
        if let Some(status) = unasked {
            panic!("the {} ended by itself: {status}", self.mode);
        }
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn log_file(dir: &Path) -> std::path::PathBuf {
    dir.join("log")
}
