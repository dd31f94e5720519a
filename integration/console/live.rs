//! The page shows what happens, and is right again after its connection was lost.

use crate::harness::backend::Backend;
use crate::harness::binary::signal;
use crate::harness::browser::Browser;
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::spec::{Spec, all};

/// The paths that the list of requests shows.
const PATHS: &str = "return [...document.querySelectorAll('tbody tr a')].map((link) => link.innerText).join('\\n')";

#[tokio::test]
async fn requests_are_seen_as_they_pass_and_after_a_lost_connection() {
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let service = all(&topics, &backend.url()).start().await;
    let browser = Browser::start().await;
    browser
        .open(&format!("http://{}/#/requests", service.management_address()))
        .await;
    browser.expect("live").await;
    assert_eq!(service.request(Request::get("/first?token=secret")).await.status, 200);
    let first = "return document.querySelector('tbody')?.innerText.includes('/first?***') ?? false";
    browser.until(first).await;

    // The process stands still: the page says so. What passes while it is not connected is there afterwards.
    signal("STOP", service.pid());
    browser.expect("connection lost").await;
    signal("CONT", service.pid());
    assert_eq!(service.request(Request::get("/second")).await.status, 200);
    browser.expect("live").await;
    browser
        .until("return document.querySelector('tbody').innerText.includes('/second')")
        .await;
    assert!(
        browser
            .run(PATHS)
            .await
            .as_str()
            .is_some_and(|paths| paths.contains("/first"))
    );

    // One opens, with the phases that both roles saw.
    browser
        .run("[...document.querySelectorAll('tbody tr a')].find((link) => link.innerText.includes('/second')).click()")
        .await;
    let opened = browser.expect("As the processor saw it").await;
    for phase in [
        "waiting for a place",
        "waiting for the reply",
        "in the topic",
        "call 1: 200",
    ] {
        assert!(opened.contains(phase), "{phase}: {opened}");
    }
    assert!(!opened.contains("secret"));
}

#[tokio::test]
async fn the_demo_names_its_console_which_shows_the_requests() {
    let demo = Spec::new("demo").unset("kafka").start().await;
    assert_eq!(demo.request(Request::get("/orders/7")).await.status, 200);
    let log = demo.log();
    let named = log
        .lines()
        .find_map(|line| line.trim().strip_prefix("see:"))
        .expect("it names it");
    let url = named.split_whitespace().next().expect("an address");
    assert_eq!(url, format!("http://{}/", demo.management_address()));
    let browser = Browser::start().await;
    browser.open(&format!("{url}#/requests")).await;
    browser.expect("/orders/7").await;
}
