//! `top`, and how far long commands are: what somebody at a terminal sees.

use serde_json::json;

use crate::harness::at_terminal::AtTerminal;
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::command::{Ended, run_with};
use crate::harness::dlq::Dlq;
use crate::harness::kafka::free_port;
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::records::produce_all;
use crate::harness::spec::{all, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::eventually;

const BEGINS: &str = "\x1b[?1049h";
const ENDS: &str = "\x1b[?25h\x1b[?1049l";
const GREEN: &str = "\x1b[32m";

fn url(address: &str) -> String {
    format!("http://{address}")
}

async fn once(url: &str, env: &[(&str, &str)]) -> Ended {
    run_with(&["top", "--once", "--url", url], "", env).await
}

#[tokio::test]
async fn once_it_is_plain_lines_of_what_the_console_shows() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let service = all(&topics, &backend.url()).start().await;
    for number in 0..20 {
        assert_eq!(
            service.request(Request::post("/", number.to_string())).await.status,
            200
        );
    }
    // The console reads the figures once a second.
    let shown = eventually("the topic's figures", async || {
        let shown = once(&url(&service.management_address()), &[]).await;
        shown.assert_accepted();
        let lines = shown.out.lines();
        match lines.filter(|line| line.starts_with(&topics.request)).count() {
            2 => Ok(shown),
            _ => Err(shown.out),
        }
    })
    .await;
    shown.assert_shows(&[
        "proxy and processor  instance ",
        "requests/s",
        "last minute",
        "max_pending ",
        "sent to",
        "consumed",
        "consuming",
        "phases      admission ",
    ]);
    assert!(!shown.out.contains('\x1b'), "{:?}", shown.out);
}

#[tokio::test]
async fn what_is_wrong_with_the_question_is_said() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let service = all(&topics, &backend.url())
        .set("management_token", TOKEN)
        .start()
        .await;
    let its = url(&service.management_address());
    let refused = once(&its, &[]).await;
    assert_eq!(refused.code, Some(69), "{refused:?}");
    refused.assert_shows(&["a token is needed: set KHP__MANAGEMENT_TOKEN"]);
    once(&its, &[("KHP__MANAGEMENT_TOKEN", TOKEN)]).await.assert_accepted();
    let wrong = once(&its, &[("KHP__MANAGEMENT_TOKEN", "another-token-of-another")]).await;
    assert_eq!(wrong.code, Some(69), "{wrong:?}");
    wrong.assert_shows(&["the token is wrong: KHP__MANAGEMENT_TOKEN"]);
    // As the process's own settings have it.
    let dir = TempDir::new();
    let file = format!("${{file:{}}}", dir.write("token", &format!("{TOKEN}\n")).display());
    once(&its, &[("KHP__MANAGEMENT_TOKEN", &file)]).await.assert_accepted();
    let no_file = once(&its, &[("KHP__MANAGEMENT_TOKEN", "${file:/nowhere/token}")]).await;
    assert_eq!(no_file.code, Some(64), "{no_file:?}");
    no_file.assert_shows(&["the token: ${file:/nowhere/token}: "]);
    // It is not asked again and again with what is wrong.
    let mut given_up = AtTerminal::start(
        &["top", "--url", &its],
        "",
        &[("KHP__MANAGEMENT_TOKEN", "another-token-of-another")],
    );
    assert_eq!(given_up.wait_exit().await, Some(69));
    given_up.wait_for("the token is wrong").await;
    assert!(given_up.is_as_usual());

    let nobody = once(&format!("http://127.0.0.1:{}", free_port()), &[]).await;
    assert_eq!(nobody.code, Some(69), "{nobody:?}");
    nobody.assert_shows(&["no answer: ", "Connection refused"]);
    let no_url = once("localhost:8081", &[]).await;
    assert_eq!(no_url.code, Some(64), "{no_url:?}");

    // A proxy without a management port.
    let orders = json!([{ "path": "/orders", "request_topic": topics.request, "response_topic": topics.response }]);
    let without = proxy(&topics).set("routes", orders).start().await;
    let other = once(&url(&without.address()), &[]).await;
    assert_eq!(other.code, Some(69), "{other:?}");
    other.assert_shows(&["there is no console: give the process a management_port"]);
}

