//! A log that cannot be written never stops the service, and neither does its end wait for one.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::harness::binary::command;
use crate::harness::client::{self, Request};
use crate::harness::kafka::free_port;
use crate::harness::wait::{PATIENCE, eventually};

/// Every level of every module: each request writes many lines.
const CHATTY: &str = "trace";

/// A demo, which needs no Kafka, with a log of one's own choice.
struct Demo {
    child: Child,
    port: u16,
    management_port: u16,
}

impl Demo {
    fn start(redirect: impl FnOnce(&mut Command), level: &str) -> Self {
        let (port, management_port) = (free_port(), free_port());
        let mut demo = command();
        demo.args(["--mode", "demo"])
            .env_remove("RUST_LOG")
            .env("KHP__BIND", "127.0.0.1")
            .env("KHP__MANAGEMENT_BIND", "127.0.0.1")
            .env("PROXY_PORT", port.to_string())
            .env("MANAGEMENT_PORT", management_port.to_string())
            .env("KHP__LOG__LEVEL", level)
            .env("KHP__DRAIN_TIMEOUT", "8")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        redirect(&mut demo);
        let child = demo.spawn().expect("the binary runs");
        Demo {
            child,
            port,
            management_port,
        }
    }

    /// Asks the service and its management API until both answer.
    async fn answers(&mut self) {
        let (own, management) = (
            format!("127.0.0.1:{}", self.port),
            format!("127.0.0.1:{}", self.management_port),
        );
        eventually("the demo answers requests", async || {
            let asked = client::try_request(&own, Request::post("/x", "hello")).await;
            match asked.map_err(|error| error.to_string())?.status {
                200 => Ok(()),
                status => Err(format!("status {status}")),
            }
        })
        .await;
        let ready = client::request(&management, Request::get("/health/ready")).await;
        assert_eq!(ready.status, 200, "{}", ready.text());
    }

    async fn dropped_lines(&self) -> f64 {
        let management = format!("127.0.0.1:{}", self.management_port);
        let page = client::request(&management, Request::get("/metrics")).await.text();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("log_lines_dropped_total "))
            .unwrap_or_else(|| panic!("log_lines_dropped_total in {page}"));
        line.parse().expect("a number")
    }

    /// Sends SIGTERM and returns the exit code, and how long the end took.
    async fn terminate(&mut self) -> (Option<i32>, Duration) {
        let pid = self.child.id().expect("it runs");
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -TERM {pid}")])
            .status()
            .await;
        assert!(sent.expect("sh runs").success());
        let began = Instant::now();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let code = ended
            .expect("SIGTERM ends it")
            .expect("a child can be waited for")
            .code();
        (code, began.elapsed())
    }

    async fn serves_and_drains(&mut self) {
        for _ in 0..50 {
            self.answers().await;
        }
        let (code, took) = self.terminate().await;
        assert_eq!(code, Some(0), "a clean drain");
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

/// A demo that writes into a pipe.
fn into_a_pipe(level: &str) -> (std::io::PipeReader, Demo) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let stdout = writer.try_clone().expect("a second handle");
    let demo = Demo::start(
        |demo| {
            demo.stdout(stdout).stderr(writer);
        },
        level,
    );
    (reader, demo)
}

#[tokio::test]
async fn a_log_on_a_full_disk_stops_nothing() {
    let mut demo = Demo::start(
        |demo| {
            demo.stdout(full()).stderr(full());
        },
        "info",
    );
    demo.answers().await;
    assert!(demo.dropped_lines().await > 0.0);
    demo.serves_and_drains().await;
}

#[tokio::test]
async fn a_log_whose_reader_has_ended_stops_nothing() {
    let (reader, mut demo) = into_a_pipe(CHATTY);
    drop(reader);
    demo.answers().await;
    assert!(demo.dropped_lines().await > 0.0);
    demo.serves_and_drains().await;
}

#[tokio::test]
async fn a_log_whose_reader_stands_still_stops_nothing() {
    let (reader, mut demo) = into_a_pipe(CHATTY);
    demo.answers().await;
    let management = format!("127.0.0.1:{}", demo.management_port);
    eventually("lines are dropped and counted", async || {
        for _ in 0..50 {
            client::request(&format!("127.0.0.1:{}", demo.port), Request::get("/x")).await;
        }
        client::request(&management, Request::get("/health/live")).await;
        match demo.dropped_lines().await {
            0.0 => Err("none yet".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    demo.serves_and_drains().await;
    drop(reader);
}

#[tokio::test]
async fn closed_output_stops_nothing() {
    let mut demo = Demo::start(
        |demo| {
            // The shell closes both and becomes the service.
            let binary = demo.as_std().get_program().to_owned();
            let mut shell = Command::new("sh");
            shell.args(["-c", "exec \"$0\" --mode demo >&- 2>&-"]).arg(binary);
            let envs: Vec<_> = demo
                .as_std()
                .get_envs()
                .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
                .collect();
            shell.env_clear().stdin(Stdio::null()).kill_on_drop(true);
            shell.envs(envs.into_iter().filter_map(|(name, value)| Some((name, value?))));
            *demo = shell;
        },
        "info",
    );
    demo.serves_and_drains().await;
}

#[tokio::test]
async fn the_last_lines_are_written_before_the_end() {
    let (mut reader, mut demo) = into_a_pipe("debug");
    let log = std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).expect("the log is read");
        log
    });
    demo.serves_and_drains().await;
    let log = log.join().expect("the reader ends");
    assert!(log.contains("curl -i"), "{log}");
    assert!(
        log.trim_end()
            .lines()
            .any(|line| line.contains("drained") && line.contains("clean=true")),
        "{log}"
    );
}
