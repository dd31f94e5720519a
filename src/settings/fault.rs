//! What is wrong with the settings: everything at once, so that an operator corrects them once.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the setting, as in `topics[1].timeout`; a file or an environment name if that is what is wrong.
    pub key: String,
    /// What is wrong and what is allowed. Holds no secret.
    pub problem: String,
    /// The file or environment name the value came from, where known.
    pub origin: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)?;
        match &self.origin {
            Some(origin) => write!(f, " [{origin}]"),
            None => Ok(()),
        }
    }
}

/// The settings cannot be used; the process exits 64.
#[derive(Debug, thiserror::Error)]
pub struct SettingsError {
    /// Never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for SettingsError {
    /// A headline, then one fault a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => write!(f, "invalid settings, 1 fault:")?,
            many => write!(f, "invalid settings, {many} faults:")?,
        }
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Faults and warnings while they are collected.
#[derive(Debug, Default)]
pub struct Report {
    pub faults: Vec<Fault>,
    /// For the log, which is not up yet when settings are read.
    pub warnings: Vec<String>,
}

impl Report {
    /// Records that the setting at `key` is wrong.
    pub fn fault(&mut self, key: impl Into<String>, problem: impl Into<String>, origin: Option<&str>) {
        self.faults.push(Fault {
            key: key.into(),
            problem: problem.into(),
            origin: origin.map(str::to_owned),
        });
    }

    /// Checks a rule about several settings; the fault is reported at the first of `keys`. Nothing is reported when one of them is already
    /// at fault: its value is a placeholder.
    pub fn rule(&mut self, holds: bool, keys: &[&str], problem: impl FnOnce() -> String) {
        if !holds && !keys.iter().any(|key| self.is_at_fault(key)) {
            self.fault(keys[0], problem(), None);
        }
    }

    /// Is something wrong with the setting at `path`, within it, or with what it is part of?
    pub fn is_at_fault(&self, path: &str) -> bool {
        let within = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.faults
            .iter()
            .any(|fault| within(&fault.key, path) || within(path, &fault.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_about_a_faulty_setting_says_nothing() {
        let mut report = Report::default();
        report.fault("topics[1].timeout", "wrong", None);
        report.rule(false, &["topics"], || "not reported".to_owned());
        report.rule(false, &["topics[1].timeout"], || "not reported".to_owned());
        report.rule(false, &["port", "topics[1].timeout"], || "not reported".to_owned());
        report.rule(true, &["port"], || "holds".to_owned());
        assert_eq!(report.faults.len(), 1);
        report.rule(false, &["topics[10].timeout"], || "reported".to_owned());
        report.rule(false, &["topics[1].timeout_x"], || "reported".to_owned());
        assert_eq!(report.faults.len(), 3);
    }

    #[test]
    fn the_error_lists_one_fault_a_line() {
        let mut report = Report::default();
        report.fault("port", "\"x\" is not a port", Some("PROXY_PORT"));
        report.fault("bond", "unknown key (nearest: bind)", None);
        let error = SettingsError { faults: report.faults };
        let expected = "invalid settings, 2 faults:\n  port: \"x\" is not a port [PROXY_PORT]\n  bond: unknown key (nearest: bind)";
        assert_eq!(error.to_string(), expected);
    }
}
