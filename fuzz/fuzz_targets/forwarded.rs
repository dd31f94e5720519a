#![no_main]

use std::net::IpAddr;

use actix_khp_fuzz::trust::TrustedProxies;
use actix_web::http::header::HeaderValue;
use actix_web::test::TestRequest;

// The first byte says whether the peer is trusted, and each further line is a field.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let is_trusted = first & 1 == 0;
    let peer: IpAddr = if is_trusted { [10, 0, 0, 1] } else { [192, 0, 2, 9] }.into();
    let mut request = TestRequest::default().peer_addr((peer, 1).into());
    for (number, line) in rest.split(|byte| *byte == b'\n').enumerate() {
        let name = if number == 0 && first & 2 == 0 { "x-real-ip" } else { "x-forwarded-for" };
        if let Ok(value) = HeaderValue::from_bytes(line) {
            request = request.append_header((name, value));
        }
    }
    let ours = "10.0.0.0/8".parse().expect("a network");
    let trusted = TrustedProxies::new(&[ours]);
    let origin = trusted.origin(&request.to_http_request());
    assert_eq!((origin.peer, origin.is_trusted), (Some(peer), is_trusted));
    let client = origin.client.expect("there is a peer");
    // Who is not trusted is nobody else, and of whoever is, the client is another or one of ours.
    assert!(is_trusted || client == peer, "{client}");
    assert!(!client.is_ipv6() || client.to_canonical() == client, "{client}");
});
