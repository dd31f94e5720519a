//! Many uploads at once hold no more than they may.

use super::MIB;
use super::client::{Framing, Upload, assert_arrived};
use super::sink::Sink;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};

#[tokio::test]
async fn many_uploads_at_once_share_the_bytes_that_may_be_held() {
    const UPLOADS: usize = 60;
    let topics = Topics::unique("files");
    let sink = Sink::start().await;
    let _processor = processor(&[(&topics, &sink.url())]).start().await;
    let proxy = proxy(&topics).set("max_pending_bytes", 4 * MIB).start().await;
    let before = proxy.resident_memory();
    let uploads = (0..UPLOADS).map(|_| async {
        let mut upload = Upload::begin(&proxy.address(), Framing::Length, 2 * MIB, "").await;
        for _ in 0..8 {
            upload.send(MIB / 4).await?;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok::<_, std::io::Error>(upload.finish().await)
    });
    let mut arrived = 0;
    for outcome in futures_util::future::join_all(uploads).await {
        // Err: refused before its body came.
        let Ok((answer, sha)) = outcome else { continue };
        match answer.status {
            503 => answer.assert_try_again("overloaded"),
            _ => {
                assert_arrived(&answer, 2 * MIB, &sha);
                arrived += 1;
            }
        }
    }
    let grown = proxy.peak_memory().saturating_sub(before);
    println!("{arrived} of {UPLOADS} arrived, {} KiB grown", grown >> 10);
    assert!(arrived > 0 && grown < 64 << 20, "{arrived} {grown}");
}
