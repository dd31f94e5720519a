//! Lays the sources of settings over each other: the embedded reference < files < plain environment names < `KHP__…`.

use std::path::{Path, PathBuf};

use config::{Config, ConfigError, File, FileFormat};

use crate::settings::check::{rules, unknown};
use crate::settings::fault::{Report, SettingsError};
use crate::settings::read::tree;
use crate::settings::sources::env::{self, Env};
use crate::settings::sources::layer::{Layer, Table, Underscore};
use crate::settings::{Mode, Settings};

/// Documents every key, and is the defaults: the two cannot disagree.
pub const REFERENCE: &str = include_str!("../../config/reference.yaml");

/// Settings that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Checked: the rest of the service relies on them.
    pub settings: Settings,
    /// For the log, which is not up yet when settings are read.
    pub warnings: Vec<String>,
    effective: String,
}

impl Loaded {
    /// Every effective setting as YAML, which can be loaded again; secrets are masked, references stand as they are written.
    pub fn to_yaml(&self) -> &str {
        &self.effective
    }
}

/// Reads the settings of a process: `files` in the order of the `--config` flags (without one, the file that `CONFIG_PATH` names),
/// then `env`, its environment.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(mode: Mode, files: &[PathBuf], env: &Env) -> Result<Loaded, SettingsError> {
    let mut report = Report::default();
    let mut layers = files_layers(files, env, &mut report);
    let files_are_read = report.faults.is_empty();
    layers.push(env::plain(env, &mut report));
    layers.push(env::prefixed(env, &mut report));

    let mut tree = merge(layers, &mut report);
    let unused = env::set_consumer_groups(&mut tree, env);
    if mode.is_processor() {
        report.warnings.extend(
            unused
                .iter()
                .map(|name| format!("{name} is ignored: no topic has that name")),
        );
    }

    unknown::check(&tree, &mut report);
    let (settings, effective) = tree::read(mode, &tree, env, &mut report);
    // Without one of its files, the rest need not fit together.
    if files_are_read {
        rules::validate(&settings, &mut report);
    }
    if !report.faults.is_empty() {
        return Err(SettingsError { faults: report.faults });
    }
    Ok(Loaded {
        settings,
        warnings: report.warnings,
        effective,
    })
}

/// The embedded reference and the files over it; one that cannot be read is a fault.
fn files_layers(files: &[PathBuf], env: &Env, report: &mut Report) -> Vec<Layer> {
    let reference = ("reference".to_owned(), parse(REFERENCE, FileFormat::Yaml, None));
    let chosen = chosen_files(files, env, report);
    let read = chosen
        .into_iter()
        .map(|(path, format)| (path.display().to_string(), file(&path, format)));
    let layers = std::iter::once(reference)
        .chain(read)
        .filter_map(|(name, layer)| layer.map_err(|problem| report.fault(name, problem, None)).ok());
    layers.collect()
}

fn merge(layers: Vec<Layer>, report: &mut Report) -> Table {
    let builder = layers
        .into_iter()
        .fold(Config::builder(), |builder, layer| builder.add_source(layer));
    let merged = builder.build().and_then(|config| config.cache.into_table());
    merged
        .map_err(|error| report.fault("settings", one_line(error), None))
        .unwrap_or_default()
}

/// The files to read, each with the format it has if its name does not tell.
fn chosen_files(files: &[PathBuf], env: &Env, report: &mut Report) -> Vec<(PathBuf, Option<FileFormat>)> {
    const PATH: &str = "CONFIG_PATH";
    const SOURCE: &str = "CONFIG_SOURCE";
    let (format, from_environment) = match env::var(env, SOURCE) {
        None => (None, false),
        Some("yaml") => (Some(FileFormat::Yaml), false),
        Some("json") => (Some(FileFormat::Json), false),
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

fn file(path: &Path, format: Option<FileFormat>) -> Result<Layer, String> {
    let extension = path
        .extension()
        .map(|extension| extension.to_string_lossy().to_lowercase());
    let format = match extension.as_deref() {
        Some("yaml" | "yml") => FileFormat::Yaml,
        Some("toml") => FileFormat::Toml,
        Some("json") => FileFormat::Json,
        _ => format.ok_or("is not a .yaml, .yml, .toml or .json file")?,
    };
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    // Nothing but comments: no mapping to YAML, and no fault to a user who has commented out everything.
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

fn parse(text: &str, format: FileFormat, origin: Option<&str>) -> Result<Layer, String> {
    Layer::read(&File::from_str(text, format), origin, Underscore::Itself).map_err(one_line)
}

/// A parser's error without the lines it quotes: they may hold a secret.
pub(super) fn one_line(error: ConfigError) -> String {
    let text = error.to_string();
    let lines = text
        .lines()
        .filter(|line| !line.contains(" |") && !line.contains("| "))
        .map(str::trim);
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ")
}
