//! What a reload does not apply: it is refused, or named as what needs a restart.

use serde_json::json;

use super::{configuration, route, routed};
use crate::harness::backend::Backend;
use crate::harness::client::Request;
use crate::harness::names::Topics;
use crate::harness::spec::{processor, proxy};

#[tokio::test]
async fn a_bad_file_is_refused_with_every_fault_and_the_old_one_serves() {
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let _processor = processor(&[(&topics, &backend.url())]).start().await;
    let proxy = routed(&topics).await;
    assert_eq!(proxy.request(Request::post("/orders", "before")).await.status, 200);
    let before = configuration(&proxy).await;
    assert!(before["refused"].is_null(), "{before}");

    let good = proxy.config();
    proxy.configure(|config| {
        config["max_pending"] = json!(0);
        config["rate_limitt"] = json!(5);
        config["routes"] = json!([route("orders", &topics)]);
    });
    proxy.reload("refused").await;
    let after = configuration(&proxy).await;
    assert_eq!(
        (&after["digest"], &after["since"]),
        (&before["digest"], &before["since"])
    );
    let faults = after["refused"]["faults"].as_array().expect("a list").clone();
    assert_eq!(faults.len(), 3, "{after}");
    for fault in ["max_pending: ", "rate_limitt: ", "routes[0].path: "] {
        assert!(after["refused"].to_string().contains(fault), "{fault} {after}");
        assert_eq!(proxy.logged(&format!("fault={fault}")), 1, "{fault}");
    }
    assert_eq!(proxy.request(Request::post("/orders", "still")).await.status, 200);

    // The same file, mended.
    proxy.configure(|config| {
        *config = good;
        config["routes"][0]["path"] = json!("/elsewhere");
    });
    proxy.reload("applied").await;
    let mended = configuration(&proxy).await;
    assert!(
        mended["refused"].is_null() && mended["digest"] != before["digest"],
        "{mended}"
    );
    assert_eq!(proxy.request(Request::post("/elsewhere", "moved")).await.status, 200);
    proxy
        .request(Request::get("/orders"))
        .await
        .assert_problem(404, "no-route");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_applied() {
    let topics = Topics::unique("orders");
    let proxy = routed(&topics).await;
    proxy.configure(|config| {
        config["max_connections"] = json!(77);
        config["kafka"]["properties"] = json!({"sasl.password": "s3cret"});
        config["max_body_size"] = json!(3);
    });
    proxy.reload("applied").await;
    let now = configuration(&proxy).await;
    assert_eq!(
        now["needs_restart"],
        json!(["kafka.properties.sasl.password", "max_connections"]),
        "{now}"
    );
    assert_eq!(now["files"], json!([proxy.config_file().display().to_string()]));
    proxy
        .request(Request::post("/orders", "four"))
        .await
        .assert_problem(413, "body-too-large");
    let log = proxy.log();
    assert!(log.contains("kafka.properties.sasl.password, max_connections"), "{log}");
    assert!(!log.contains("s3cret"), "{log}");
}

#[tokio::test]
async fn what_of_asynchronous_routes_changes_is_refused_and_of_the_proxy_needs_a_restart() {
    let topics = Topics::unique("orders");
    let mut jobs = route("/jobs", &topics);
    jobs["async"] = json!("allowed");
    let proxy = proxy(&topics)
        .set("routes", json!([jobs]))
        .set("management_port", 1)
        .start()
        .await;
    let as_it_was = proxy.config();
    for (key, value) in [
        ("async", json!("required")),
        ("async_timeout", json!("5m")),
        ("results_topic", json!(format!("{}-others", topics.response))),
        ("results_retention", json!("48h")),
    ] {
        proxy.configure(|config| config["routes"][0][key] = value.clone());
        proxy.reload("refused").await;
        let faults = configuration(&proxy).await["refused"]["faults"].clone();
        assert!(
            faults[0].as_str().is_some_and(|fault| fault.starts_with("routes: ")),
            "{key}: {faults}"
        );

        proxy.configure(|config| {
            *config = as_it_was.clone();
            config[key] = value;
        });
        proxy.reload("applied").await;
        assert_eq!(configuration(&proxy).await["needs_restart"], json!([key]));
        proxy.configure(|config| *config = as_it_was.clone());
    }
    let job = Request::post("/jobs", "later").header("Prefer", "respond-async");
    assert_eq!(proxy.request(job).await.status, 202);
}
