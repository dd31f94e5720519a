//! The wire formats, what cuts bodies into pieces, and what decides who asks, taken from the root package by their paths.

#[path = "../../src/processor/bodies/assembly.rs"]
pub mod assembly;
#[path = "../../src/processor/bodies/error.rs"]
pub mod body_error;
#[path = "../../src/error.rs"]
pub mod error;
#[path = "../../src/proxy/idempotency/field.rs"]
pub mod idempotency_field;
#[path = "../../src/proxy/auth/key_set.rs"]
pub mod key_set;
#[path = "../../src/proxy/results/location.rs"]
pub mod location;
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
pub mod processor {
    pub mod bodies {
        pub use crate::body_error::BodyError;
    }
}

/// Where the root package has them.
pub mod proxy {
    pub mod auth {
        pub use crate::{key_set, signature, token};
    }
}
