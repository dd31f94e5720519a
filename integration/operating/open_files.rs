//! How many files a process may open, and how many its configuration needs.

use std::process::Stdio;

use tokio::process::Command;

use crate::harness::backend::Backend;
use crate::harness::binary::command;
use crate::harness::kafka::free_port;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::{PATIENCE, eventually};

/// The binary under limits of its own, which a shell sets.
fn limited(soft: u64, hard: u64, args: &str) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" {args}");
    shell
        .args(["-c", &script])
        .arg(command().as_std().get_program())
        .env_clear()
        .kill_on_drop(true)
        .stdin(Stdio::null());
    shell
}

#[tokio::test]
async fn the_limit_is_raised_to_the_hard_one_at_start() {
    let dir = TempDir::new();
    let log = dir.write("log", "");
    let file = std::fs::File::options()
        .append(true)
        .open(&log)
        .expect("it was written");
    let mut demo = limited(256, 4096, "--mode demo");
    demo.envs([("KHP__BIND", "127.0.0.1"), ("KHP__LOG__LEVEL", "info")])
        .env("PROXY_PORT", free_port().to_string())
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file);
    let child = demo.spawn().expect("sh runs");
    let pid = child.id().expect("it runs");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("it has started", async || match said() {
        text if text.contains("curl -i") => Ok(()),
        text => Err(text),
    })
    .await;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a line");
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["4096", "4096"], "{line}");
    let raised: Vec<String> = said()
        .lines()
        .filter(|line| line.contains("open files"))
        .map(str::to_owned)
        .collect();
    assert_eq!(raised.len(), 1, "{}", said());
    assert!(
        raised[0].contains("INFO") && raised[0].contains("256") && raised[0].contains("4096"),
        "{raised:?}"
    );
}

/// Exit code, standard output, standard error.
async fn check(hard: u64, env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut check = limited(hard, hard, "check --mode all");
    check.envs(env.iter().copied());
    let output = tokio::time::timeout(PATIENCE, check.output())
        .await
        .expect("it ends")
        .expect("sh runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn check_prints_what_the_configuration_needs_and_warns_when_that_is_too_much() {
    let topics = [
        ("KAFKA_TOPICS", "a:a,b,http://c;d:d,e,http://f"),
        ("KHP__MAX_PENDING", "1000"),
    ];
    let (code, stdout, stderr) = check(2000, &topics).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("# open files"), "{stdout}");
    assert!(!stderr.contains("open files"), "{stderr}");
    let (code, _, stderr) = check(1024, &topics).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("warning: ") && stderr.contains("open files") && stderr.contains("1024"),
        "{stderr}"
    );
}

#[tokio::test]
async fn what_check_prints_is_enough_for_what_is_used() {
    let topics: Vec<Topics> = (0..5).map(|_| Topics::unique("orders")).collect();
    let backend = Backend::echo().await;
    let url = backend.url();
    let named: Vec<(&Topics, &str)> = topics.iter().map(|topics| (topics, &*url)).collect();
    let processor = processor(&named).set("max_concurrent_requests", 1).start().await;
    let (proxy, used) = (
        proxy(&topics[0]).set("max_pending", 1).start().await,
        processor.descriptors(),
    );
    let used_by_proxy = proxy.descriptors();
    println!("open files: {used} of a processor with 5 topics, {used_by_proxy} of a proxy");
    // As `check` counts: 100 of the process, 1 call or client, 20 a Kafka client.
    assert!(used < 100 + 1 + (3 + 5) * 20, "{used}");
    assert!(used_by_proxy < 100 + 1 + 3 * 20, "{used_by_proxy}");
}
