//! What was checked and what is wrong, as a table or as JSON.

use std::fmt::Write;

use serde_json::json;

use crate::cli::connect::finding::{Finding, Severity};

/// Everything that was checked.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order in which they were checked.
    subjects: Vec<String>,
    /// Those of them that are not there, and need not be.
    absent: Vec<String>,
    findings: Vec<Finding>,
}

impl Report {
    /// Takes in what was found about a subject; nothing means that it is well. The same finding counts once.
    pub fn add(&mut self, subject: &str, findings: impl IntoIterator<Item = Finding>) {
        if !self.subjects.iter().any(|known| known == subject) {
            self.subjects.push(subject.to_owned());
        }
        for finding in findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }

    /// Takes in a subject that does not exist, and that nobody needs yet.
    pub fn add_absent(&mut self, subject: &str) {
        self.add(subject, []);
        self.absent.push(subject.to_owned());
    }

    /// Does anything keep requests from being carried?
    pub fn stops_traffic(&self) -> bool {
        self.count(Severity::Stops) > 0
    }

    /// One line for each subject that is well, two for each finding, and a sum.
    pub fn table(&self) -> String {
        let width = self.subjects.iter().map(|subject| subject.chars().count()).max();
        let width = width.unwrap_or_default();
        let mut table = String::new();
        let mut well = 0;
        // Err of writeln: never, a String takes everything.
        let mut line = |result: &str, subject: &str, text: &str| {
            let line = format!("{result:<5}  {subject:<width$}  {text}");
            let _ = writeln!(table, "{}", line.trim_end());
        };
        for subject in &self.subjects {
            let mut found = self
                .findings
                .iter()
                .filter(|finding| finding.subject == *subject)
                .peekable();
            if self.absent.contains(subject) {
                line("none", subject, "not there yet, and not needed yet");
            } else if found.peek().is_none() {
                well += 1;
                line("ok", subject, "");
            }
            for finding in found {
                line(word(finding.severity), subject, &finding.problem);
                line("", "", &format!("→ {}", finding.cure));
            }
        }
        let (stops, warns) = (self.count(Severity::Stops), self.count(Severity::Warns));
        let _ = writeln!(table, "{stops} stop traffic, {warns} warn, {well} ok");
        table
    }

    /// The same for programs.
    pub fn json(&self) -> String {
        let report = json!({
            "stops_traffic": self.stops_traffic(),
            "checked": self.subjects,
            "findings": self.findings,
        });
        format!("{report:#}")
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Stops => "stops",
        Severity::Warns => "warns",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::connect::finding::Kind;

    #[test]
    fn each_finding_and_each_subject_that_is_well_is_shown() {
        let mut report = Report::default();
        report.add("kafka here:9092", []);
        let gone = || Finding::stops(Kind::MissingTopic, "topic a", "does not exist", "create it");
        report.add("topic a", [gone(), gone()]);
        report.add_absent("topic b");
        let expected = [
            "ok     kafka here:9092",
            "stops  topic a          does not exist",
            "                        → create it",
            "none   topic b          not there yet, and not needed yet",
            "1 stop traffic, 0 warn, 1 ok",
        ];
        assert_eq!(report.table().lines().collect::<Vec<_>>(), expected);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["stops_traffic"], true);
        assert_eq!(json["checked"], json!(["kafka here:9092", "topic a", "topic b"]));
        assert_eq!(json["findings"][0]["kind"], "missing-topic");
    }
}
