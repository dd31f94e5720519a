//! What a backend sends that is no HTTP, or nearly none.

use crate::harness::backend::{Answer, Backend};
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::pair::Pair;
use crate::harness::spec::{processor, proxy};

#[tokio::test]
async fn a_transfer_coding_besides_chunked_is_refused() {
    let pair = Pair::start(Backend::echo().await).await;
    for codings in ["gzip, chunked", "gzip,\tchunked", "deflate", "chunked, gzip"] {
        pair.backend.answer_with(move |_| {
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {codings}\r\n\r\n");
            Answer::Raw([head.as_bytes(), b"5\r\n\x1f\x8b\x08\0\0\r\n0\r\n\r\n"].concat())
        });
        let answer = pair.request(Request::get("/")).await;
        println!("{codings}: {} {:?}", answer.status, answer.text());
        answer.assert_problem(502, "backend-reset");
    }
    pair.backend.answer_with(|_| {
        Answer::Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec())
    });
    let answer = pair.request(Request::get("/")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn a_blank_before_a_colon_is_removed() {
    let pair = Pair::start(
        Backend::start(|_| Answer::Raw(b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length : 2\r\n\r\nok".to_vec())).await,
    )
    .await;
    let answer = pair.request(Request::get("/")).await;
    println!("{answer:?}");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.all("x-a"), ["1"]);
}

/// Four attempts would be four failures for the breaker, too.
#[tokio::test]
async fn what_is_no_http_is_not_tried_again() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())])
        .set_topics("max_retries", 3)
        .set_topics("breaker", serde_json::json!({ "failures": 20 }))
        .start()
        .await;
    let proxy = proxy(&topics).start().await;
    let garbage: [&[u8]; 5] = [
        b"220 smtp.example ESMTP\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ];
    for (number, bytes) in garbage.into_iter().enumerate() {
        backend.answer_with(move |_| Answer::Raw(bytes.to_vec()));
        let answer = proxy.request(Request::get("/")).await;
        println!(
            "{:?}: {} after {} calls",
            String::from_utf8_lossy(bytes),
            answer.status,
            backend.count()
        );
        answer.assert_problem(502, "backend-reset");
        assert_eq!(backend.count(), number + 1);
    }
    // An answer that breaks off may come whole the next time.
    backend.answer_with(|_| Answer::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbroken".to_vec()));
    proxy
        .request(Request::get("/"))
        .await
        .assert_problem(502, "backend-reset");
    assert_eq!(backend.count(), garbage.len() + 4);
}
