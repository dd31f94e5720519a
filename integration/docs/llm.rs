//! The folder `examples/llm`: the stub of a model server, curl, and OpenAI's own client.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::{Renamed, commands, document, root};
use crate::harness::python::python;
use crate::harness::service::Service;
use crate::harness::wait::PATIENCE;

/// Seconds between two words of the model.
const PAUSE: &str = "0.3";
const WORDS: &str = "Kafka carries every word as it is spoken";

/// The example's server. Dropped, it is killed.
struct Server {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: SocketAddr,
}

impl Server {
    async fn start() -> Self {
        let mut child = Command::new("python3")
            .arg(root().join("examples/llm/server.py"))
            .args(["0", PAUSE])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python is installed; integration/install installs it");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first = lines.next_line().await.expect("it is text").expect("it listens");
        let port = first.rsplit(' ').next().and_then(|port| port.parse().ok());
        Server {
            _child: child,
            lines,
            address: ([127, 0, 0, 1], port.expect("a port")).into(),
        }
    }

    async fn next_line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("in time").expect("it is text").expect("it runs")
    }
}

/// The example as its page has it, less the addresses.
async fn example() -> (Server, Renamed, Service, Service) {
    let server = Server::start().await;
    let renamed =
        Renamed::topics(&["chat-requests", "chat-responses"]).and("localhost:9001", server.address.to_string());
    let processor = renamed
        .process("processor", &document("examples/llm/processor.yaml"))
        .start()
        .await;
    let proxy = renamed
        .process("proxy", &document("examples/llm/proxy.yaml"))
        .start()
        .await;
    let renamed = renamed.and("localhost:8080", proxy.address());
    (server, renamed, processor, proxy)
}

async fn chat(renamed: &Renamed) -> Child {
    let page = document("examples/llm/README.md");
    let [line] = &commands(&page, "python3 chat.py")[..] else {
        panic!("one line starts the client")
    };
    let base = renamed.apply(line.rsplit(' ').next().expect("an address"));
    Command::new(python().await)
        .arg(root().join("examples/llm/chat.py"))
        .arg(base)
        .env_remove("http_proxy")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the interpreter runs")
}

#[tokio::test]
async fn the_words_of_a_model_come_one_by_one() {
    let (_server, renamed, _processor, _proxy) = example().await;
    let [curl] = &commands(&document("examples/llm/README.md"), "curl")[..] else {
        panic!("one request")
    };
    let events = renamed.run(curl).await;
    let words: Vec<&str> = ["one ", "two ", "three "]
        .into_iter()
        .filter(|word| events.contains(&format!("\"content\": \"{word}\"")))
        .collect();
    assert_eq!(words, ["one ", "two ", "three "], "{events}");
    assert!(events.ends_with("data: [DONE]\n\n"), "{events}");

    let mut client = chat(&renamed).await;
    let mut out = client.stdout.take().expect("it is piped");
    let (mut text, mut came) = (String::new(), Vec::new());
    let mut part = [0; 100];
    loop {
        let read = tokio::time::timeout(PATIENCE, out.read(&mut part)).await;
        match read.expect("in time").expect("it is readable") {
            0 => break,
            length => {
                text.push_str(&String::from_utf8_lossy(&part[..length]));
                came.push(Instant::now());
            }
        }
    }
    assert_eq!(text.trim_end(), WORDS);
    // Eight words with seven pauses of 0.3 s between them: some may come together on a busy machine, but not all.
    assert!(came.len() >= 5, "{} parts", came.len());
    assert!(
        came[came.len() - 1] - came[0] > Duration::from_secs(1),
        "they came one by one"
    );
    assert!(client.wait().await.expect("it ends").success());
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_work_on_its_answer() {
    let (mut server, renamed, _processor, _proxy) = example().await;
    let mut client = chat(&renamed).await;
    let mut out = client.stdout.take().expect("it is piped");
    let mut first = [0; 6];
    let word = tokio::time::timeout(PATIENCE, out.read_exact(&mut first)).await;
    word.expect("in time").expect("a word");
    assert_eq!(&first, b"Kafka ");
    client.kill().await.expect("it is killed");
    assert_eq!(server.next_line().await, "the client left");
}
