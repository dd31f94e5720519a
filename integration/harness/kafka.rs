//! A real Kafka for tests: the one that `KHP_TEST_BROKERS` names, else a node of our own, shared by the whole test
//! process; and private nodes for tests that kill or freeze their broker.
//!
//! Standard library only: unit tests of the library include this file by its path. A Kafka that does not come up is a
//! failed test, never a skipped one.
#![allow(
    dead_code,
    reason = "where the library's unit tests include this file, they use part of it"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(90);
/// Below Linux's range for outgoing connections, so that a port found free stays free until its server binds it.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// The bootstrap servers that all tests of this process share.
pub fn brokers() -> &'static str {
    // An error is kept too: a Kafka that does not come up fails every test at once, not each after a wait of its own.
    static BROKERS: OnceLock<Result<String, String>> = OnceLock::new();
    let brokers = BROKERS.get_or_init(|| match std::env::var("KHP_TEST_BROKERS") {
        Ok(brokers) if !brokers.is_empty() => {
            let first = brokers.split(',').next().unwrap_or_default();
            wait_until_it_answers(first, || None).map(|()| brokers.clone())
        }
        _ => {
            // Never dropped: the node ends with this process, when its script finds its standard input closed.
            static NODE: OnceLock<Result<Node, String>> = OnceLock::new();
            NODE.get_or_init(Node::try_start)
                .as_ref()
                .map(Node::brokers)
                .map_err(Clone::clone)
        }
    });
    brokers.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A loopback port that nobody listens on, never given out twice by this process.
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

/// One Kafka node of our own. Dropped, it is killed and its data is removed.
pub struct Node {
    dir: PathBuf,
    port: u16,
    controller_port: u16,
    running: Running,
}

/// `integration/kafka-node`, which holds the java process: it kills it when its standard input ends.
struct Running {
    script: Child,
    java: u32,
}

impl Node {
    /// Starts a node and waits until it answers.
    pub fn start() -> Self {
        Self::try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start() -> Result<Self, String> {
        let (port, controller_port) = (free_port(), free_port());
        let dir = std::env::temp_dir().join(format!("khp-kafka-{}-{port}", std::process::id()));
        let running = Running::start(&dir, port, controller_port)?;
        let mut node = Node {
            dir,
            port,
            controller_port,
            running,
        };
        node.wait_until_it_answers()?;
        Ok(node)
    }

    /// Its bootstrap servers.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops it in its tracks (SIGSTOP): its ports stay open, nothing answers.
    pub fn freeze(&self) {
        signal("STOP", self.running.java);
    }

    /// Ends a `freeze`.
    pub fn thaw(&self) {
        signal("CONT", self.running.java);
    }

    /// Kills it (SIGKILL); its data stays for `restart`.
    pub fn kill(&mut self) {
        signal("KILL", self.running.java);
        // `wait` closes the script's input first, at whose end the script would remove the data: keep it open meanwhile.
        let input = self.running.script.stdin.take();
        let _ = self.running.script.wait();
        drop(input);
    }

    /// Starts it again after `kill`: same ports, same data.
    pub fn restart(&mut self) {
        let restarted = Running::start(&self.dir, self.port, self.controller_port).and_then(|running| {
            self.running = running;
            self.wait_until_it_answers()
        });
        restarted.unwrap_or_else(|error| panic!("{error}"));
    }

    fn wait_until_it_answers(&mut self) -> Result<(), String> {
        let (address, log) = (self.brokers(), self.dir.join("kafka.log"));
        let script = &mut self.running.script;
        wait_until_it_answers(&address, || match script.try_wait() {
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
        // Left behind only by a node that was killed before.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Running {
    fn start(dir: &Path, port: u16, controller_port: u16) -> Result<Self, String> {
        let mut script = Command::new("bash")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/integration/kafka-node"))
            .arg(dir)
            .args([port.to_string(), controller_port.to_string()])
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
                "integration/kafka-node: {:?}; what it said stands above",
                script.wait()
            )),
        }
    }
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(
        sent.as_ref().is_ok_and(|status| status.success()),
        "kill -{name} {pid}: {sent:?}"
    );
}

/// Polls until the broker at `address` names itself in its metadata: the port alone opens before it takes work.
/// `ended` tells why to give up.
fn wait_until_it_answers(address: &str, mut ended: impl FnMut() -> Option<String>) -> Result<(), String> {
    let started = Instant::now();
    loop {
        let error = match brokers_known_to(address) {
            Ok(1..) => return Ok(()),
            Ok(_) => "it knows no broker yet".to_owned(),
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