#[tokio::test]
async fn at_a_terminal_it_follows_and_leaves_everything_as_it_was() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let mut service = all(&topics, &backend.url()).start().await;
    let its = url(&service.management_address());
    let watch = ["top", "--url", &its];
    let mut coloured = AtTerminal::start(&watch, "", &[]);
    coloured.wait_for("consumed").await;
    coloured.wait_for("sort by: \x1b[0m\x1b[2mname").await;
    assert!(!coloured.is_as_usual(), "keys are taken one by one");
    coloured.press("s");
    coloured.wait_for("sort by: \x1b[0m\x1b[2mrate").await;
    coloured.press("s\x1b[Bs");
    coloured.wait_for("sort by: \x1b[0m\x1b[2mlag").await;
    coloured.press("q");
    assert_eq!(coloured.wait_exit().await, Some(0));
    coloured.wait_for(ENDS).await;
    let drawn = coloured.drawn();
    assert!(drawn.starts_with(BEGINS) && drawn.ends_with(ENDS), "{drawn:?}");
    assert!(drawn.contains(GREEN) && coloured.is_as_usual(), "{drawn:?}");

    // Whoever wants no colours gets none, and a process that goes is waited for.
    let mut plain = AtTerminal::start(&watch, "", &[("NO_COLOR", "1")]);
    plain.wait_for("consumed").await;
    service.signal("KILL");
    service.wait_exit().await;
    plain.wait_for("gone  no answer: ").await;
    plain.signal("TERM");
    assert_eq!(plain.wait_exit().await, Some(0));
    plain.wait_for(ENDS).await;
    let drawn = plain.drawn();
    assert!(drawn.ends_with(ENDS) && !drawn.contains(GREEN), "{drawn:?}");
    assert!(plain.is_as_usual());

    // What ctrl-\ sends, whose default is a core and a terminal that takes keys one by one.
    let mut quit = AtTerminal::start(&watch, "", &[]);
    quit.wait_for("gone").await;
    quit.signal("QUIT");
    assert_eq!(quit.wait_exit().await, Some(0));
    quit.wait_for(ENDS).await;
    assert!(quit.is_as_usual());
}

#[tokio::test]
async fn a_long_command_says_how_far_it_is_on_one_line_that_is_gone_at_the_end() {
    let dlq = Dlq::create().await;
    produce_all(
        &dlq.dead_letters,
        0,
        (0..300).map(|number| dlq.letter(number, "/x", &[])),
    )
    .await;
    let config = dlq.command_spec().config();
    let mut redrive = AtTerminal::start(&["dlq", "redrive", "--rate", "200"], &config, &[]);
    redrive.wait_for("reading what was redriven before").await;
    redrive.wait_for(" letters redriven, 0 left; reading on").await;
    assert_eq!(redrive.wait_exit().await, Some(0));
    redrive.wait_for("redriven: 300\r\n").await;
    let drawn = redrive.drawn();
    // Each begins where the last one began, and nothing of it stays.
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines.len(), 1, "{drawn:?}");
    assert!(lines[0].contains("\r\x1b[?7l\x1b[K\x1b[?7hredriven: 300"), "{drawn:?}");

    // Nobody at a terminal, and done soon: nothing but the result.
    let again = dlq.run(&["redrive"]).await;
    assert_eq!((&*again.out, &*again.err), ("redriven: 0\n", ""), "{again:?}");

    let topics = Topics::unique("orders");
    let config = proxy(&topics).config();
    let mut create = AtTerminal::start(&["topics", "create"], &config, &[]);
    create
        .wait_for(&format!("creating {}; until it can be used", topics.request))
        .await;
    assert_eq!(create.wait_exit().await, Some(0));
    create
        .wait_for(&format!("\x1b[K\x1b[?7h{}: created, 4 partitions\r\n", topics.request))
        .await;
}
