//! Tokens, and the keys that they are signed with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::backend::{Answer, Backend, unreachable_url};
use crate::harness::client::Request;
use crate::harness::jwt::Issuer;
use crate::harness::names::Topics;
use crate::harness::pair::Pair;
use crate::harness::spec::{Spec, proxy};
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::{PATIENCE, eventually, within};

fn with_tokens(spec: Spec, jwks: &str) -> Spec {
    spec.set("auth.jwks", jwks)
        .set("auth.issuer", "https://login")
        .set("auth.audience", "shop")
        .set("auth.principal_header", "x-principal")
}

fn get(authorization: &str) -> Request {
    Request::get("/orders").header("Authorization", authorization)
}

#[tokio::test]
async fn a_token_proves_who_asks_and_goes_no_further() {
    let (issuer, stranger, dir) = (Issuer::new("one"), Issuer::new("one"), TempDir::new());
    let file = dir.write("jwks.json", &issuer.jwks());
    let topics = Topics::unique("orders");
    let backend = Backend::echo().await;
    let (request, response) = (topics.request.clone(), topics.response.clone());
    let route = |path: &str, claims: &[&str]| json!({"path": path, "required_claims": claims, "request_topic": request, "response_topic": response});
    let routes = json!([route("/admin", &["scope=admin"]), route("/{tail}*", &[])]);
    let _processor = crate::harness::spec::processor(&[(&topics, &backend.url())])
        .start()
        .await;
    let proxy = with_tokens(proxy(&topics), file.to_str().expect("UTF-8"))
        .set("routes", routes)
        .start()
        .await;
    eventually("the keys are there", async || {
        match proxy.request(get(&issuer.bearer(&json!({})))).await {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text()),
        }
    })
    .await;
    let received = backend.last();
    assert_eq!(received.all("authorization"), Vec::<String>::new());
    assert_eq!(received.all("x-principal"), ["orders"]);

    let expired = r#"Bearer realm="actix-khp", error="invalid_token", error_description="the token has expired""#;
    let endless = &expired.replace("the token has expired", "the token says nowhere when it expires");
    let early = &expired.replace("the token has expired", "the token is not valid yet");
    let invalid = r#"Bearer realm="actix-khp", error="invalid_token""#;
    for (authorization, challenge) in [
        (issuer.bearer(&json!({"exp": 1_700_000_000})), expired),
        (issuer.bearer(&json!({"exp": null})), endless),
        (issuer.bearer(&json!({"nbf": 4_000_000_000_u64})), early),
        (issuer.bearer(&json!({"aud": "else"})), invalid),
        (issuer.bearer(&json!({"iss": "https://else"})), invalid),
        (issuer.bearer(&json!({"sub": "a\u{7}"})), invalid),
        (stranger.bearer(&json!({})), invalid),
        (Issuer::new("two").bearer(&json!({})), invalid),
        ("Bearer nonsense".to_owned(), invalid),
        ("Basic dTpw".to_owned(), r#"Bearer realm="actix-khp""#),
    ] {
        let refused = proxy.request(get(&authorization)).await;
        refused.assert_problem(401, "unauthenticated");
        assert_eq!(refused.all("www-authenticate"), [challenge], "{authorization}");
    }
    let admin = |claims: &serde_json::Value| Request::get("/admin").header("authorization", issuer.bearer(claims));
    let refused = proxy.request(admin(&json!({"scope": "read"}))).await;
    refused.assert_problem(403, "forbidden");
    let challenge = r#"Bearer realm="actix-khp", error="insufficient_scope""#;
    assert_eq!(refused.all("www-authenticate"), [challenge]);
    assert_eq!(proxy.request(admin(&json!({"scope": "read admin"}))).await.status, 200);
    assert_eq!(backend.count(), 2);
    assert!(!proxy.log().contains("eyJ"), "no token is logged: {}", proxy.log());
}

#[tokio::test]
async fn keys_that_change_are_fetched_for_a_token_with_an_unknown_key() {
    let issuers = [Issuer::new("one"), Issuer::new("two")];
    let documents = [issuers[0].jwks(), issuers[1].jwks()];
    let changed = Arc::new(AtomicBool::new(false));
    let now = changed.clone();
    let login = Backend::start(move |_| Answer::body(&*documents[usize::from(now.load(Ordering::Relaxed))])).await;
    let url = format!("{}/jwks", login.url());
    let pair = Pair::start_with(Backend::echo().await, |spec| with_tokens(spec, &url)).await;
    eventually("the keys are there", async || {
        match pair.request(get(&issuers[0].bearer(&json!({})))).await {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text()),
        }
    })
    .await;
    changed.store(true, Ordering::Relaxed);
    // Within ten seconds of the fetch before, an unknown key is refused at once.
    let new = issuers[1].bearer(&json!({}));
    within(PATIENCE, "the new key is known", async || {
        match pair.request(get(&new)).await {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text()),
        }
    })
    .await;
    pair.request(get(&issuers[0].bearer(&json!({}))))
        .await
        .assert_problem(401, "unauthenticated");
    // However often they are asked for.
    for number in 0..50 {
        let unknown = Issuer::new(&format!("unknown-{number}")).bearer(&json!({}));
        pair.request(get(&unknown)).await.assert_problem(401, "unauthenticated");
    }
    assert!(login.count() <= 4, "{} fetches", login.count());
}

#[tokio::test]
async fn a_proxy_starts_without_keys_and_old_ones_stay_good() {
    let issuer = Issuer::new("one");
    let token = issuer.bearer(&json!({}));
    let url = unreachable_url();
    let address = url.trim_start_matches("http://").to_owned();
    let pair = Pair::start_with(Backend::echo().await, |spec| {
        with_tokens(spec, &format!("{url}/jwks")).set("auth.jwks_refresh", 1)
    })
    .await;
    pair.request(get(&token)).await.assert_try_again("keys-unavailable");
    // One that says nothing is refused all the same.
    pair.request(Request::get("/"))
        .await
        .assert_problem(401, "unauthenticated");
    let line = "keys of tokens cannot be read";
    eventually("it is logged", async || match pair.proxy.logged(line) {
        0 => Err("nothing".to_owned()),
        _ => Ok(()),
    })
    .await;
    let jwks = issuer.jwks();
    let login = Backend::start_on(&address, move |_| Answer::body(&*jwks)).await;
    eventually("the keys are there", async || match pair.request(get(&token)).await {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    })
    .await;
    assert_eq!(pair.proxy.logged(line), 1, "{}", pair.proxy.log());
    login.answer_with(|_| Answer::status(500));
    pair.proxy.wait_for_metric("proxy_jwks_keys", &[], 1.0).await;
    eventually("it fails", async || match pair.proxy.logged(line) {
        2 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    assert_eq!(pair.request(get(&token)).await.status, 200, "stale keys stay good");
    assert_eq!(pair.proxy.logged(line), 2, "once");
}
