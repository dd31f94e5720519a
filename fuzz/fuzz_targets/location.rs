#![no_main]

use std::sync::LazyLock;

use actix_khp_fuzz::location::Locations;

/// Of a secret that no input holds.
static SIGNED: LazyLock<Locations> = LazyLock::new(|| Locations::new(Some(&rand::random::<u128>().to_string())));

// Whatever stands in the place of a result's id: nobody may use it who did not get it, and what it says survives being written once more.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some(read) = Locations::read(text) else { return };
    for principal in [None, Some("orders")] {
        assert!(!SIGNED.is_of(&read, principal), "{text}");
        for locations in [&*SIGNED, &Locations::new(None)] {
            let again = Locations::read(&locations.write(&read.result, principal)).expect("it was just written");
            assert_eq!(again.result, read.result);
            assert!(locations.is_of(&again, principal));
        }
    }
});
