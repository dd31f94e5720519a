//! `check --connect`: what is wrong around the service is named, each fault once, and nothing that is well.

use serde_json::{Value, json};

use crate::harness::acls::{Rule, operation, resource};
use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::certificates::Authority;
use crate::harness::command::{Ended, run};
use crate::harness::kafka::free_port;
use crate::harness::names::Topics;
use crate::harness::secured_kafka::SecuredKafka;
use crate::harness::spec::{Spec, all, processor, proxy};
use crate::harness::tls_backend::TlsBackend;
use crate::harness::topics::{create_limited_topic, create_topic, set_topic};

const USER: &str = "checker";
const PASSWORD: &str = "s3cret-of-checker";
const REQUESTS: &[&str] = &["Read", "Write", "DescribeConfigs"];

/// A finding, as the test names it: `stops missing-topic topic orders`.
fn findings(ended: &Ended) -> Vec<String> {
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let findings = report["findings"].as_array().expect("a list");
    let text = |finding: &Value, member: &str| finding[member].as_str().expect(member).to_owned();
    let mut findings: Vec<String> = findings
        .iter()
        .map(|finding| {
            ["severity", "kind", "subject"]
                .map(|member| text(finding, member))
                .join(" ")
        })
        .collect();
    findings.sort();
    findings
}

async fn check_json(spec: &Spec, mode: &str) -> Ended {
    run(spec, &["check", "--connect", "--json", "--mode", mode]).await
}

fn allow(kind: &str, name: &str, operations: &[&str]) -> Vec<Rule> {
    let (resource, name) = resource(kind, name);
    let rule = |wanted: &&str| Rule {
        principal: format!("User:{USER}"),
        resource,
        name: name.clone(),
        operation: operation(wanted),
        permission: crate::harness::acls::Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
    };
    operations.iter().map(rule).collect()
}

