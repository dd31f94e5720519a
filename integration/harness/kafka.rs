//! A real Kafka for tests. All tests of a process share the Kafka that `KHP_TEST_BROKERS` names, or else one node that this process
//! starts. A test that kills or freezes its broker starts a node of its own.
//!
//! Unit tests of the library, and the bench, include this file by its path, so it uses the standard library only. A Kafka that does not
//! come up fails the tests; it never skips them.
#![allow(dead_code, reason = "whoever includes this file uses part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(90);
/// Below Linux's range for outgoing connections, so that a free port stays free until its server binds it.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// The bootstrap servers of the Kafka that all tests of this process share.
pub fn brokers() -> &'static str {
    // An error is kept too. When Kafka does not come up, every test fails at once instead of after a wait of its own.
    static BROKERS: OnceLock<Result<String, String>> = OnceLock::new();
    let brokers = BROKERS.get_or_init(|| match std::env::var("KHP_TEST_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => {
            let first = brokers.split(',').next().unwrap_or_default();
            wait_until_it_answers(first, 1, || None).map(|()| brokers.clone())
        }
        _ => {
            // Never dropped. The node ends with this process, because its script then finds its standard input closed.
            static NODE: OnceLock<Result<Node, String>> = OnceLock::new();
            NODE.get_or_init(|| Node::try_start(&[]))
                .as_ref()
                .map(Node::brokers)
                .map_err(Clone::clone)
        }
    });
    brokers.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A loopback port on which nobody listens. This process never gets the same port twice.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new((std::process::id().wrapping_mul(97) % u32::from(PORTS)) as u16));
    loop {
        let port = FIRST_PORT + next.fetch_add(1, Ordering::Relaxed) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// One Kafka node. Dropped, it is killed and its data is removed.
pub struct Node {
    dir: PathBuf,
    port: u16,
    /// The settings after the ports on the script's command line.
    settings: Vec<String>,
    controller_port: u16,
    running: Running,
}

/// Three nodes. Each topic is on all of them, and a record is acknowledged once two of them have it.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts the nodes and waits until they have found each other.
    pub fn start() -> Self {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> = ports
            .iter()
            .enumerate()
            .map(|(index, (_, controller))| format!("{}@127.0.0.1:{controller}", index + 1))
            .collect();
        let launch = |(index, (port, controller)): (usize, &(u16, u16))| {
            let settings = vec![format!("node={}", index + 1), format!("voters={}", voters.join(","))];
            Node::launch(*port, *controller, settings).unwrap_or_else(|error| panic!("{error}"))
        };
        // All at once: no node answers without a majority.
        let mut cluster = Cluster {
            nodes: ports.iter().enumerate().map(launch).collect(),
        };
        cluster.wait_until_it_answers();
        cluster
    }

    /// The bootstrap servers of all three nodes.
    pub fn brokers(&self) -> String {
        self.nodes.iter().map(Node::brokers).collect::<Vec<_>>().join(",")
    }

    /// Starts all nodes again after each was killed.
    pub fn restart(&mut self) {
        for node in &mut self.nodes {
            node.relaunch().unwrap_or_else(|error| panic!("{error}"));
        }
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let all = self.nodes.len() as i32;
        for node in &mut self.nodes {
            node.wait_until_it_answers(all)
                .unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// The script `integration/kafka-node`. It kills its java process when its standard input ends.
struct Running {
    script: Child,
    java: u32,
}

impl Node {
    /// Starts a node and waits until it answers.
    pub fn start() -> Self {
        Self::try_start(&[]).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a node with these settings of `integration/kafka-node`: properties of the broker, or JVM options in the place of those for
    /// tests.
    ///
    /// # Errors
    /// The node does not come up. The text says why.
    pub fn try_start(settings: &[&str]) -> Result<Self, String> {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut node = Self::launch(free_port(), free_port(), settings)?;
        node.wait_until_it_answers(1)?;
        Ok(node)
    }

    fn launch(port: u16, controller_port: u16, settings: Vec<String>) -> Result<Self, String> {
        let dir = std::env::temp_dir().join(format!("khp-kafka-{}-{port}", std::process::id()));
        Ok(Node {
            running: Running::start(&dir, port, controller_port, &settings)?,
            dir,
            port,
            controller_port,
            settings,
        })
    }

    /// Its bootstrap servers.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The id of its java process.
    pub fn pid(&self) -> u32 {
        self.running.java
    }

    /// Freezes it (SIGSTOP): its ports stay open, and nothing answers.
    pub fn freeze(&self) {
        signal("STOP", self.running.java);
    }

    /// Lets it run again after `freeze`.
    pub fn thaw(&self) {
        signal("CONT", self.running.java);
    }

    /// Kills it (SIGKILL). Its data stays for `restart`.
    pub fn kill(&mut self) {
        signal("KILL", self.running.java);
        // `wait` closes the script's input first, and at its end the script removes the data. So the input is kept open meanwhile.
        let input = self.running.script.stdin.take();
        let _ = self.running.script.wait();
        drop(input);
    }

    /// Starts it again after `kill`, with the same ports and the same data.
    pub fn restart(&mut self) {
        let restarted = self.relaunch().and_then(|()| self.wait_until_it_answers(1));
        restarted.unwrap_or_else(|error| panic!("{error}"));
    }

    fn relaunch(&mut self) -> Result<(), String> {
        self.running = Running::start(&self.dir, self.port, self.controller_port, &self.settings)?;
        Ok(())
    }

    /// Waits until it knows this many brokers.
    fn wait_until_it_answers(&mut self, brokers: i32) -> Result<(), String> {
        let (address, log) = (self.brokers(), self.dir.join("kafka.log"));
        let script = &mut self.running.script;
        wait_until_it_answers(&address, brokers, || match script.try_wait() {
            Ok(None) => None,
            ended => {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                Some(format!("it ended ({ended:?}); its log:\n{log}"))
            }
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.running.script.stdin.take());
        let _ = self.running.script.wait();
        // Only a node that was killed before leaves its data behind.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Running {
    fn start(dir: &Path, port: u16, controller_port: u16, settings: &[String]) -> Result<Self, String> {
        let mut script = Command::new("bash")
            .arg(script())
            .arg(dir)
            .args([port.to_string(), controller_port.to_string()])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("bash runs integration/kafka-node: {error}"))?;
        let mut first_line = String::new();
        if let Some(stdout) = script.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut first_line);
        }
        match first_line.trim().parse() {
            Ok(java) => Ok(Running { script, java }),
            Err(_) => Err(format!(
                "integration/kafka-node: {:?}; its output stands above",
                script.wait()
            )),
        }
    }
}

/// The path of `integration/kafka-node`, whichever of the workspace's packages this is compiled in.
fn script() -> PathBuf {
    let inside = |dir: &Path| dir.join("integration/kafka-node");
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = package.ancestors().map(inside).find(|script| script.exists());
    found.unwrap_or_else(|| inside(package))
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(
        sent.as_ref().is_ok_and(|status| status.success()),
        "kill -{name} {pid}: {sent:?}"
    );
}

/// Polls until the broker at `address` knows this many brokers. Its port opens before it takes work, so an open port is not enough. `ended`
/// returns why to stop waiting.
fn wait_until_it_answers(address: &str, brokers: i32, mut ended: impl FnMut() -> Option<String>) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let error = match brokers_known_to(address) {
            Ok(known) if known >= brokers => return Ok(()),
            Ok(known) => format!("it knows {known} of {brokers} brokers"),
            Err(error) => error.to_string(),
        };
        if let Some(why) = ended() {
            return Err(format!("Kafka at {address} does not come up: {why}"));
        }
        if started.elapsed() > START_LIMIT {
            return Err(format!(
                "Kafka at {address} does not answer within {START_LIMIT:?}: {error}"
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Asks for metadata of no topic (version 1) and returns the number of brokers in the answer.
fn brokers_known_to(address: &str) -> std::io::Result<i32> {
    const REQUEST: &[u8] = &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(REQUEST)?;
    // Size, correlation id, number of brokers.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(i32::from_be_bytes([head[8], head[9], head[10], head[11]]))
}
