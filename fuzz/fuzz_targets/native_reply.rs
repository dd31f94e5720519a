#![no_main]

use actix_khp_fuzz::wire::invariants::{native_reply, record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| native_reply(&record(input)));