#[tokio::test]
async fn planted_faults_are_each_named_and_nothing_else() {
    let kafka = SecuredKafka::with_scram().await;
    kafka.set_user(USER, PASSWORD).await;
    // Two topics of each kind are well. Each other one has one fault.
    for (name, partitions, settings) in [
        ("well-requests", 2, &[][..]),
        ("well-responses", 2, &[]),
        ("small-requests", 2, &[("max.message.bytes", "100000")]),
        ("strict-requests", 2, &[("min.insync.replicas", "2")]),
        ("compacted-requests", 2, &[("cleanup.policy", "compact")]),
        ("brief-requests", 2, &[("retention.ms", "1000")]),
        ("narrow-responses", 1, &[]),
        ("unreadable-responses", 2, &[]),
        ("unwritable-requests", 2, &[]),
        ("opaque-requests", 2, &[]),
    ] {
        kafka.create_topic(name, partitions, settings).await;
    }
    let sent = [
        "well-requests",
        "small-requests",
        "strict-requests",
        "compacted-requests",
        "brief-requests",
        "missing-requests",
    ];
    let mut rules: Vec<Rule> = sent.iter().flat_map(|name| allow("topic", name, REQUESTS)).collect();
    rules.extend(allow("topic", "well-responses", REQUESTS));
    rules.extend(allow("topic", "well-requests-control", &["Write"]));
    rules.extend(allow("topic", "narrow-responses", &["Read", "DescribeConfigs"]));
    rules.extend(allow("topic", "unreadable-responses", &["Write", "DescribeConfigs"]));
    rules.extend(allow("topic", "unwritable-requests", &["Read", "DescribeConfigs"]));
    // Neither DescribeConfigs nor, on the last topic, anything at all.
    rules.extend(allow("topic", "opaque-requests", &["Write"]));
    for group in ["well-group", "crowded-group", "encrypted-group"] {
        rules.extend(allow("group", group, &["Read"]));
    }
    rules.extend(allow("group", "unjoinable-group", &["Describe"]));
    kafka.allow(rules).await;

    let routes = |pairs: &[(&str, &str)]| -> Value {
        let route = |(index, (request, response)): (usize, &(&str, &str))| {
            // The first one's answers are streamed, where its control topic allows that.
            let streaming = if index == 0 { "auto" } else { "off" };
            // In the json format a body has to fit into its record.
            let format = if *request == "small-requests" { "json" } else { "native" };
            json!({
                "path": format!("/{index}"),
                "request_topic": request,
                "response_topic": response,
                "streaming": streaming,
                "wire_format": format,
            })
        };
        pairs.iter().enumerate().map(route).collect()
    };
    let authority = Authority::for_days(100);
    let expiring = TlsBackend::start(&authority.issue_until("localhost", 3), None);
    let well = Backend::echo().await;
    let failing = Backend::start(|_| Answer::status(503)).await;
    let topic = |group: &str, backend: &str, workers: u32| {
        json!({
            "name": group,
            "request_topic": "well-requests",
            "response_topic": "well-responses",
            "backend_url": backend,
            "consumer_group": group,
            "workers": workers,
            "streaming": "off",
        })
    };
    let mut encrypted = topic("encrypted-group", &expiring.url_by_name(), 1);
    encrypted["tls"] = json!({"ca": authority.file()});
    let unreachable = unreachable_url();
    let spec = all(&Topics::unique("unused"), "http://unused")
        .on(kafka.brokers())
        .set("kafka.properties", kafka.scram(USER, PASSWORD))
        .set("instance_id", "orders-1")
        .set("warmup_topics", json!([]))
        .set("create_topics.enabled", false)
        .set("streaming", "off")
        // So that bodies fit into records. What a processor takes, others decide.
        .set("max_body_size", 500_000)
        .set(
            "routes",
            routes(&[
                ("well-requests", "well-responses"),
                ("small-requests", "well-responses"),
                ("strict-requests", "unreadable-responses"),
                ("compacted-requests", "well-responses"),
                ("brief-requests", "narrow-responses"),
                ("missing-requests", "well-responses"),
                ("unwritable-requests", "well-responses"),
                ("opaque-requests", "well-responses"),
                ("hidden-requests", "well-responses"),
            ]),
        )
        .set(
            "topics",
            json!([
                topic("well-group", &well.url(), 2),
                topic("crowded-group", &failing.url(), 3),
                topic("unjoinable-group", &unreachable, 1),
                encrypted,
            ]),
        );
    let ended = check_json(&spec, "all").await;
    assert_eq!(ended.code, Some(69), "{ended:?}");
    let brokers = kafka.brokers();
    let mut expected = vec![
        "stops missing-topic topic missing-requests".to_owned(),
        "stops missing-right topic unreadable-responses".into(),
        "stops missing-right topic unwritable-requests".into(),
        "stops missing-right topic hidden-requests".into(),
        "stops missing-right group unjoinable-group".into(),
        "warns missing-right topic opaque-requests".into(),
        "warns missing-topic topic well-requests-control".into(),
        "warns missing-right topic well-requests-bodies".into(),
        "warns record-size topic small-requests".into(),
        "stops replication topic strict-requests".into(),
        "stops compaction topic compacted-requests".into(),
        "warns retention topic brief-requests".into(),
        "warns partitions topic narrow-responses".into(),
        "warns partitions group crowded-group".into(),
        format!("stops backend backend {unreachable}"),
        format!("warns backend backend {}", failing.url()),
        format!("warns certificate certificate of {}", expiring.url_by_name()),
        // Those of this Kafka are good for a day.
        format!("warns certificate certificate of {brokers}"),
        format!("warns certificate certificate {}", kafka.authority.file().display()),
    ];
    expected.sort();
    assert_eq!(findings(&ended), expected, "{}", ended.out);
    let table = run(&spec, &["check", "--connect", "--mode", "all"]).await;
    assert_eq!(table.code, Some(69));
    table.assert_shows(&[
        "ok     topic well-requests",
        "--operation Read --topic unreadable-responses",
        "8 stop traffic, 11 warn",
    ]);
    assert!(!table.text().contains(PASSWORD));

    // A password that is wrong is one finding, and nothing else is known.
    let spec = spec.set("kafka.properties", kafka.scram(USER, "wrong"));
    let ended = check_json(&spec, "proxy").await;
    assert_eq!(ended.code, Some(69), "{ended:?}");
    let kafkas = format!("stops kafka kafka {brokers}");
    assert!(findings(&ended).contains(&kafkas), "{ended:?}");
    ended.assert_shows(&["SASL authentication error"]);
    assert!(
        !findings(&ended).iter().any(|finding| finding.contains("topic")),
        "{ended:?}"
    );
}

