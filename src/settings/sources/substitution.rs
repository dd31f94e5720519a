//! `${file:PATH}` and `${env:NAME}` in values, so that secrets need not stand in the configuration file.

use crate::settings::sources::env::Env;

/// Replaces each reference in `text` by the file or variable it names. Any other `${` stays as it is. The replacement is not searched
/// again.
///
/// # Errors
/// The reason why the first reference that cannot be followed cannot be.
pub fn resolve(text: &str, env: &Env) -> Result<String, String> {
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
        resolved.push_str(&follow(kind, name, env)?);
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

fn follow(kind: &str, name: &str, env: &Env) -> Result<String, String> {
    if kind == "env" {
        return env
            .get(name)
            .cloned()
            .ok_or_else(|| format!("${{env:{name}}}: no such environment variable"));
    }
    let content = std::fs::read_to_string(name).map_err(|error| format!("${{file:{name}}}: {error}"))?;
    // Editors and `echo` end a file with a newline that does not belong to the secret.
    let content = content.strip_suffix('\n').unwrap_or(&content);
    Ok(content.strip_suffix('\r').unwrap_or(content).to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn references_are_followed_once() {
        let env = Env::from([
            ("A".to_owned(), "one".to_owned()),
            ("B".to_owned(), "${env:A}".to_owned()),
        ]);
        assert_eq!(resolve("x${env:A}y${env:A}", &env).unwrap(), "xoneyone");
        assert_eq!(resolve("${env:B}", &env).unwrap(), "${env:A}");
        assert_eq!(resolve("pa${ss$wo}rd:", &env).unwrap(), "pa${ss$wo}rd:");
        assert_eq!(resolve("${x ${env:A}", &env).unwrap(), "${x one");
        assert!(resolve("${env:MISSING}", &env).unwrap_err().contains("MISSING"));
        assert!(resolve("${env:A", &env).unwrap_err().contains("brace"));
    }

    #[test]
    fn a_file_ends_before_its_last_newline() {
        let path = std::env::temp_dir().join(format!("khp-reference-{}", std::process::id()));
        for (content, value) in [
            ("s3cret\n", "s3cret"),
            ("s3cret\r\n", "s3cret"),
            ("a\n\n", "a\n"),
            ("a", "a"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(
                resolve(&format!("${{file:{}}}", path.display()), &Env::new()).unwrap(),
                value
            );
        }
        std::fs::remove_file(&path).unwrap();
        assert!(resolve(&format!("${{file:{}}}", path.display()), &Env::new()).is_err());
    }
}
