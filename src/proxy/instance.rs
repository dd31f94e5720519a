//! Who this proxy is among its siblings.

use rand::RngExt;

/// An instance's identity for one run.
#[derive(Debug, Clone)]
pub struct Instance {
    pub id: String,
    /// Part of every correlation id of this run. It tells replies to this instance from those to others, and to its previous run.
    pub tag: u16,
    /// Chooses the reply partition: the trailing `-<n>` of the id (a StatefulSet's ordinal), else random.
    pub ordinal: u32,
}

impl Instance {
    /// Takes the configured id, or makes one up.
    pub fn new(configured: Option<&str>) -> Self {
        let mut random = rand::rng();
        let id = configured.map_or_else(|| format!("{:08x}", random.random::<u32>()), str::to_string);
        let ordinal = configured.and_then(ordinal).unwrap_or_else(|| random.random());
        Instance {
            id,
            tag: random.random(),
            ordinal,
        }
    }
}

/// The number at the end of an instance's id, if it has one.
pub fn ordinal(id: &str) -> Option<u32> {
    id.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statefulset_ordinal_chooses_the_partition() {
        assert_eq!(ordinal("khp-proxy-7"), Some(7));
        assert_eq!(ordinal("khp-proxy-a"), None);
        assert_eq!(ordinal("proxy"), None);
    }
}
