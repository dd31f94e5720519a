//! Loading as a whole: what a user writes, and what comes of it.

#![allow(clippy::unwrap_used)]

mod allowed;
mod documented;
mod faults;
mod json_schema;
mod layers;
mod page;
mod predecessor;
mod reference;
mod reload;
mod routes;
mod schema;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::sources::env::Env;
use super::*;
use crate::wire::Format;

/// A file of a test, deleted at its end.
struct TempFile(PathBuf);

impl TempFile {
    fn new(extension: &str, content: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "khp-{}-{}.{extension}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name.trim_end_matches('.'));
        std::fs::write(&path, content).unwrap();
        TempFile(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn env(variables: &[(&str, &str)]) -> Env {
    variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn try_load(mode: Mode, yaml: &str, variables: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
    let file = TempFile::new("yaml", yaml);
    load(mode, std::slice::from_ref(&file.0), &env(variables))
}

fn loaded(mode: Mode, yaml: &str, variables: &[(&str, &str)]) -> Loaded {
    try_load(mode, yaml, variables).unwrap_or_else(|error| panic!("{error}"))
}

/// The faults of a file, without where they came from.
fn faults(mode: Mode, yaml: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let faults = try_load(mode, yaml, variables)
        .err()
        .map(|error| error.faults)
        .unwrap_or_default();
    faults
        .iter()
        .map(|fault| format!("{}: {}", fault.key, fault.problem))
        .collect()
}

/// The least a processor needs.
const ONE_TOPIC: &str = "topics: [{request_topic: orders-requests, backend_url: 'http://orders:8080'}]\n";
