//! What records hold is text, whatever it is.

use crate::harness::backend::unreachable_url;
use crate::harness::browser::Browser;
use crate::harness::dlq::Dlq;
use crate::harness::records::{produce, produce_all, request_headers};

const SCRIPT: &str = "<script>document.title='taken'</script>";
const IMAGE: &str = "<img src=x onerror=\"document.title='taken'\">";
const LINK: &str = "\"><svg/onload=document.title='taken'>";

#[tokio::test]
async fn attack_strings_change_nothing_on_the_page() {
    let dlq = Dlq::create().await;
    let letter = dlq.letter(
        7,
        &format!("/{SCRIPT}"),
        &[
            ("khp-error", IMAGE),
            ("kafka_dlt-exception-message", LINK),
            (SCRIPT, IMAGE),
        ],
    );
    produce_all(&dlq.dead_letters, 0, [letter]).await;
    let processor = dlq.spec(&unreachable_url()).start().await;
    let browser = Browser::start().await;
    let page = |view: &str| format!("http://{}/#/{view}", processor.management_address());
    browser.open(&page("dead-letters")).await;
    // The path is none that HTTP has, so the list calls the request unreadable.
    for attack in [IMAGE, LINK] {
        browser.expect(attack).await;
    }
    browser.open(&page("dead-letters/0%3A0")).await;
    let text = browser.expect("Letter 0:0").await;
    assert!(text.contains(SCRIPT) && text.contains(LINK), "{text}");
    assert_untouched(&browser).await;

    // The same from a request, whose path came from outside.
    let id = format!("id-{IMAGE}");
    let path = "/a'onmouseover='document.title=1";
    let headers = request_headers(
        &id,
        "GET",
        path,
        &[("kafka_replyTopic", dlq.topics.response.as_bytes())],
    );
    produce(&dlq.topics.request, 0, SCRIPT.as_bytes(), &headers).await;
    browser.open(&page("requests")).await;
    browser.expect(path).await;
    browser.run("document.querySelector('tbody a').click()").await;
    browser.expect("As the processor saw it").await;
    assert_untouched(&browser).await;
    // A link to the console itself is no way in, either.
    browser.open(&page(&format!("requests/{IMAGE}"))).await;
    browser.expect("This process remembers no request").await;
    assert_untouched(&browser).await;

    // And if it were markup, its script would not run: the policy allows the page's own files alone.
    let answer = processor.manage("/").await;
    let policy = answer.header("content-security-policy").unwrap_or_default().to_owned();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
}

async fn assert_untouched(browser: &Browser) {
    let elements =
        "return document.querySelectorAll('main img, main script, main iframe, main b, [onload], [onerror]').length";
    assert_eq!(browser.run(elements).await.as_u64(), Some(0));
    let title = browser.run("return document.title").await;
    assert!(
        title.as_str().is_some_and(|title| title.ends_with("actix-khp console")),
        "{title}"
    );
}
