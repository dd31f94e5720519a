#![no_main]

use actix_khp_fuzz::wire::invariants::{native_request, record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| native_request(&record(input)));
