//! Keys that the configuration knows, and certificates of clients.

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::binary::signal;
use crate::harness::client::Request;
use crate::harness::command::check;
use crate::harness::curl::curl;
use crate::harness::digest::api_key;
use crate::harness::names::{Topics, unique};
use crate::harness::pair::Pair;
use crate::harness::records::Reader;
use crate::harness::spec::{Spec, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::tls::Authority;
use crate::harness::topics::{count, partitions};
use crate::harness::wait::eventually;

fn with_keys(spec: Spec) -> Spec {
    spec.set(
        "auth.api_keys",
        json!([api_key("orders-app", "s3cret-one"), api_key("orders-app", "s3cret-two")]),
    )
    .set("auth.principal_header", "X-Principal")
}

#[tokio::test]
async fn a_known_key_proves_who_asks_and_goes_no_further() {
    let pair = Pair::start_with(Backend::echo().await, with_keys).await;
    for key in ["s3cret-one", "s3cret-two"] {
        let request = Request::post("/orders", "body")
            .header("X-API-Key", key)
            .header("x-principal", "admin")
            .header("Authorization", "Basic dTpw");
        pair.request(request).await.assert_echo("body");
        let received = pair.backend.last();
        assert_eq!(received.all("x-api-key"), Vec::<String>::new());
        assert_eq!(received.all("x-principal"), ["orders-app"], "a client's own is dropped");
        assert_eq!(received.all("authorization"), ["Basic dTpw"], "it was not checked here");
    }
    for (request, detail) in [
        (Request::get("/"), "the request proves nothing about who asks"),
        (
            Request::get("/").header("X-API-Key", "s3cret-three"),
            "the key is not known here",
        ),
        (Request::get("/").header("X-API-Key", ""), "the key is not known here"),
        (
            Request::get("/")
                .header("X-API-Key", "s3cret-one")
                .header("X-API-Key", "s3cret-two"),
            "the key is not known here",
        ),
    ] {
        let refused = pair.request(request).await;
        refused.assert_problem(401, "unauthenticated");
        assert_eq!(refused.json()["detail"], detail);
        assert_eq!(refused.all("www-authenticate"), ["ApiKey realm=\"actix-khp\""]);
    }
    assert_eq!(pair.backend.count(), 2);
    let metrics = pair.proxy.metrics().await;
    assert_eq!(
        metrics.sum("proxy_rejected_total", &[("reason", "unauthenticated")]),
        4.0
    );
    assert!(!pair.proxy.log().contains("s3cret"), "{}", pair.proxy.log());
}

#[tokio::test]
async fn sighup_replaces_the_keys() {
    let dir = TempDir::new();
    let file = dir.write("keys", &api_key("orders-app", "the-first"));
    let pair = Pair::start_with(Backend::echo().await, |spec| {
        spec.set("auth.api_keys", format!("${{file:{}}}", file.display()))
    })
    .await;
    let ask = |key: &str| pair.request(Request::get("/").header("X-API-Key", key));
    assert_eq!(
        (ask("the-first").await.status, ask("the-second").await.status),
        (200, 401)
    );
    dir.write("keys", &api_key("orders-app", "the-second"));
    signal("HUP", pair.proxy.pid());
    eventually("the new key is known", async || match ask("the-second").await.status {
        200 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(ask("the-first").await.status, 401);
}

#[tokio::test]
async fn who_proves_nothing_costs_nothing_in_kafka() {
    let topics = Topics::unique("orders");
    let proxy = with_keys(proxy(&topics)).start().await;
    let named = unique("named-requests");
    let request = Request::post("/", "body")
        .header("X-API-Key", "wrong")
        .via(&named, &topics.response);
    proxy.request(request).await.assert_problem(401, "unauthenticated");
    proxy
        .request(Request::post("/", "body"))
        .await
        .assert_problem(401, "unauthenticated");
    assert_eq!(count(&topics.request), 0);
    // Whoever is known may have it made.
    let known = Request::post("/", "body")
        .header("X-API-Key", "s3cret-one")
        .via(&named, &topics.response);
    let reader = async {
        let _waiting = proxy.leave_waiting(&known).await;
        proxy.wait_for_metric("proxy_router_entries", &[], 1.0).await;
    };
    reader.await;
    assert_eq!(partitions(&named), 4);
    // Health asks nobody.
    assert_eq!(proxy.health("/health/live").await, Some(200));
}

#[tokio::test]
async fn a_route_may_ask_for_another_proof_or_for_none() {
    let topics = Topics::unique("orders");
    let route = |path: &str, auth: &str| json!({"path": path, "auth": [auth], "request_topic": topics.request, "response_topic": topics.response});
    let proxy = with_keys(proxy(&topics))
        .set("default_timeout", 16)
        .set("auth.pass_credentials", true)
        .set("routes", json!([route("/open", "none"), route("/{tail}*", "api-key")]))
        .start()
        .await;
    let reader = Reader::open(&topics.request);
    let open = proxy
        .leave_waiting(&Request::get("/open").header("X-API-Key", "passes"))
        .await;
    let record = reader.next().await;
    assert_eq!(record.header("khp-principal"), None);
    assert_eq!(record.header_text("x-api-key"), "passes");
    let request = Request::get("/x")
        .header("X-API-Key", "s3cret-one")
        .header("khp-principal", "admin");
    let closed = proxy.leave_waiting(&request).await;
    let record = reader.next().await;
    assert_eq!(record.header_text("khp-principal"), "orders-app");
    assert_eq!(record.header_text("x-principal"), "orders-app");
    assert_eq!(record.header_text("x-api-key"), "s3cret-one", "pass_credentials");
    drop((open, closed));
    proxy
        .request(Request::get("/x"))
        .await
        .assert_problem(401, "unauthenticated");
    proxy.wait_until_idle().await;
}

#[tokio::test]
async fn a_certificate_proves_its_subject() {
    let authority = Authority::new();
    let (identity, ca) = (authority.issue("localhost"), authority.file());
    let text = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let pair = Pair::start_with(Backend::echo().await, |spec| {
        spec.set("management_port", 1)
            .set("tls.cert", text(&identity.cert))
            .set("tls.key", text(&identity.key))
            .set("tls.client_ca", text(&ca))
            .set("tls.client_auth", "optional")
            .set("auth.client_subjects", json!(["CN=orders-*,O=Acme\\2C Inc."]))
            .set("auth.principal_header", "x-principal")
    })
    .await;
    let url = pair.proxy.address().replace("127.0.0.1", "https://localhost");
    let call = async |name: Option<&str>| {
        let shown = name.map(|name| authority.issue(name));
        let shown = shown.map(|shown| (text(&shown.cert), text(&shown.key)));
        let ca = text(&ca);
        let mut args = vec!["-i", "--http1.1", "--cacert", &ca, &url];
        if let Some((cert, key)) = &shown {
            args.extend(["--cert", cert, "--key", key]);
        }
        curl(&args).await.out
    };
    let allowed = call(Some("orders-7")).await;
    assert!(allowed.starts_with("HTTP/1.1 200 "), "{allowed}");
    assert_eq!(pair.backend.last().all("x-principal"), ["CN=orders-7,O=Acme\\2C Inc."]);
    let forbidden = call(Some("users")).await;
    assert!(
        forbidden.starts_with("HTTP/1.1 403 ") && forbidden.contains("\"forbidden\""),
        "{forbidden}"
    );
    let unknown = call(None).await;
    assert!(unknown.starts_with("HTTP/1.1 401 "), "{unknown}");
    assert!(
        unknown.contains("www-authenticate: ClientCertificate realm=\"actix-khp\""),
        "{unknown}"
    );
}

#[tokio::test]
async fn settings_that_cannot_work_are_faults() {
    for (yaml, said) in [
        ("auth: {methods: [jwt]}", "auth.methods: has jwt, which needs auth.jwks"),
        (
            "auth: {methods: [api-key]}",
            "auth.methods: has api-key, which needs auth.api_keys",
        ),
        (
            "auth: {methods: [client-certificate]}",
            "auth.methods: has client-certificate, which needs tls.client_ca",
        ),
        ("auth: {methods: []}", "auth.methods: is empty; none asks nobody"),
        (
            "auth: {methods: [none, jwt], jwks: 'https://a/b'}",
            "auth.methods: has none beside others",
        ),
        ("auth: {api_keys: ['orders:s3cret']}", "NAME:SHA256"),
        (
            "auth: {jwks: /nowhere/jwks.json}",
            "auth.jwks: /nowhere/jwks.json: No such file",
        ),
        ("auth: {required_claims: [a]}", "auth.required_claims: concerns tokens"),
        (
            "routes: [{path: /a, auth: [jwt]}]",
            "routes[0].auth: has jwt, which needs auth.jwks",
        ),
        (
            "auth: {principal_header: host}",
            "auth.principal_header: \"host\" is not a header's name",
        ),
    ] {
        let ended = check("proxy", yaml, &[]).await;
        assert_eq!(ended.code, Some(64), "{yaml}: {}", ended.text());
        ended.assert_shows(&["1 fault", said]);
    }
}
