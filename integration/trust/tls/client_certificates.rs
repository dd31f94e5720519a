//! Certificates that clients show: off, optional, required.

use super::{start, url};
use crate::harness::curl::{Curl, curl};
use crate::harness::pair::Pair;
use crate::harness::tls::{Authority, Identity};

/// A call with a forged `X-Forwarded-Client-Cert`.
async fn call(pair: &Pair, authority: &Authority, identity: Option<&Identity>) -> Curl {
    let (ca, url) = (authority.file(), url(pair));
    let mut args = vec!["-i", "--cacert", ca.to_str().expect("UTF-8")];
    args.extend(["-H", "X-Forwarded-Client-Cert: Subject=\"CN=forged\""]);
    if let Some(identity) = identity {
        let (cert, key) = (identity.cert.to_str(), identity.key.to_str());
        args.extend(["--cert", cert.expect("UTF-8"), "--key", key.expect("UTF-8")]);
    }
    args.push(&url);
    curl(&args).await
}

/// What the backend saw of the client's certificate.
fn forwarded(pair: &Pair) -> Vec<String> {
    pair.backend.last().all("x-forwarded-client-cert")
}

#[tokio::test]
async fn a_certificate_is_required_verified_and_passed_on() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = authority.file();
    let pair = start(&authority, |spec| {
        spec.set("tls.client_ca", ca.to_str().expect("UTF-8"))
    })
    .await;
    let good = call(&pair, &authority, Some(&authority.issue("orders"))).await;
    assert!(good.out.starts_with("HTTP/2 200"), "{good:?}");
    let values = forwarded(&pair);
    let [value] = &values[..] else { panic!("{values:?}") };
    let (hash, rest) = value.split_once(';').expect("elements");
    assert_eq!(hash.len(), "Hash=".len() + 64, "{value}");
    assert_eq!(
        rest,
        "Subject=\"CN=orders,O=Acme\\2C Inc.\";URI=spiffe://test/orders;DNS=localhost"
    );

    for (identity, result, said) in [
        (None, "no-certificate", "certificate required"),
        (
            Some(authority.issue_expired("old")),
            "certificate-expired",
            "certificate expired",
        ),
        (Some(stranger.issue("stranger")), "certificate-refused", "unknown ca"),
    ] {
        let refused = call(&pair, &authority, identity.as_ref()).await;
        assert_ne!(refused.code, Some(0), "{result}: {refused:?}");
        assert!(refused.err.contains(said), "{result}: {refused:?}");
        pair.proxy
            .wait_for_metric("proxy_tls_handshakes_total", &[("result", result)], 1.0)
            .await;
    }
    assert_eq!(pair.backend.count(), 1);
}

#[tokio::test]
async fn a_certificate_may_be_optional() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = authority.file();
    let pair = start(&authority, |spec| {
        spec.set("tls.client_ca", ca.to_str().expect("UTF-8"))
            .set("tls.client_auth", "optional")
    })
    .await;
    let without = call(&pair, &authority, None).await;
    assert!(without.out.starts_with("HTTP/2 200"), "{without:?}");
    assert_eq!(forwarded(&pair), Vec::<String>::new(), "a client's own is dropped");
    let with = call(&pair, &authority, Some(&authority.issue("orders"))).await;
    assert!(with.out.starts_with("HTTP/2 200"), "{with:?}");
    assert!(forwarded(&pair)[0].contains("CN=orders,"), "{:?}", forwarded(&pair));
    let refused = call(&pair, &authority, Some(&stranger.issue("stranger"))).await;
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

#[tokio::test]
async fn without_a_client_ca_no_certificate_is_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let pair = start(&authority, |spec| spec).await;
    let shown = call(&pair, &authority, Some(&stranger.issue("stranger"))).await;
    assert!(shown.out.starts_with("HTTP/2 200"), "{shown:?}");
    assert_eq!(forwarded(&pair), Vec::<String>::new());
}
