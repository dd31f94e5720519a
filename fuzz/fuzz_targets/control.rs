#![no_main]

use actix_khp_fuzz::wire::invariants::{control, record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| control(&record(input)));
