//! The commands of the pages in `docs`.

use super::{Renamed, commands, document, fences};
use crate::harness::backend::Backend;
use crate::harness::command::{check, run_with};
use crate::harness::dlq::Dlq;
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::records::{produce_all, read_all};
use crate::harness::spec::{Spec, processor};
use crate::harness::wait::eventually;

#[tokio::test]
async fn the_dead_letter_commands_do_what_the_page_says() {
    let dlq = Dlq::create().await;
    let letters = [dlq.letter(1, "/orders/1", &[]), dlq.letter(2, "/users/2", &[])];
    produce_all(&dlq.dead_letters, 0, letters).await;
    // The page's letter is the second one here.
    let renamed = Renamed::topics(&[]).and("0:17", "0:1").and("'", "");
    let page = document("docs/dead-letters.md");
    let mut outputs = Vec::new();
    for command in commands(&page, "actix-khp dlq") {
        let command = renamed.apply(&command);
        let words: Vec<&str> = command.split_whitespace().collect();
        let [_, _, arguments @ .., "--config", _] = &words[..] else {
            panic!("{command}")
        };
        let ended = dlq.run(arguments).await;
        assert_eq!(ended.code, Some(0), "{command}\n{ended:?}");
        outputs.push((command, ended.out));
    }
    let output = |part: &str| {
        &outputs
            .iter()
            .rfind(|(command, _)| command.contains(part))
            .expect(part)
            .1
    };
    assert_eq!(output("list").lines().count(), 3, "a heading and two letters");
    assert!(output("show").contains(":path: /users/2"), "{}", output("show"));
    assert!(
        output("--dry-run").ends_with("to be redriven: 1\n"),
        "{}",
        output("--dry-run")
    );
    assert_eq!(output("redrive --filter"), "redriven: 2\n");
    assert_eq!(read_all(&dlq.topics.request).await.len(), 2);
}

#[tokio::test]
async fn the_page_about_management_pauses_a_topic() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]).set("management_token", TOKEN);
    let processor = spec.start().await;
    let renamed = Renamed(vec![("orders-requests".into(), topics.request.clone())])
        .and("localhost:8081", processor.management_address())
        .and("TOKEN", TOKEN);
    let page = document("docs/management.md");
    let answer = renamed.run(&commands(&page, "curl")[0]).await;
    assert!(answer.contains("\"paused\":true"), "{answer}");
    let state = &processor.topic_status(&topics.request).await["state"];
    assert_eq!(state, "paused");
    processor.order(&format!("/topics/{}/resume", topics.request)).await;
    eventually("it consumes again", async || {
        match &processor.topic_status(&topics.request).await["state"] {
            state if state == "consuming" => Ok(()),
            state => Err(state.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn the_first_look_shows_what_the_page_says() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let renamed = Renamed::topics(&[]).and("localhost:8081", processor.management_address());
    let page = document("docs/troubleshooting.md");
    let [ready, status] = &commands(&page, "curl")[..] else {
        panic!("two commands")
    };
    assert_eq!(renamed.run(ready).await, "{\"status\":\"ready\"}");
    let status = renamed.run(status).await;
    for member in ["topics", "lag", "workers", "actors", "restarts"] {
        assert!(status.contains(&format!("\"{member}\":")), "{member} in {status}");
    }
}

#[tokio::test]
async fn the_variable_of_the_predecessor_is_all_that_a_processor_needs() {
    let page = document("docs/migrating.md");
    let export = &commands(&page, "export KAFKA_TOPICS=")[0];
    let value = export.trim_start_matches("export KAFKA_TOPICS=").trim_matches('\'');
    let command = &commands(&page, "actix-khp")[0];
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let ended = run_with(&words, "", &[("KAFKA_TOPICS", value)]).await;
    ended.assert_accepted();
    ended.assert_shows(&["request_topic: orders-requests", "backend_url: http://orders:8080"]);
}

#[tokio::test]
async fn a_fault_is_shown_as_the_page_about_settings_says() {
    let ended = check("proxy", "prot: 8080\ndefault_timeout: soon\n", &[]).await;
    assert_eq!(ended.code, Some(64));
    ended.assert_shows(&[
        "prot: unknown key (nearest: port)",
        "default_timeout: \"soon\" is not a duration",
    ]);
}

#[tokio::test]
async fn the_page_about_later_answers_works_in_the_demo() {
    let demo = Spec::new("demo").unset("kafka").start().await;
    let page = document("docs/async.md");
    let renamed = Renamed(vec![("127.0.0.1:8080".into(), demo.address())]);
    let output = renamed.run(&fences(&page, "sh")[0]).await;
    let statuses = output.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]);
    assert_eq!(statuses.collect::<Vec<_>>(), ["202", "200", "204"], "{output}");
    assert!(output.contains("\"body\":\"another\""), "{output}");
}

#[tokio::test]
async fn the_page_about_keys_runs_a_request_once() {
    let page = document("docs/idempotency.md");
    let [processor, proxy] = &fences(&page, "yaml")[..] else {
        panic!("two configurations")
    };
    let backend = Backend::echo().await;
    let renamed =
        Renamed::topics(&["payments-requests", "payments-responses"]).and("http://payments:8080", backend.url());
    let _processor = renamed.process("processor", processor).start().await;
    let proxy = renamed.process("proxy", proxy).start().await;
    let renamed = renamed.and("localhost:8080", proxy.address());
    let request = &commands(&page, "curl")[0];
    let (first, repeat) = (renamed.run(request).await, renamed.run(request).await);
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(repeat.contains("idempotency-replayed: true\r\n"), "{repeat}");
    assert_eq!(backend.count(), 1);
}