#[tokio::test]
async fn what_is_well_or_is_made_at_the_start_stops_nothing() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]).set_topics("streaming", "off");
    let ended = check_json(&spec, "processor").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        findings(&ended),
        [format!("warns missing-topic topic {}", topics.response)]
    );
    create_topic(&topics.response, 2).await;
    assert_eq!(findings(&check_json(&spec, "processor").await), [""; 0]);
    let required = spec
        .clone()
        .set_topics("streaming", "required")
        .set("create_topics.enabled", false);
    let ended = check_json(&required, "processor").await;
    assert_eq!(
        findings(&ended),
        [format!("stops missing-topic topic {}-control", topics.request)]
    );
    let proxy = || proxy(&topics).set("streaming", "off").set("max_body_size", 500_000);
    let ended = run(&proxy(), &["check", "--connect", "--mode", "proxy"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.assert_shows(&["0 stop traffic, 0 warn, 3 ok"]);
    // Where bodies may be larger than a record, they need a topic.
    let ended = check_json(&proxy().unset("max_body_size"), "proxy").await;
    assert_eq!(
        findings(&ended),
        [format!("warns missing-topic topic {}-bodies", topics.request)]
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Nothing was created, and the same again finds the same.
    set_topic(&topics.response, "retention.ms", "100").await;
    let ended = check_json(&proxy(), "proxy").await;
    assert_eq!(findings(&ended), [format!("warns retention topic {}", topics.response)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Topics that are too small for what is written to them. Each of these carries nothing, or not everything, and no topic is at fault else.
#[tokio::test]
async fn a_topic_that_is_too_small_is_named_whoever_writes_to_it() {
    let backend = Backend::echo().await;
    let bodies = |topics: &Topics| format!("{}-bodies", topics.request);
    // The limit of the request topic, of the topic of bodies (0: there is none), of the reply topic and of the dead letters; what is at fault.
    type Faults = fn(&Topics) -> Vec<String>;
    let well = 1_000_000;
    let cases: [([usize; 4], Faults); 6] = [
        ([well; 4], |_| vec![]),
        ([30_000, 0, well, well], |topics| {
            vec![
                format!("warns missing-topic topic {}-bodies", topics.request),
                format!("warns record-size topic {}", topics.request),
            ]
        }),
        ([1_000, 1_000, well, well], |topics| {
            vec![
                format!("warns record-size topic {}", topics.request),
                format!("warns record-size topic {}-bodies", topics.request),
            ]
        }),
        ([well, well, 1_000, well], |topics| {
            vec![format!("warns record-size topic {}", topics.response)]
        }),
        ([well, 1_000, well, well], |topics| {
            vec![format!("warns record-size topic {}-bodies", topics.request)]
        }),
        ([well, well, well, 1_000], |topics| {
            vec![format!("warns record-size topic {}-dead", topics.request)]
        }),
    ];
    for (limits, expected) in cases {
        let topics = Topics::unique("sizes");
        let dead = format!("{}-dead", topics.request);
        for (name, limit) in [&topics.request, &bodies(&topics), &topics.response, &dead]
            .into_iter()
            .zip(limits)
        {
            if limit > 0 {
                create_limited_topic(name, limit).await;
            }
        }
        let spec = all(&topics, &backend.url())
            .set("streaming", "off")
            .set("create_topics.enabled", false)
            .set("dead_letter_topic", dead.as_str())
            .set_topics("workers", 1);
        let ended = check_json(&spec, "all").await;
        assert_eq!(findings(&ended), expected(&topics), "{limits:?} {}", ended.out);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    // Bodies that fit into a record of the producer's, but not into one of this topic, need a topic of bodies.
    let topics = Topics::unique("sizes");
    create_limited_topic(&topics.request, 100_000).await;
    create_topic(&topics.response, 1).await;
    let spec = proxy(&topics).set("streaming", "off").set("max_body_size", 500_000);
    assert_eq!(
        findings(&check_json(&spec, "proxy").await),
        [format!("warns missing-topic topic {}", bodies(&topics))]
    );
    let spec = spec.set("max_body_size", 30_000);
    assert_eq!(findings(&check_json(&spec, "proxy").await), [""; 0]);
}

#[tokio::test]
async fn a_topic_that_nobody_needed_yet_is_not_said_to_be_well() {
    let topics = Topics::unique("orders");
    create_topic(&topics.request, 2).await;
    create_topic(&topics.response, 2).await;
    let backend = Backend::echo().await;
    let spec = processor(&[(&topics, &backend.url())]).set_topics("streaming", "off");
    let ended = run(&spec, &["check", "--connect", "--mode", "processor"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.assert_shows(&[&format!("none   topic {}-bodies", topics.request)]);
    assert!(
        !ended.out.contains(&format!("ok     topic {}-bodies", topics.request)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn settings_that_are_faulty_are_findings_for_programs_too() {
    let spec = proxy(&Topics::unique("orders")).set("port", "eighty").set("prot", 1);
    let ended = check_json(&spec, "proxy").await;
    assert_eq!(ended.code, Some(64), "{ended:?}");
    assert_eq!(
        findings(&ended),
        ["stops settings setting port", "stops settings setting prot"]
    );
}

#[tokio::test]
async fn a_kafka_that_nobody_answers_for_is_named_once() {
    let nowhere = format!("127.0.0.1:{}", free_port());
    let ended = check_json(&proxy(&Topics::unique("orders")).on(&*nowhere), "proxy").await;
    assert_eq!(ended.code, Some(69), "{ended:?}");
    assert_eq!(findings(&ended), [format!("stops kafka kafka {nowhere}")]);
    ended.assert_shows(&["Connection refused"]);
}
