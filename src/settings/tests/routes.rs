//! Routes: what they inherit, and what is refused.

use super::*;

#[test]
fn what_a_route_does_not_say_the_proxy_does() {
    let yaml = "request_topic: a\nresponse_topic: b\ndefault_timeout: 1.5\nroutes: [{path: /x}]";
    let settings = loaded(Mode::Proxy, yaml, &[]).settings;
    let [route] = settings.proxy.routes.as_slice() else {
        panic!("one route")
    };
    assert_eq!(
        (route.request_topic.as_str(), route.response_topic.as_str()),
        ("a", "b")
    );
    assert_eq!(route.timeout, Duration::from_millis(1500));
    assert_eq!(route.wire_format, settings.proxy.wire_format);
    assert!(route.methods.is_empty() && route.key.is_none() && route.strip_prefix.is_none());
}

#[test]
fn what_a_route_says_is_read() {
    let yaml = "
routes:
  - path: /api/orders/{id}
    methods: [GET, POST]
    request_topic: orders-requests
    response_topic: orders-responses
    timeout: 90
    key: segment:id
    strip_prefix: /api/
  - {path: '/{tail}*', methods: 'GET,HEAD', key: 'header:X-Customer'}
";
    let settings = loaded(Mode::Proxy, yaml, &[]).settings;
    let proxy = &settings.proxy;
    let [orders, rest] = proxy.routes.as_slice() else {
        panic!("two routes")
    };
    assert_eq!(
        (orders.methods.join(" "), rest.methods.join(" ")),
        ("GET POST".into(), "GET HEAD".into())
    );
    assert_eq!(orders.key, Some(RecordKey::Segment("id".into())));
    assert_eq!(rest.key, Some(RecordKey::Header("x-customer".into())));
    assert_eq!(orders.strip_prefix.as_deref(), Some("/api"));
    assert_eq!(
        Vec::from_iter(proxy.request_topics()),
        ["common-requests", "orders-requests"]
    );
    assert_eq!(
        Vec::from_iter(proxy.reply_topics()),
        ["common-responses", "orders-responses"]
    );
    assert_eq!(proxy.longest_timeout(), Duration::from_secs(90));
    assert_eq!(settings.drain_timeout, Duration::from_secs(100));
}

#[test]
fn json_is_answered_on_any_partition() {
    let choice = |yaml: &str, topic: &str| loaded(Mode::Proxy, yaml, &[]).settings.proxy.reply_partition_of(topic);
    let (one, all) = (ReplyPartition::Number(3), ReplyPartition::All);
    let mixed = "reply_partition: 3\nroutes: [{path: /n, response_topic: n}, {path: /j, response_topic: j, wire_format: json}, \
                 {path: /b, response_topic: b}, {path: /c, response_topic: b, wire_format: json}]";
    for (yaml, topic, expected) in [
        ("reply_partition: 3", "any", one),
        ("reply_partition: 3\nwire_format: json", "any", all),
        (
            "reply_partition: 3\nwire_format: json\nroutes: [{path: /a, response_topic: a, wire_format: native}]",
            "a",
            one,
        ),
        (mixed, "n", one),
        (mixed, "j", all),
        (mixed, "b", all),
        // A warm-up topic, or one that a client may name.
        (mixed, "other", all),
        (&format!("{mixed}\ntopic_headers: true"), "n", all),
    ] {
        assert_eq!(choice(yaml, topic), expected, "{yaml}: {topic}");
    }
}

#[test]
fn topic_headers_are_for_proxies_without_routes() {
    for (yaml, honoured) in [
        ("", true),
        ("routes: []", true),
        ("topic_headers: false", false),
        ("routes: [{path: /}]", false),
        ("routes: [{path: /}]\ntopic_headers: true", true),
    ] {
        assert_eq!(
            loaded(Mode::Proxy, yaml, &[]).settings.proxy.topic_headers,
            honoured,
            "{yaml}"
        );
    }
}

