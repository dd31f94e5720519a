//! What the documents show works: their configurations are run, with their commands. Only topics, ports and addresses are the test's own.

/// The folders of `examples`.
mod examples;
/// The example of a language model.
mod llm;
/// The commands of the pages in `docs`.
mod pages;
/// The README, from the demo to a real Kafka.
mod readme;

use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};
use serde_json::Value;
use tokio::process::Command;

use crate::harness::names::unique;
use crate::harness::spec::Spec;

/// Where the documents are.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document(name: &str) -> String {
    let path: PathBuf = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of a document that are of this language.
fn fences(document: &str, language: &str) -> Vec<String> {
    let begin = format!("```{language}\n");
    let blocks = document.split(&begin).skip(1);
    let blocks: Vec<String> = blocks
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect();
    assert!(!blocks.is_empty(), "no {language}");
    blocks
}

/// The commands of a document's shell fences that begin with this word; a backslash at a line's end joins the next one.
fn commands(document: &str, word: &str) -> Vec<String> {
    let lines = fences(document, "sh").concat().replace("\\\n", " ");
    let commands: Vec<String> = lines
        .lines()
        .filter(|line| line.starts_with(word))
        .map(str::to_owned)
        .collect();
    assert!(!commands.is_empty(), "no {word}");
    commands
}

/// Puts names of this test in the place of those that a document shows.
struct Renamed(Vec<(String, String)>);

impl Renamed {
    /// Topics get unique names.
    fn topics(topics: &[&str]) -> Self {
        Renamed(
            topics
                .iter()
                .map(|topic| ((*topic).to_owned(), unique(topic)))
                .collect(),
        )
    }

    fn and(mut self, shown: &str, own: impl Into<String>) -> Self {
        self.0.push((shown.to_owned(), own.into()));
        self
    }

    /// The text with the test's names. Each of them must be there in some text, but not in all.
    fn apply(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (shown, own)| text.replace(shown, own))
    }

    /// A process with the configuration that a document shows, on the test's Kafka and ports.
    fn process(&self, mode: &'static str, yaml: &str) -> Spec {
        let file = File::from_str(&self.apply(yaml), FileFormat::Yaml);
        let shown = Config::builder().add_source(file).build();
        let shown: Value = shown
            .and_then(Config::try_deserialize)
            .unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let shown = shown.as_object().expect("a configuration is a mapping");
        let own_keys = ["kafka", "port"];
        let kept = shown.iter().filter(|(key, _)| !own_keys.contains(&&***key));
        kept.fold(Spec::new(mode), |spec, (key, value)| spec.set(key, value.clone()))
    }

    /// Runs a command in a shell and returns its output; it must succeed.
    async fn run(&self, command: &str) -> String {
        let command = self.apply(command);
        let output = Command::new("sh")
            .args(["-c", &command])
            .env_remove("http_proxy")
            .output()
            .await;
        let output = output.expect("there is a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}\n{text}{errors}");
        text
    }
}
