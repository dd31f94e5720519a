//! The README, from the demo to a real Kafka.

use super::{Renamed, commands, document, fences};
use crate::harness::backend::Backend;
use crate::harness::spec::Spec;

#[tokio::test]
async fn the_demo_answers_as_the_readme_shows() {
    let readme = document("README.md");
    let started = &commands(&readme, "cargo run")[0];
    assert!(started.ends_with(" -- --mode demo"), "{started}");
    let demo = Spec::new("demo").unset("kafka").start().await;

    let shown = &fences(&readme, "console")[0];
    let (command, answer) = shown.split_once('\n').expect("a command and its answer");
    let renamed = Renamed::topics(&[]).and("127.0.0.1:8080", demo.address());
    let seen = renamed.run(command.strip_prefix("$ ").expect("a prompt")).await;

    // Of each header the name, of the body its members that do not depend on this run.
    let status = answer.lines().next().expect("a status line");
    assert!(seen.starts_with(status), "{seen}");
    let (head, body) = answer.split_once("\n\n").expect("a body");
    for name in head.lines().skip(1).filter_map(|line| line.split(':').next()) {
        assert!(seen.contains(&format!("\n{name}: ")), "{name} in\n{seen}");
    }
    let (begin, rest) = body.trim().split_once("[[").expect("headers");
    let (_, end) = rest
        .split_once(']')
        .and_then(|(_, rest)| rest.split_once(']'))
        .expect("headers");
    assert!(
        seen.contains(begin) && seen.ends_with(end),
        "{begin} … {end} in\n{seen}"
    );
}

#[tokio::test]
async fn the_two_files_of_the_readme_carry_its_request() {
    let readme = document("README.md");
    let [proxy, processor] = &fences(&readme, "yaml")[..] else {
        panic!("two configurations")
    };
    let backend = Backend::echo().await;
    let renamed = Renamed::topics(&["orders-requests", "orders-responses"]).and("http://orders:8080", backend.url());
    let _processor = renamed.process("processor", processor).start().await;
    let proxy = renamed.process("proxy", proxy).start().await;
    let request = &commands(&readme, "curl")[0];
    let answer = renamed.and("localhost:8080", proxy.address()).run(request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(backend.last().target, "/orders/7");
}
