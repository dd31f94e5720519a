//! Secrets that are read again while the process runs.

use crate::harness::backend::Backend;
use crate::harness::binary::signal;
use crate::harness::client::{self, Request};
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::processor;
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::eventually;

async fn status_with(service: &Service, token: &str) -> u16 {
    let request = Request::get("/status").header("Authorization", format!("Bearer {token}"));
    client::request(&service.management_address(), request).await.status
}

#[tokio::test]
async fn sighup_replaces_the_management_token_and_names_what_needs_a_restart() {
    let (dir, topics, backend) = (TempDir::new(), Topics::unique("orders"), Backend::echo().await);
    let file = dir.write("token", "the-first-t0ken-of-all\n");
    let password = dir.write("password", "s3cret-1\n");
    let reference = |file: &std::path::Path| format!("${{file:{}}}", file.display());
    let mut service = processor(&[(&topics, &backend.url())])
        .set("management_token", reference(&file))
        .set(
            "kafka.properties",
            serde_json::json!({"sasl.password": reference(&password)}),
        )
        .start()
        .await;
    assert_eq!(status_with(&service, "the-first-t0ken-of-all").await, 200);

    // What cannot be used changes nothing.
    dir.write("token", "short\n");
    signal("HUP", service.pid());
    eventually("the faulty token is told", async || {
        match service.logged("the configuration is refused") {
            1 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
    assert_eq!(status_with(&service, "the-first-t0ken-of-all").await, 200);

    dir.write("token", "the-second-t0ken-of-all\n");
    dir.write("password", "s3cret-2\n");
    signal("HUP", service.pid());
    eventually("the new token works", async || {
        match status_with(&service, "the-second-t0ken-of-all").await {
            200 => Ok(()),
            other => Err(format!("{other}")),
        }
    })
    .await;
    assert_eq!(status_with(&service, "the-first-t0ken-of-all").await, 401);
    service.assert_running();
    let log = service.log();
    assert!(
        log.contains("need a restart") && log.contains("kafka.properties.sasl.password"),
        "{log}"
    );
    assert!(!log.contains("s3cret-") && !log.contains("t0ken-of-all"), "{log}");
    service.stop().await;
}
