//! Exit codes, as sysexits.h names them where it does.

/// Drained.
pub const OK: u8 = 0;
/// `EX_USAGE`: bad configuration.
pub const USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: Kafka cannot be reached by a one-shot command.
pub const UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: an actor could not be kept alive.
pub const SOFTWARE: u8 = 70;
/// `EX_IOERR`: standard output cannot be written.
pub const IO_ERROR: u8 = 74;
/// `EX_TEMPFAIL`: the drain limit cut something off.
pub const CUT_OFF: u8 = 75;