#[test]
fn every_fault_of_a_route_is_reported() {
    let yaml = "
routes:
  - {path: 'orders/{id}', methods: [get], timeout: 0, key: cookie:a, strip_prefix: api}
  - {methods: [CONNECT], request_topic: __x, patch: /a}
  - nonsense
";
    let expected = [
        "routes[1].patch: unknown key (nearest: path)",
        r#"routes[0].path: "orders/{id}" is not a path such as "/orders""#,
        r#"routes[0].methods[0]: "get" is not a method such as GET"#,
        r#"routes[0].timeout: "0" is not a duration above 0"#,
        r#"routes[0].key: "cookie:a" is not header:NAME, query:NAME or segment:NAME"#,
        r#"routes[0].strip_prefix: "api" is not the beginning of a path"#,
        "routes[1].path: is required",
        r#"routes[1].methods[0]: "CONNECT" is not a method such as GET"#,
        r#"routes[1].request_topic: "__x" is not a topic name"#,
        "routes[2]: is a mapping, not a value",
    ];
    let faults = faults(Mode::Proxy, yaml, &[]);
    for start in expected {
        assert!(
            faults.iter().any(|fault| fault.starts_with(start)),
            "{start}\nis not among\n{}",
            faults.join("\n")
        );
    }
    assert_eq!(faults.len(), expected.len(), "{}", faults.join("\n"));
}

#[test]
fn a_faulty_default_is_one_fault() {
    let yaml = "default_timeout: soon\nrequest_topic: a b\nroutes: [{path: /x}]";
    assert_eq!(faults(Mode::Proxy, yaml, &[]).len(), 2);
    assert_eq!(
        faults(Mode::Proxy, "routes: /orders", &[]),
        ["routes: is a list of mappings"]
    );
}

/// One route that does not fit with another setting, and the one fault it leads to.
#[test]
fn rules_across_routes() {
    for (routes, expected) in [
        (
            "{path: /a, request_topic: dead}",
            r#"dead_letter_topic: "dead" is the same as routes[0].request_topic"#,
        ),
        (
            "{path: '/{id}', key: 'segment:it'}",
            r#"routes[0].key: "/{id}" has no segment {it}"#,
        ),
        (
            "{path: '/apis/{id}', strip_prefix: /api}",
            r#"routes[0].strip_prefix: "/api" and a slash are not the beginning of "/apis/{id}""#,
        ),
        (
            "{path: /a}, {path: /b, response_topic: common-requests}",
            r#"routes[1].response_topic: "common-requests" is the same as routes[0].request_topic"#,
        ),
        (
            "{path: /a, methods: [GET]}, {path: /a}, {path: /a, methods: [PUT]}",
            r#"routes[2].path: "/a" is never reached: routes[1] takes all"#,
        ),
        (
            "{path: /a, methods: [GET, PUT]}, {path: /a, methods: [PUT]}",
            r#"routes[1].path: "/a" is never reached: routes[0] takes all"#,
        ),
        (
            "{path: /a, async: allowed, wire_format: json}",
            "routes[0].async: is allowed, and requests of routes[0].wire_format json are not accepted so",
        ),
        (
            "{path: /a, async: allowed, results_retention: 1m}",
            "routes[0].results_retention: 1m is below routes[0].async_timeout (1h)",
        ),
        (
            "{path: /a, async: required, results_topic: common-responses}",
            r#"routes[0].results_topic: "common-responses" is the same as response_topic"#,
        ),
    ] {
        let yaml = format!("dead_letter_topic: dead\nroutes: [{routes}]");
        let faults = faults(Mode::Proxy, &yaml, &[]);
        assert!(
            faults.len() == 1 && faults[0].starts_with(expected),
            "{expected}\n{}",
            faults.join("\n")
        );
    }
    let fine = "routes: [{path: /a, methods: [GET]}, {path: /a, methods: [GET, PUT]}, {path: '/{b}'}]";
    assert!(faults(Mode::Proxy, fine, &[]).is_empty());
}

#[test]
fn a_route_s_short_timeout_is_a_warning() {
    let yaml = "routes: [{path: /a, timeout: 2}, {path: /b, timeout: 60}, {path: /c}]";
    let Loaded { warnings, .. } = loaded(Mode::Proxy, yaml, &[]);
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("routes[0].timeout (2s) is not above 15s"),
        "{warnings:?}"
    );
}
