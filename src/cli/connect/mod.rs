//! `check --connect`: what is wrong around the service, found before there is traffic. Nothing is written and nothing is created.
//!
//! - [`finding`]: one thing that is wrong.
//! - [`memories`]: what is wrong between a request topic and its memory.
//! - [`report`]: all of them, as a table or as JSON.
//! - [`expected`]: what a configuration expects of topics and groups.
//! - [`cluster`]: asks Kafka.
//! - [`topics`]: what is wrong with a topic. Pure.
//! - [`groups`]: what is wrong with a consumer group. Pure.
//! - [`backends`]: asks backends for their health pages.
//! - [`certificates`]: when certificates expire.

mod backends;
mod certificates;
mod cluster;
mod expected;
mod finding;
mod groups;
mod memories;
mod report;
mod topics;

use crate::cli::connect::finding::{Finding, Kind};
use crate::cli::connect::report::Report;
use crate::process::status_line::StatusLine;
use crate::process::{exit, output};
use crate::settings::{Mode, Settings, SettingsError};

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Asks Kafka and the backends, and prints what is wrong. Returns the exit code: `UNAVAILABLE` where something stops traffic.
pub fn run(settings: &Settings, form: Form) -> u8 {
    if settings.mode == Mode::Demo {
        output::complain("the demo brings its own Kafka and its own backend: there is nothing to connect to");
        return exit::USAGE;
    }
    let mut report = Report::default();
    let mut status = StatusLine::begin();
    status.show(format_args!("asking Kafka at {} …", settings.kafka.bootstrap_servers));
    cluster::check(settings, &mut report);
    if settings.mode.is_processor() {
        status.clear();
        status.show("asking the backends …");
        backends::check(&settings.processor.topics, &mut report);
    }
    status.clear();
    status.show("reading certificates …");
    certificates::check(settings, &mut report);
    status.clear();
    let printed = match form {
        Form::Table => output::print(report.table()),
        Form::Json => output::print(format_args!("{}\n", report.json())),
    };
    match (output::exit_code(printed), report.stops_traffic()) {
        (exit::OK, true) => exit::UNAVAILABLE,
        (code, _) => code,
    }
}

/// Prints as JSON what is wrong with settings that nothing can be asked with.
pub fn print_faults(error: &SettingsError) {
    let mut report = Report::default();
    for fault in &error.faults {
        let subject = format!("setting {}", fault.key);
        let cure = match &fault.origin {
            Some(origin) => format!("correct it in {origin}"),
            None => "correct it".to_owned(),
        };
        report.add(
            &subject,
            [Finding::stops(Kind::Settings, &subject, &fault.problem, cure)],
        );
    }
    // Err: the exit code says that there is no report.
    let _ = output::print(format_args!("{}\n", report.json()));
}
