//! Configuration files as layers: the embedded reference, and the files that the operator names.

use std::path::{Path, PathBuf};

use crate::settings::fault::Report;
use crate::settings::sources::env::{self, Env};
use crate::settings::sources::layer::{Layer, Table, one_line};
use crate::settings::sources::{json, toml, yaml};

/// Documents every key, and is the defaults: the two cannot disagree.
pub const REFERENCE: &str = include_str!("../../../config/reference.yaml");

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    Json,
    Toml,
}

/// The embedded reference and the files over it; one that cannot be read is a fault.
pub fn layers(files: &[PathBuf], env: &Env, report: &mut Report) -> Vec<Layer> {
    let reference = ("reference".to_owned(), parse(REFERENCE, Format::Yaml, None));
    let chosen = chosen_files(files, env, report);
    let read = chosen
        .into_iter()
        .map(|(path, format)| (path.display().to_string(), file(&path, format)));
    let layers = std::iter::once(reference)
        .chain(read)
        .filter_map(|(name, layer)| layer.map_err(|problem| report.fault(name, problem, None)).ok());
    layers.collect()
}

/// The files to read.
pub fn chosen(files: &[PathBuf], env: &Env) -> Vec<PathBuf> {
    let chosen = chosen_files(files, env, &mut Report::default());
    chosen.into_iter().map(|(path, _)| path).collect()
}

/// The files to read, each with the format to use when its name has no extension that shows one.
fn chosen_files(files: &[PathBuf], env: &Env, report: &mut Report) -> Vec<(PathBuf, Option<Format>)> {
    const PATH: &str = "CONFIG_PATH";
    const SOURCE: &str = "CONFIG_SOURCE";
    let (format, from_environment) = match env::var(env, SOURCE) {
        None => (None, false),
        Some("yaml") => (Some(Format::Yaml), false),
        Some("json") => (Some(Format::Json), false),
        Some("env") => (None, true),
        Some(other) => {
            report.fault(SOURCE, format!("{other:?} is not yaml, json or env"), None);
            (None, false)
        }
    };
    match env::var(env, PATH) {
        Some(path) if from_environment => report
            .warnings
            .push(format!("{PATH}={path} is ignored: {SOURCE} is env")),
        Some(path) if !files.is_empty() => report
            .warnings
            .push(format!("{PATH}={path} is ignored: --config is given")),
        Some(path) => return vec![(PathBuf::from(path), format)],
        None => {}
    }
    files.iter().map(|path| (path.clone(), None)).collect()
}

fn file(path: &Path, format: Option<Format>) -> Result<Layer, String> {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    let format = match extension.as_deref() {
        Some("yaml" | "yml") => Format::Yaml,
        Some("toml") => Format::Toml,
        Some("json") => Format::Json,
        _ => format.ok_or("is not a .yaml, .yml, .toml or .json file")?,
    };
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    // A file of comments only is no mapping to the YAML parser, but a user who has commented out everything has made no mistake.
    let is_empty = text
        .lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---");
    if is_empty {
        Ok(Layer::new(Table::new()))
    } else {
        parse(text, format, path.to_str())
    }
}

fn parse(text: &str, format: Format, origin: Option<&str>) -> Result<Layer, String> {
    let tree = match format {
        Format::Yaml => yaml::parse(text),
        Format::Json => json::parse(text),
        Format::Toml => toml::parse(text),
    };
    tree.and_then(|tree| Layer::of(tree, origin).map_err(|error| error.to_string()))
        .map_err(one_line)
}
