//! The service in a container, as `health` finds it there without being told: it is process 1, and its command line names its settings.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where Linux shows the command line of process 1.
const COMMAND_LINE: &str = "/proc/1/cmdline";

/// The command line of process 1, the program first. `None`: it is another program, or cannot be seen.
pub fn service() -> Option<Vec<OsString>> {
    let own = std::env::current_exe().ok()?;
    words(&std::fs::read(COMMAND_LINE).ok()?, own.file_name()?)
}

/// The words of a command line as Linux shows it, each with a zero after it, where its program has this name.
fn words(line: &[u8], program: &OsStr) -> Option<Vec<OsString>> {
    let words = line.strip_suffix(&[0])?.split(|byte| *byte == 0);
    let words: Vec<OsString> = words.map(|word| OsStr::from_bytes(word).to_owned()).collect();
    (Path::new(words.first()?).file_name() == Some(program)).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_known_by_its_name_whatever_its_folder() {
        let words = |line: &[u8]| words(line, OsStr::new("actix-khp"));
        let expected = ["/usr/local/bin/actix-khp", "--mode", "all", "--config", ""].map(OsString::from);
        assert_eq!(
            words(b"/usr/local/bin/actix-khp\0--mode\0all\0--config\0\0").unwrap(),
            expected
        );
        assert_eq!(words(b"actix-khp\0").unwrap(), ["actix-khp"]);
        for other in [&b"/sbin/init\0splash\0"[..], b"sh\0-c\0actix-khp\0", b"", b"\0"] {
            assert_eq!(words(other), None, "{}", other.escape_ascii());
        }
    }
}
