//! The wire formats, what cuts bodies into pieces, and what decides who asks, taken from the root package by their paths.

#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/proxy/auth/key_set.rs"]
pub mod key_set;
#[path = "../../src/processor/stream/pieces.rs"]
pub mod pieces;
/// Of the settings, what tokens take.
#[path = "../../src/settings/model/auth.rs"]
pub mod settings;
#[path = "../../src/proxy/auth/signature.rs"]
pub mod signature;
#[path = "../../src/proxy/auth/token.rs"]
pub mod token;
#[path = "../../src/proxy/trust.rs"]
pub mod trust;
#[path = "../../src/wire/mod.rs"]
pub mod wire;

/// Where the root package has them.
pub mod proxy {
    pub mod auth {
        pub use crate::{key_set, signature, token};
    }
}
