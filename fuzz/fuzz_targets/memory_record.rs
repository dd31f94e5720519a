#![no_main]

use actix_khp_fuzz::wire::invariants::{memory_record, record};

libfuzzer_sys::fuzz_target!(|input: &[u8]| memory_record(&record(input)));
