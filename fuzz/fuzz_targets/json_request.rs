#![no_main]

use actix_khp_fuzz::wire::invariants::{json_request, record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| json_request(&record(input)));
