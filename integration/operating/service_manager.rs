//! What systemd and container engines learn of a process: `sd_notify`, and the command `health`.

use std::process::Stdio;

use serde_json::json;

use crate::harness::backend::{Backend, unreachable_url};
use crate::harness::binary::command;
use crate::harness::certificates::Authority;
use crate::harness::command::{Ended, run_with};
use crate::harness::kafka::free_port;
use crate::harness::names::Topics;
use crate::harness::service_manager::ServiceManager;
use crate::harness::spec::{processor, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::{eventually, off_thread};

#[tokio::test]
async fn readiness_life_and_the_end_are_told() {
    let manager = ServiceManager::new();
    let mut proxy = manager.of(proxy(&Topics::unique("orders"))).start().await;
    let (manager, heard) = off_thread(move || {
        let heard = manager.hears_until("READY=1");
        (manager, heard)
    })
    .await;
    assert_eq!(proxy.health("/health/ready").await, Some(200), "{heard:?}");
    let manager = off_thread(move || {
        manager.hears_until("STATUS=ready");
        // Fed again and again.
        manager.hears_until("WATCHDOG=1");
        manager.hears_until("WATCHDOG=1");
        manager
    })
    .await;
    proxy.signal("TERM");
    let stopping = off_thread(move || manager.hears_until("STOPPING=1").pop()).await;
    // drain_timeout is 60 s here.
    let micros = stopping
        .as_deref()
        .and_then(|text| text.split_once("EXTEND_TIMEOUT_USEC="));
    let micros: u64 = micros.and_then(|(_, micros)| micros.parse().ok()).expect("a number");
    assert!(micros > 60_000_000, "{stopping:?}");
    assert_eq!(proxy.wait_exit().await, Some(0));
}

#[tokio::test]
async fn a_process_that_is_not_ready_says_why() {
    let manager = ServiceManager::new();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let proxy = manager.of(proxy(&Topics::unique("orders")).on(nowhere)).launch().await;
    let heard = off_thread(move || manager.hears_until("STATUS=not ready: ")).await;
    assert!(!heard.iter().any(|text| text.starts_with("READY")), "{heard:?}");
    assert!(heard.concat().contains("Kafka does not answer"), "{heard:?}");
    proxy.signal("KILL");
}

/// Runs `health` with the settings of a process.
async fn health(mode: &str, config: &serde_json::Value, more: &[&str]) -> Ended {
    let arguments = [&["health", "--mode", mode], more].concat();
    run_with(&arguments, &config.to_string(), &[]).await
}

#[tokio::test]
async fn the_command_tells_whether_the_process_is_ready() {
    let (topics, backend) = (Topics::unique("orders"), Backend::echo().await);
    let processor = processor(&[(&topics, &backend.url())]).start().await;
    let port = |address: String| -> u16 {
        address
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port")
    };
    let of = |port: u16| {
        json!({
            "management_port": port,
            "topics": [{"request_topic": "a", "response_topic": "b", "backend_url": unreachable_url()}],
        })
    };
    let running = of(port(processor.management_address()));
    eventually("ready", async || match health("processor", &running, &[]).await {
        ended if ended.code == Some(0) => Ok(()),
        ended => Err(format!("{ended:?}")),
    })
    .await;
    // Nobody is there.
    let ended = health("processor", &of(free_port()), &[]).await;
    assert_eq!(ended.code, Some(69), "{ended:?}");
    ended.assert_shows(&["does not answer"]);
    // No port is configured.
    let ended = health("processor", &of(0), &[]).await;
    assert_eq!(ended.code, Some(64), "{ended:?}");

    // Not ready, with the reasons; but it turns. A proxy without a management port is asked on its own.
    let nowhere = format!("127.0.0.1:{}", free_port());
    let proxy = proxy(&topics).on(nowhere.clone()).launch().await;
    let config = json!({"bind": "127.0.0.1", "port": port(proxy.address())});
    let ended = health("proxy", &config, &[]).await;
    assert_eq!(ended.code, Some(69), "{ended:?}");
    ended.assert_shows(&["Kafka does not answer"]);
    assert_eq!(health("proxy", &config, &["--live"]).await.code, Some(0));
    proxy.signal("KILL");

    let authority = Authority::new();
    // And over TLS, whatever the name of its certificate.
    let identity = authority.issue("proxy.example");
    let config = json!({
        "kafka": {"bootstrap_servers": nowhere},
        "bind": "127.0.0.1",
        "port": free_port(),
        "tls": {"cert": identity.cert_file, "key": identity.key_file},
    });
    let file = TempDir::new();
    let file = (file.write("config.yaml", &config.to_string()), file);
    let mut process = command();
    process
        .args(["--mode", "proxy", "--config"])
        .arg(&file.0)
        .kill_on_drop(true);
    let _process = process.stderr(Stdio::null()).spawn().expect("it runs");
    eventually("it turns", async || match health("proxy", &config, &["--live"]).await {
        ended if ended.code == Some(0) => Ok(()),
        ended => Err(format!("{ended:?}")),
    })
    .await;
    assert_eq!(health("proxy", &config, &[]).await.code, Some(69));
}
