#![no_main]

use actix_khp_fuzz::wire::invariants::{piece, record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| piece(&record(input)));
