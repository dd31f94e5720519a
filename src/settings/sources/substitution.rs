//! `${file:PATH}` and `${env:NAME}` in values, so that secrets need not stand in the configuration file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;

use crate::settings::sources::env::Env;

/// No secret or certificate chain is longer; what is was named by mistake.
const LARGEST_FILE: u64 = 64 * 1024;
/// Permission of everybody to write.
const OTHERS_WRITE: u32 = 0o002;

/// Replaces each reference in `text` by the file or variable it names. Any other `${` stays as it is. The replacement is not searched
/// again. A file that anybody may write is noted in `warnings`, once.
///
/// # Errors
/// The reason why the first reference that cannot be followed cannot be.
pub fn resolve(text: &str, env: &Env, warnings: &mut Vec<String>) -> Result<String, String> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        resolved.push_str(before);
        let Some((kind, after)) = reference[2..]
            .split_once(':')
            .filter(|(kind, _)| matches!(*kind, "file" | "env"))
        else {
            resolved.push_str("${");
            rest = &reference[2..];
            continue;
        };
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| format!("${{{kind}:…}} has no closing brace"))?;
        resolved.push_str(&follow(kind, name, env, warnings)?);
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

fn follow(kind: &str, name: &str, env: &Env, warnings: &mut Vec<String>) -> Result<String, String> {
    if kind == "env" {
        return env
            .get(name)
            .cloned()
            .ok_or_else(|| format!("${{env:{name}}}: no such environment variable"));
    }
    let (content, mode) = read(name).map_err(|error| format!("${{file:{name}}}: {error}"))?;
    let warning = format!("{name} can be written by every user of this machine: take that right away");
    if mode & OTHERS_WRITE != 0 && !warnings.contains(&warning) {
        warnings.push(warning);
    }
    // Editors and `echo` end a file with a newline that does not belong to the secret.
    let content = content.strip_suffix('\n').unwrap_or(&content);
    Ok(content.strip_suffix('\r').unwrap_or(content).to_owned())
}

/// A file's text, and its permissions.
fn read(name: &str) -> io::Result<(String, u32)> {
    let file = File::open(name)?;
    let mode = file.metadata()?.permissions().mode();
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LARGEST_FILE {
        true => Err(io::Error::other("is over 64 KiB, and no secret")),
        false => Ok((text, mode)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn resolved(text: &str, env: &Env) -> Result<String, String> {
        resolve(text, env, &mut Vec::new())
    }

    #[test]
    fn references_are_followed_once() {
        let env = Env::from([
            ("A".to_owned(), "one".to_owned()),
            ("B".to_owned(), "${env:A}".to_owned()),
        ]);
        assert_eq!(resolved("x${env:A}y${env:A}", &env).unwrap(), "xoneyone");
        assert_eq!(resolved("${env:B}", &env).unwrap(), "${env:A}");
        assert_eq!(resolved("pa${ss$wo}rd:", &env).unwrap(), "pa${ss$wo}rd:");
        assert_eq!(resolved("${x ${env:A}", &env).unwrap(), "${x one");
        assert!(resolved("${env:MISSING}", &env).unwrap_err().contains("MISSING"));
        assert!(resolved("${env:A", &env).unwrap_err().contains("brace"));
    }

    /// A file of this test, by its reference; it is gone when this is dropped.
    struct Referenced(std::path::PathBuf);

    impl Referenced {
        fn new(name: &str) -> Self {
            Referenced(std::env::temp_dir().join(format!("khp-reference-{}-{name}", std::process::id())))
        }

        fn resolved(&self, warnings: &mut Vec<String>) -> Result<String, String> {
            resolve(&format!("${{file:{}}}", self.0.display()), &Env::new(), warnings)
        }
    }

    impl Drop for Referenced {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_file_ends_before_its_last_newline() {
        let file = Referenced::new("newline");
        assert!(file.resolved(&mut Vec::new()).is_err());
        for (content, value) in [
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("a\n\n", "a\n"),
            ("a", "a"),
        ] {
            std::fs::write(&file.0, content).unwrap();
            assert_eq!(file.resolved(&mut Vec::new()).unwrap(), value);
        }
    }

    #[test]
    fn a_file_that_is_no_secret_is_refused() {
        let file = Referenced::new("large");
        std::fs::write(&file.0, "x".repeat(64 * 1024)).unwrap();
        assert_eq!(file.resolved(&mut Vec::new()).unwrap().len(), 64 * 1024);
        std::fs::write(&file.0, "x".repeat(64 * 1024 + 1)).unwrap();
        assert!(file.resolved(&mut Vec::new()).unwrap_err().contains("64 KiB"));
        let endless = resolved("${file:/dev/zero}", &Env::new()).unwrap_err();
        assert!(endless.contains("64 KiB"), "{endless}");
    }

    #[test]
    fn a_file_that_others_may_write_is_warned_about_once() {
        let (file, mut warnings) = (Referenced::new("mode"), Vec::new());
        std::fs::write(&file.0, "s3cret").unwrap();
        for (mode, count) in [(0o600, 0), (0o664, 0), (0o666, 1), (0o602, 1)] {
            std::fs::set_permissions(&file.0, PermissionsExt::from_mode(mode)).unwrap();
            file.resolved(&mut warnings).unwrap();
            assert_eq!(warnings.len(), count, "{mode:o} {warnings:?}");
        }
        assert!(warnings[0].contains("every user") && !warnings[0].contains("s3cret"));
    }
}
