#![no_main]

use actix_khp_fuzz::idempotency_field::parse;

// Whatever a client sends as its key, it is refused, or one that can be written again and means the same. Each line is a field.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let fields = || input.split(|byte| *byte == b'\n');
    let Ok(Some(key)) = parse(fields()) else { return };
    assert_eq!(fields().count(), 1, "two fields are no key");
    assert!((1..=255).contains(&key.len()), "{key:?}");
    assert!(
        key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()),
        "{key:?}"
    );
    let written = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
    assert_eq!(parse(std::iter::once(written.as_bytes())), Ok(Some(key)));
});
