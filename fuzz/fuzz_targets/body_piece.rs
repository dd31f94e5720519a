#![no_main]

use actix_khp_fuzz::wire::invariants::{body_piece, record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| body_piece(&record(input)));
