//! Lays the sources of settings over each other: the embedded reference < files < plain environment names < `KHP__…`.

use std::fmt;
use std::path::PathBuf;

use config::Config;

use crate::settings::check::{rules, unknown};
use crate::settings::effective::{Effective, Entry};
use crate::settings::fault::{Report, SettingsError};
use crate::settings::model::{Mode, Settings};
use crate::settings::read::tree;
use crate::settings::sources::env::{self, Env};
use crate::settings::sources::files;
use crate::settings::sources::layer::{Layer, Table, one_line};

/// Where the settings of a process come from.
#[derive(Clone)]
pub struct Sources {
    mode: Mode,
    files: Vec<PathBuf>,
    env: Env,
}

impl Sources {
    /// Reads them again. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(&self) -> Result<Loaded, SettingsError> {
        load(self.mode, &self.files, &self.env)
    }
}

impl fmt::Debug for Sources {
    /// The environment holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources")
            .field("mode", &self.mode)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Settings that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Checked: the rest of the service relies on them.
    pub settings: Settings,
    /// For the log, which is not up yet when settings are read.
    pub warnings: Vec<String>,
    /// To read them again.
    pub sources: Sources,
    effective: Effective,
}

impl Loaded {
    /// Every effective setting as YAML, which can be loaded again; secrets are masked, references stand as they are written.
    pub fn to_yaml(&self) -> &str {
        &self.effective.yaml
    }

    /// The same, one by one, each with where it came from.
    pub fn entries(&self) -> &[Entry] {
        &self.effective.entries
    }
}

/// Reads the settings of a process: `files` in the order of the `--config` flags (without one, the file that `CONFIG_PATH` names),
/// then `env`, its environment.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(mode: Mode, files: &[PathBuf], env: &Env) -> Result<Loaded, SettingsError> {
    let mut report = Report::default();
    let mut layers = files::layers(files, env, &mut report);
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
        sources: Sources {
            mode,
            files: files.to_vec(),
            env: env.clone(),
        },
        effective,
    })
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
