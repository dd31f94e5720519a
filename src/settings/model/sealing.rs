//! The keys that seal records.

use std::sync::Arc;

use arc_swap::ArcSwap;
use openssl::error::ErrorStack;

use crate::settings::model::management::Secret;
use crate::wire;

/// How records are sealed.
#[derive(Debug, Clone)]
pub struct Sealing {
    /// The first seals, and all of them open.
    pub keys: Vec<SealingKey>,
    /// What is not sealed is not believed.
    pub require: bool,
}

/// One key.
#[derive(Debug, Clone)]
pub struct SealingKey {
    /// In clear beside each record.
    pub id: String,
    /// What the keys are derived from.
    pub secret: Secret,
}

impl Sealing {
    /// Derives the keys.
    ///
    /// # Errors
    /// OpenSSL failed.
    pub fn derive(&self) -> Result<wire::Sealing, ErrorStack> {
        let derive = |key: &SealingKey| wire::sealing::keys::SealingKey::new(&key.id, key.secret.reveal());
        Ok(wire::Sealing {
            keys: self.keys.iter().map(derive).collect::<Result<_, _>>()?,
            require: self.require,
        })
    }

    /// The same, to be replaced while it is used.
    ///
    /// # Errors
    /// OpenSSL failed.
    pub fn shared(&self) -> Result<wire::SharedSealing, ErrorStack> {
        Ok(Arc::new(ArcSwap::from_pointee(self.derive()?)))
    }
}
