//! What the program reads of the settings.
//!
//! - [`delivery`]: how the records of a topic are worked on.

pub mod delivery;
