//! Reads one setting after another from the merged tree. A wrong value becomes a fault and reading goes on, so that an operator sees
//! every mistake at once; serde would stop at the first.

use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use crate::kafka::config::shown;
use crate::process::masked::MASK;
use crate::settings::effective::{self, Yaml};
use crate::settings::fault::Report;
use crate::settings::keys::{self, Key};
use crate::settings::masked;
use crate::settings::model::Secret;
use crate::settings::parse::value::Parsed;
use crate::settings::sources::env::Env;
use crate::settings::sources::layer::{self, Table};
use crate::settings::sources::substitution;
use crate::wire::headers;

/// Reads the keys of one table: the top level, or an item of `topics` or `routes`.
///
/// A faulty value is replaced by `T::default()`. It is never used, since any fault ends the start.
pub struct Reader<'a> {
    table: &'a Table,
    /// Path of the table: empty, or `topics[0]`.
    place: String,
    env: &'a Env,
    report: &'a mut Report,
    effective: &'a mut Yaml,
}

/// A scalar that was found.
#[derive(Debug, Clone)]
struct Text<'a> {
    /// As it stands in its source. Only this is printed: the text behind a `${file:…}` is often a secret.
    written: String,
    /// With its references followed.
    resolved: String,
    /// The file or environment name it stands in.
    origin: Option<&'a str>,
}

impl Text<'_> {
    fn default(text: impl Into<String>) -> Self {
        let text = text.into();
        Text {
            written: text.clone(),
            resolved: text,
            origin: None,
        }
    }

    fn holds_references(&self) -> bool {
        self.written != self.resolved
    }

    /// The parts of a text with commas.
    fn split(&self) -> Vec<Self> {
        let part = |part: &str| Text {
            written: if self.holds_references() {
                self.written.clone()
            } else {
                part.to_owned()
            },
            resolved: part.to_owned(),
            origin: self.origin,
        };
        self.resolved
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(part)
            .collect()
    }
}

