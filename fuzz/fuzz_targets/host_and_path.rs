#![no_main]

use actix_khp_fuzz::wire::invariants::host_and_path;

libfuzzer_sys::fuzz_target!(|input: &[u8]| host_and_path(input));
