#![no_main]

use actix_khp_fuzz::wire::invariants::{record, sealed_record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| sealed_record(&record(input)));
