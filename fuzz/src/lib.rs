//! The wire formats, and what decides who asks, taken from the root package by their paths.

#[path = "../../src/wire/mod.rs"]
pub mod wire;

#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/proxy/trust.rs"]
pub mod trust;

/// Of the settings, what tokens take.
pub mod settings {
    #[path = "../../../src/settings/model/auth.rs"]
    mod auth;
    pub use auth::*;
}

/// As the root package has it.
pub mod proxy {
    pub mod auth {
        #[path = "../../../../src/proxy/auth/key_set.rs"]
        pub mod key_set;
        #[path = "../../../../src/proxy/auth/signature.rs"]
        pub mod signature;
        #[path = "../../../../src/proxy/auth/token.rs"]
        pub mod token;
    }
}

pub use proxy::auth;
