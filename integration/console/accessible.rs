//! Nothing on the page keeps anybody out, in any view, light or dark, wide or narrow.

use crate::harness::backend::{Answer, Backend};
use crate::harness::browser::Browser;
use crate::harness::client::Request;
use crate::harness::names::{Topics, unique};
use crate::harness::spec::all;
use crate::harness::topics::create_topic;

#[tokio::test]
async fn no_view_has_a_violation_of_accessibility() {
    let (topics, dead_letters) = (Topics::unique("orders"), unique("dead-letters"));
    create_topic(&dead_letters, 1).await;
    let backend = Backend::start(|request| match request.target.as_str() {
        "/fails" => Answer::status(500),
        _ => Answer::echo(request),
    })
    .await;
    let service = all(&topics, &backend.url())
        .set("dead_letter_topic", dead_letters.as_str())
        .set_topics("max_retries", 0);
    let service = service.start().await;
    for path in ["/a", "/fails", "/b"] {
        service.request(Request::get(path)).await;
    }
    let browser = Browser::start().await;
    let mut found = Vec::new();
    for (width, dark) in [(1280, false), (390, true)] {
        browser.look(width, dark).await;
        for view in ["now", "topics", "requests", "try", "dead-letters", "events", "settings"] {
            browser
                .open(&format!("http://{}/#/{view}", service.management_address()))
                .await;
            browser.expect("live").await;
            browser
                .until("return document.querySelector('main').innerText.length > 60")
                .await;
            found.extend(
                browser
                    .violations()
                    .await
                    .into_iter()
                    .map(|one| format!("{view} at {width}: {one}")),
            );
            let wide = browser
                .run("return document.documentElement.scrollWidth - innerWidth")
                .await;
            assert!(wide.as_i64() <= Some(0), "{view} at {width} is {wide} too wide");
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
