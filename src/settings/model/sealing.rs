//! The keys that seal records.

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
}