/// Where a value was written: a file or an environment name. A mapping that several wrote names all of them.
fn source_of(value: &Value) -> Option<String> {
    let inner: Vec<&Value> = match &value.kind {
        ValueKind::Table(table) => table.values().collect(),
        ValueKind::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let of_inner: BTreeSet<String> = inner.into_iter().filter_map(source_of).collect();
    match of_inner.is_empty() {
        true => value.origin().map(str::to_owned),
        false => Some(Vec::from_iter(of_inner).join(", ")),
    }
}

impl<'a> Reader<'a> {
    /// A reader of the top level, which notes what it reads in `effective`.
    pub fn new(table: &'a Table, env: &'a Env, report: &'a mut Report, effective: &'a mut Yaml) -> Self {
        Reader {
            table,
            place: String::new(),
            env,
            report,
            effective,
        }
    }

    /// A setting whose default is in `config/reference.yaml`, or that has none and must be given.
    pub fn required<T: Default>(&mut self, key: &Key, parse: fn(&str) -> Parsed<T>) -> T {
        self.present(key, parse).unwrap_or_default()
    }

    /// As `required`, for a type without a default value. `None` only after a fault was reported.
    pub fn present<T>(&mut self, key: &Key, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        if let Some(text) = self.text(key) {
            return self.take(key, &text, parse);
        }
        let path = self.path(key);
        if !self.report.is_at_fault(&path) {
            self.report.fault(path, "is required", None);
        }
        None
    }

    /// A setting whose default is computed, or belongs to an item of a list. An empty text counts as absent. An empty default means that
    /// the setting it is computed from is at fault.
    pub fn or<T: Default>(&mut self, key: &Key, default: impl Into<String>, parse: fn(&str) -> Parsed<T>) -> T {
        self.or_else(key, default, parse).unwrap_or_default()
    }

    /// As `or`, for a type without a default value. `None` only after a fault was reported.
    pub fn or_else<T>(&mut self, key: &Key, default: impl Into<String>, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        let text = self.given(key).unwrap_or_else(|| Text::default(default));
        match text.written.is_empty() {
            true => None,
            false => self.take(key, &text, parse),
        }
    }

    /// A setting that may be absent. Empty is absent.
    pub fn optional<T>(&mut self, key: &Key, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        let text = self.given(key)?;
        self.take(key, &text, parse)
    }

    /// A list, or a text with commas: the environment has no lists.
    pub fn list<T>(&mut self, key: &Key, default: &str, parse: fn(&str) -> Parsed<T>) -> Vec<T> {
        let path = self.path(key);
        let texts = if let Some(Value {
            kind: ValueKind::Array(items),
            ..
        }) = layer::get(self.table, key.name)
        {
            let indexed = items.iter().enumerate();
            let texts: Vec<_> = indexed
                .filter_map(|(index, item)| self.scalar(&keys::item(&path, index), item))
                .collect();
            self.note_list(key, &texts);
            self.note_values(key, &texts);
            texts
        } else {
            let text = self.given(key).unwrap_or_else(|| Text::default(default));
            match text.holds_references() {
                true => self.note(key, effective::scalar(&masked::value(key, &text.written))),
                false => self.note_list(key, &text.split()),
            }
            self.note_values(key, &text.split());
            text.split()
        };
        let indexed = texts.iter().enumerate();
        indexed
            .filter_map(|(index, text)| self.parse(&keys::item(&path, index), key, text, parse))
            .collect()
    }

    /// librdkafka's properties: whatever they are, as texts.
    pub fn properties(&mut self, key: &Key) -> BTreeMap<String, String> {
        let path = self.path(key);
        let (mut properties, mut noted) = (BTreeMap::new(), BTreeMap::new());
        match layer::get(self.table, key.name) {
            Some(Value {
                kind: ValueKind::Table(table),
                ..
            }) => {
                for (name, value) in BTreeMap::from_iter(table) {
                    let path = keys::join(&path, name);
                    let Some(text) = self.scalar(&path, value) else {
                        continue;
                    };
                    noted.insert(name.clone(), shown(name, &text.written));
                    self.effective.value(path, &text.resolved);
                    properties.insert(name.clone(), text.resolved);
                }
            }
            Some(other) => self.report.fault(
                path,
                "is a mapping of librdkafka properties, not a value",
                other.origin(),
            ),
            None => {}
        }
        self.note(key, effective::mapping(noted));
        properties
    }

    /// Header fields to be set, names in lower case. Their values may be secrets, and are never noted.
    pub fn headers(&mut self, key: &Key) -> BTreeMap<String, Secret> {
        let path = self.path(key);
        let (mut fields, mut noted) = (BTreeMap::new(), BTreeMap::new());
        let value = layer::get(self.table, key.name);
        let Some(ValueKind::Table(table)) = value.map(|value| &value.kind) else {
            if let Some(other) = value {
                self.report
                    .fault(path, "is a mapping of header fields, not a value", other.origin());
            }
            self.note(key, effective::mapping(noted));
            return fields;
        };
        for (name, value) in BTreeMap::from_iter(table) {
            let path = keys::join(&path, name);
            let Some(text) = self.scalar(&path, value) else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            let is_ours =
                headers::is_of_each_hop(&name) || headers::is_reserved(&name) || headers::is_hop_by_hop(&name);
            if is_ours || !headers::name_is_legal(&name) || !headers::value_is_legal(text.resolved.as_bytes()) {
                let problem =
                    "is no header field that can be set: its name or value is not legal, or the service sets it";
                self.report.fault(path, problem, value.origin());
                continue;
            }
            noted.insert(name.clone(), MASK.to_owned());
            self.effective.value(path, &text.resolved);
            fields.insert(name, Secret::new(text.resolved));
        }
        self.note(key, effective::mapping(noted));
        fields
    }

    /// The items of a list of mappings, each read by `read`; items that are no mappings are faults.
    pub fn items<T>(&mut self, key: &Key, mut read: impl FnMut(&mut Reader<'_>) -> T) -> Vec<T> {
        let path = self.path(key);
        let items: &[Value] = match layer::get(self.table, key.name) {
            Some(Value {
                kind: ValueKind::Array(items),
                ..
            }) => items,
            Some(other) => {
                let from_environment = key
                    .env
                    .map(|name| format!("; in the environment, {name}"))
                    .unwrap_or_default();
                self.report.fault(
                    path.as_str(),
                    format!("is a list of mappings{from_environment}"),
                    other.origin(),
                );
                &[]
            }
            None => &[],
        };
        if items.is_empty() {
            self.note(key, effective::list([]));
        }
        let mut all = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = keys::item(&path, index);
            match &item.kind {
                ValueKind::Table(table) => all.push(read(&mut Reader {
                    table,
                    place,
                    env: self.env,
                    report: self.report,
                    effective: self.effective,
                })),
                _ if self.report.is_at_fault(&place) => {}
                _ => self.report.fault(place, "is a mapping, not a value", item.origin()),
            }
        }
        all
    }

    fn path(&self, key: &Key) -> String {
        keys::join(&self.place, key.name)
    }

    fn text(&mut self, key: &Key) -> Option<Text<'a>> {
        let value = layer::get(self.table, key.name)?;
        let path = self.path(key);
        self.scalar(&path, value)
    }

    fn given(&mut self, key: &Key) -> Option<Text<'a>> {
        self.text(key).filter(|text| !text.resolved.trim().is_empty())
    }

    fn scalar(&mut self, path: &str, value: &'a Value) -> Option<Text<'a>> {
        let origin = value.origin();
        let found = match &value.kind {
            ValueKind::Table(_) => Err("is a single value, not a mapping".to_owned()),
            ValueKind::Array(_) => Err("is a single value, not a list".to_owned()),
            ValueKind::Nil => Err("is a single value, not nothing".to_owned()),
            scalar => {
                let written = scalar.to_string();
                substitution::resolve(&written, self.env, &mut self.report.warnings).map(|resolved| Text {
                    written,
                    resolved,
                    origin,
                })
            }
        };
        found.map_err(|problem| self.report.fault(path, problem, origin)).ok()
    }

    fn take<T>(&mut self, key: &Key, text: &Text<'_>, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        self.note(key, effective::scalar(&masked::value(key, &text.written)));
        let path = self.path(key);
        self.effective.value(path.clone(), &text.resolved);
        self.parse(&path, key, text, parse)
    }

    fn parse<T>(&mut self, path: &str, key: &Key, text: &Text<'_>, parse: fn(&str) -> Parsed<T>) -> Option<T> {
        let problem = |allowed| format!("{:?} is not {allowed}", masked::faulty(key, &text.written));
        let parsed = parse(text.resolved.trim());
        parsed
            .map_err(|allowed| self.report.fault(path, problem(allowed), text.origin))
            .ok()
    }

    fn note_list(&mut self, key: &Key, texts: &[Text<'_>]) {
        self.note(
            key,
            effective::list(texts.iter().map(|text| masked::value(key, &text.written))),
        );
    }

    fn note_values(&mut self, key: &Key, texts: &[Text<'_>]) {
        let all: Vec<&str> = texts.iter().map(|text| &*text.resolved).collect();
        self.effective.value(self.path(key), &all.join("\n"));
    }

    fn note(&mut self, key: &Key, value: String) {
        let (section, name) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        let source = layer::get(self.table, key.name).and_then(source_of);
        self.effective
            .entry(&keys::join(&self.place, section), name, &value, source);
    }
}
