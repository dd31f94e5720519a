//! Lays the sources of settings over each other: the embedded reference < files < plain environment names < `KHP__…`.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;

use config::{Config, Value, ValueKind};
use ring::digest::{SHA256, digest};

use crate::kafka::client::properties;
use crate::kafka::config::Kafka;
use crate::settings::check::{rules, unknown};
use crate::settings::difference::Values;
use crate::settings::effective::{Effective, Entry};
use crate::settings::fault::{Report, SettingsError};
use crate::settings::keys::{Reload, top};
use crate::settings::model::{Mode, Settings};
use crate::settings::read::tree;
use crate::settings::sources::env::{self, Env};
use crate::settings::sources::files;
use crate::settings::sources::layer::{self, Layer, Table, one_line};
use crate::wire::hex::hex;

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

    /// The files that are read.
    pub fn files(&self) -> Vec<String> {
        let chosen = files::chosen(&self.files, &self.env);
        chosen.iter().map(|path| path.display().to_string()).collect()
    }

    /// The names of the variables that set something.
    pub fn variables(&self) -> Vec<String> {
        env::used(&self.env)
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
#[derive(Clone)]
pub struct Loaded {
    /// Checked: the rest of the service relies on them.
    pub settings: Settings,
    /// For the log, which is not up yet when settings are read.
    pub warnings: Vec<String>,
    /// To read them again.
    pub sources: Sources,
    effective: Effective,
    /// All sources laid over each other, references not followed.
    tree: Table,
}

impl fmt::Debug for Loaded {
    /// Values and tree hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("settings", &self.settings)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// What a reload changes.
#[derive(Debug)]
pub struct Change {
    /// What is to run from now on: what was read, and what a running process cannot change as it was.
    pub next: Loaded,
    /// The settings that change, by name.
    pub applied: Vec<String>,
    /// Those that have changed in their sources, and need a restart.
    pub needs_restart: Vec<String>,
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

    /// Names the settings without telling them: the beginning of the SHA-256 of `to_yaml`, in hexadecimal.
    pub fn digest(&self) -> String {
        let digest = digest(&SHA256, self.effective.yaml.as_bytes());
        hex(&digest.as_ref()[..8])
    }

    /// The values that are used.
    pub fn values(&self) -> &Values {
        &self.effective.values
    }

    /// What changes where these settings, just read, are to replace those of a running process.
    ///
    /// # Errors
    /// Without what needs a restart, the rest does not fit together.
    pub fn replacing(self, running: &Loaded) -> Result<Change, SettingsError> {
        let changed = |next: &Loaded| next.effective.values.differing(&running.effective.values);
        let mut needs_restart = Vec::from_iter(changed(&self));
        needs_restart.retain(|name| !is_live(name, &running.settings.kafka));
        let mut next = self;
        if !needs_restart.is_empty() {
            needs_restart
                .iter()
                .for_each(|name| keep(&mut next.tree, name, running));
            // What was read may be wrong where it needs a restart, too.
            let mut report = Report {
                warnings: next.warnings,
                ..Report::default()
            };
            next = finish(next.sources, next.tree, true, &mut report)?;
            let mut said = HashSet::new();
            next.warnings.retain(|warning| said.insert(warning.clone()));
            // What is computed, or stands in a file of its own, has changed all the same. The next reload must not take it for applied.
            next.effective.values.keep(&needs_restart, &running.effective.values);
        }
        // A demo's is not what its sources say.
        next.settings.pre_stop = running.settings.pre_stop;
        Ok(Change {
            // Without what was only taken over from a setting that stays.
            applied: changed(&next).into_iter().collect(),
            next,
            needs_restart,
        })
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
    let sources = Sources {
        mode,
        files: files.to_vec(),
        env: env.clone(),
    };
    finish(sources, tree, files_are_read, &mut report)
}

/// Reads the tree and checks what it holds.
fn finish(sources: Sources, tree: Table, files_are_read: bool, report: &mut Report) -> Result<Loaded, SettingsError> {
    let (settings, effective) = tree::read(sources.mode, &tree, &sources.env, report);
    // Without one of its files, the rest need not fit together.
    if files_are_read {
        rules::validate(&settings, report);
    }
    let Report { faults, warnings } = std::mem::take(report);
    if !faults.is_empty() {
        return Err(SettingsError { faults });
    }
    Ok(Loaded {
        settings,
        warnings,
        sources,
        effective,
        tree,
    })
}

/// The property of librdkafka that a setting is.
fn property(name: &str) -> Option<&str> {
    name.strip_prefix(top::PROPERTIES.name)?.strip_prefix('.')
}

/// Puts a setting back to where it was.
fn keep(tree: &mut Table, name: &str, running: &Loaded) {
    match property(name) {
        // Its name holds dots, and is one key of the mapping.
        Some(property) => {
            let old = layer::get(&running.tree, top::PROPERTIES.name).and_then(|properties| match &properties.kind {
                ValueKind::Table(properties) => properties.get(property).cloned(),
                _ => None,
            });
            layer::set_in(tree, top::PROPERTIES.name, property, old);
        }
        None => {
            let old = layer::get(&running.tree, name).cloned();
            // Without one it would be computed anew, of settings that change.
            let computed = || {
                running
                    .effective
                    .values
                    .get(name)
                    .filter(|_| name == top::DRAIN_TIMEOUT.name)
            };
            layer::set(tree, name, old.or_else(|| Some(Value::new(None, computed()?))));
        }
    }
}

/// A reload applies this setting. A property of librdkafka stands for itself.
fn is_live(name: &str, kafka: &Kafka) -> bool {
    match property(name) {
        Some(property) => properties::is_replaceable(property, kafka),
        None => top::ALL
            .iter()
            .any(|key| key.name == name && key.reload == Reload::Applied),
    }
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
