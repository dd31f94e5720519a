//! Another configuration while the service runs: taken over whole or not at all, and no request notices.

/// What a reload does not apply.
mod refused;

use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::backend::{Answer, Backend};
use crate::harness::binary;
use crate::harness::client::{self, Request};
use crate::harness::load::{Load, OnClose};
use crate::harness::management::TOKEN;
use crate::harness::names::Topics;
use crate::harness::service::Service;
use crate::harness::spec::{processor, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::{eventually, long};

/// SHA-256 of `first` and of `second`.
const FIRST: &str = "orders:a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
const SECOND: &str = "orders:16367aacb67a4a017c8da8ab95682ccb390863780f7114dda0a0e0c55644c7c4";

fn route(path: &str, topics: &Topics) -> Value {
    json!({ "path": path, "request_topic": topics.request, "response_topic": topics.response })
}

fn topic(topics: &Topics, backend: &Backend) -> Value {
    json!({
        "request_topic": topics.request,
        "response_topic": topics.response,
        "backend_url": backend.url(),
        "consumer_group": topics.group,
    })
}

fn to_orders(body: String) -> Request {
    Request::post("/orders", body)
}

/// A proxy with one route, whose status can be seen.
async fn routed(topics: &Topics) -> Service {
    proxy(topics)
        .set("routes", json!([route("/orders", topics)]))
        .set("management_port", 1)
        .start()
        .await
}

async fn configuration(service: &Service) -> Value {
    service.manage("/status").await.json()["configuration"].clone()
}

#[tokio::test]
async fn under_load_no_request_fails_whatever_is_changed() {
    let (orders, users) = (Topics::unique("orders"), Topics::unique("users"));
    let backend = Backend::start(|received| Answer::same_body(received).after(Duration::from_millis(5))).await;
    let processor = processor(&[(&orders, &backend.url())]).start().await;
    let proxy = routed(&orders).await;
    let load = Load::start(&proxy.address(), 8, OnClose::Leave, to_orders);
    load.wait_for_more(50).await;

    for round in 0..if long() { 20 } else { 3 } {
        proxy.configure(|config| {
            config["max_pending"] = json!(5000 + round);
            config["max_body_size"] = json!("2MB");
            config["rate_limit"] = json!(100_000 + round);
            config["routes"] = json!([route("/users", &users), route("/orders", &orders)]);
        });
        proxy.reload("applied").await;
        load.wait_for_more(20).await;
        // Another topic comes, and the one under load stays as it is.
        processor.configure(|config| config["topics"] = json!([topic(&orders, &backend), topic(&users, &backend)]));
        processor.reload("applied").await;
        load.wait_for_more(20).await;
        let users_are_served = proxy.request(Request::post("/users", "a user")).await;
        assert_eq!(
            (users_are_served.status, users_are_served.text()),
            (200, "a user".into())
        );
        // The one under load changes: others work on it from now on.
        processor.configure(|config| {
            config["topics"][0]["timeout"] = json!(20 + round);
            config["topics"].as_array_mut().expect("a list").truncate(1);
        });
        processor.reload("applied").await;
        load.wait_for_more(20).await;
        proxy.configure(|config| config["routes"] = json!([route("/orders", &orders)]));
        proxy.reload("applied").await;
        load.wait_for_more(20).await;
        proxy
            .request(Request::get("/users"))
            .await
            .assert_problem(404, "no-route");
    }

    let report = load.finish().await;
    println!(
        "{} requests under reloads, {} failed, the slowest took {:?}",
        report.answered,
        report.failures.len(),
        report.slowest
    );
    assert_eq!(report.failures, Vec::<String>::new());
}

#[tokio::test]
async fn a_topic_that_is_removed_finishes_what_it_has() {
    let (orders, users) = (Topics::unique("orders"), Topics::unique("users"));
    let (open, gate) = watch::channel(false);
    let backend = Backend::start(move |received| Answer::same_body(received).until(&gate)).await;
    let processor = processor(&[(&orders, &backend.url()), (&users, &backend.url())])
        .set("management_token", TOKEN)
        .start()
        .await;
    let proxy = proxy(&orders)
        .set("routes", json!([route("/orders", &orders), route("/users", &users)]))
        .start()
        .await;
    let mut waiting = proxy.leave_waiting(&Request::post("/users", "slow")).await;
    backend.wait_for_calls(1).await;

    processor.configure(|config| config["topics"] = json!([topic(&orders, &backend)]));
    processor.reload("applied").await;
    proxy.configure(|config| config["routes"] = json!([route("/orders", &orders)]));
    proxy.reload("applied").await;
    proxy
        .request(Request::get("/users"))
        .await
        .assert_problem(404, "no-route");
    let status = processor.manage("/status").await.json();
    assert!(status["topics"][&users.request].is_null(), "{status}");
    assert_eq!(status["configured_topics"], 1, "{status}");

    open.send_replace(true);
    let answer = waiting
        .read_response(false)
        .await
        .expect("the call under way is answered");
    assert_eq!((answer.status, answer.text()), (200, "slow".into()));
    eventually("its worker has ended", async || {
        match processor.logged("a worker ended") {
            1 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    let actors = processor.manage("/status").await.json()["actors"].clone();
    assert!(!actors.to_string().contains(&users.request), "{actors}");
    assert_eq!(proxy.request(Request::post("/orders", "goes on")).await.status, 200);
    processor.assert_no_restarts().await;
}

#[tokio::test]
async fn keys_and_the_log_level_change() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = proxy(&topics)
        .set("auth", json!({"methods": "api-key", "api_keys": FIRST}))
        .start()
        .await;
    let asked = async |key: &str| {
        let request = Request::post("/", "x").header("X-Api-Key", key);
        proxy.request(request).await.status
    };
    assert_eq!((asked("first").await, asked("second").await), (200, 401));
    proxy.configure(|config| config["auth"]["api_keys"] = json!(SECOND));
    proxy.reload("applied").await;
    assert_eq!((asked("first").await, asked("second").await), (401, 200));

    // The reload that asks for warnings alone is not logged any more; the one that ends that is.
    proxy.configure(|config| config["log"] = json!({"level": "warn"}));
    proxy.reload("applied").await;
    proxy.configure(|config| {
        config["log"] = json!({"level": "info"});
        config["max_pending"] = json!(777);
    });
    proxy.reload("applied").await;
    eventually("the last reload is logged", async || {
        match proxy.logged("changed=\"log.level, max_pending") {
            0 => Err(proxy.log()),
            _ => Ok(()),
        }
    })
    .await;
    assert_eq!(proxy.logged("the configuration was read again"), 2);
}

#[tokio::test]
async fn sealing_keys_are_changed_while_requests_come() {
    let topics = Topics::unique("orders");
    let key = |id: &str| json!({"id": id, "secret": id.repeat(40)});
    let sealing = |keys: &[&str]| json!({"keys": keys.iter().map(|id| key(id)).collect::<Vec<_>>()});
    let backend = Backend::start(Answer::same_body).await;
    let processor = processor(&[(&topics, &backend.url())])
        .set("sealing", sealing(&["A"]))
        .start()
        .await;
    let proxy = proxy(&topics)
        .set("sealing", sealing(&["A"]))
        .set("routes", json!([route("/orders", &topics)]))
        .start()
        .await;
    let load = Load::start(&proxy.address(), 4, OnClose::Leave, to_orders);
    load.wait_for_more(20).await;
    // First everybody opens with the new one, then everybody seals with it, then the old one goes.
    for keys in [["A", "B"].as_slice(), &["B", "A"], &["B"]] {
        for service in [&processor, &proxy] {
            service.configure(|config| config["sealing"] = sealing(keys));
            service.reload("applied").await;
        }
        load.wait_for_more(20).await;
    }
    let report = load.finish().await;
    assert_eq!(report.failures, Vec::<String>::new());
}

#[tokio::test]
async fn files_that_are_swapped_below_a_link_are_read_by_themselves() {
    let (topics, dir) = (Topics::unique("orders"), TempDir::new());
    let proxy = proxy(&topics)
        .set("routes", json!([route("/orders", &topics)]))
        .set("management_port", 1)
        .set("watch_files", true)
        .start()
        .await;
    // As Kubernetes mounts a ConfigMap: the file is a link to `..data/config.yaml`, and `..data` a link to a directory that is exchanged.
    let version = |name: &str, config: &Value| {
        std::fs::create_dir(dir.path().join(name)).expect("a directory");
        dir.write(&format!("{name}/config.yaml"), &format!("{config:#}"));
    };
    let data = dir.path().join("..data");
    let mut config = proxy.config();
    version("..one", &config);
    symlink("..one", &data).expect("a link");
    std::fs::remove_file(proxy.config_file()).expect("the file is there");
    symlink(data.join("config.yaml"), proxy.config_file()).expect("a link");

    config["routes"] = json!([route("/moved", &topics)]);
    version("..two", &config);
    symlink("..two", dir.path().join("..data_tmp")).expect("a link");
    std::fs::rename(dir.path().join("..data_tmp"), &data).expect("the link is exchanged");
    let address = proxy.address();
    eventually("the route has moved", async || {
        match client::request(&address, Request::get("/orders")).await.status {
            404 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(proxy.metrics().await.sum("config_reloads_total", &[]), 1.0);
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_configuration_that_does_not_come() {
    let topics = Topics::unique("orders");
    let proxy = routed(&topics).await;
    let file = proxy.config_file();
    std::fs::remove_file(&file).expect("the file is there");
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.expect("mkfifo runs").success());
    binary::signal("HUP", proxy.pid());
    // Whoever opens a pipe to write without waiting is refused until somebody reads.
    let _writer = eventually("the configuration is read", async || {
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).custom_flags(libc::O_NONBLOCK).open(&file);
        opened.map_err(|error| error.to_string())
    })
    .await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_level_that_an_operator_has_set_stays_until_another_one_is_configured() {
    let topics = Topics::unique("orders");
    let proxy = proxy(&topics)
        .set("routes", json!([route("/orders", &topics)]))
        .set("management_port", 1)
        .set("management_token", TOKEN)
        .start()
        .await;
    let quiet = Request::new("PUT", "/log/level")
        .body(client::Body::Sized(r#"{"level": "warn"}"#.into()))
        .header("Content-Type", "application/json")
        .header("Authorization", format!("Bearer {TOKEN}"));
    assert_eq!(client::request(&proxy.management_address(), quiet).await.status, 200);
    proxy.configure(|config| config["max_pending"] = json!(7000));
    proxy.reload("applied").await;
    assert_eq!(proxy.logged("the configuration was read again"), 0, "{}", proxy.log());
    proxy.configure(|config| config["log"] = json!({"level": "debug"}));
    proxy.reload("applied").await;
    eventually("what is configured holds again", async || {
        match proxy.logged("the configuration was read again") {
            1 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}
