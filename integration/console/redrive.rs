//! A dead letter is found, opened and sent back, by the keyboard alone.

use crate::harness::backend::Backend;
use crate::harness::browser::{Browser, ENTER};
use crate::harness::dlq::Dlq;
use crate::harness::management::TOKEN;
use crate::harness::records::{produce_all, read_all};
use crate::harness::wait::eventually;

#[tokio::test]
async fn a_dead_letter_goes_back_by_keyboard_alone() {
    let dlq = Dlq::create().await;
    let letters = (1..4).map(|number| dlq.letter(number, &format!("/orders/{number}"), &[]));
    produce_all(&dlq.dead_letters, 0, letters).await;
    let backend = Backend::echo().await;
    let processor = dlq.spec(&backend.url()).set("management_token", TOKEN).start().await;
    let browser = Browser::start().await;
    browser
        .open(&format!("http://{}/", processor.management_address()))
        .await;

    // Whoever has no token sees nothing.
    browser.expect("Management token").await;
    assert!(!browser.text().await.contains("live"));
    browser.press("wr0ng-token-of-16-bytes").await;
    browser.press(ENTER).await;
    browser.expect("The process does not take this token.").await;
    browser.press(TOKEN).await;
    browser.press(ENTER).await;
    browser.expect("Where the time is").await;

    browser.tab_to("Dead letters").await;
    browser.press(ENTER).await;
    browser.expect("/orders/2").await;
    browser.tab_to("0:1").await;
    browser.press(ENTER).await;
    let letter = browser.expect("Letter 0:1").await;
    assert!(
        letter.contains("connection refused") && letter.contains("id-2"),
        "{letter}"
    );

    browser.tab_to("Dry run").await;
    browser.press(ENTER).await;
    let planned = browser.expect("1 letter would go back").await;
    assert!(planned.contains(&format!("0:1 → {}", dlq.topics.request)), "{planned}");
    assert!(
        read_all(&dlq.topics.request).await.is_empty(),
        "a dry run sends nothing"
    );

    browser.tab_to("Redrive").await;
    browser.press(ENTER).await;
    browser.expect("1 letter went back").await;
    let back = read_all(&dlq.topics.request).await;
    let values: Vec<_> = back.iter().filter_map(|record| record.value.as_deref()).collect();
    assert_eq!(values, [b"2"], "this one, once");
    eventually("its answer is in Kafka", async || {
        let replies = read_all(&dlq.topics.response).await;
        if replies.len() == 1 {
            Ok(())
        } else {
            Err(format!("{} replies", replies.len()))
        }
    })
    .await;

    // The answer of the one that went back is seen, too.
    browser
        .open(&format!("http://{}/#/requests", processor.management_address()))
        .await;
    let seen = "return [...document.querySelectorAll('tbody tr')].some((row) => /orders.2/.test(row.innerText) && /200/.test(row.innerText))";
    browser.until(seen).await;
}
