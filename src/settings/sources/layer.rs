//! One source of settings, brought into the shape in which sources can be laid over each other.

use config::{ConfigError, Map, Source, Value, ValueKind};

use crate::settings::keys::{self, top};

/// A table of values, as the `config` crate keeps it.
pub type Table = Map<String, Value>;

/// A source that was read: `kafka.properties` has one flat spelling, and keys without a value are gone.
#[derive(Debug, Clone)]
pub struct Layer {
    table: Table,
}

/// What `_` means in the name of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underscore {
    Itself,
    /// An environment name cannot hold a dot, and no librdkafka property that can be set holds an underscore.
    Dot,
}

impl Layer {
    /// A layer of values that are in shape already; their keys may be dotted paths.
    pub fn new(table: Table) -> Layer {
        Layer { table }
    }

    /// A file's tree, whose keys may be dotted paths.
    ///
    /// # Errors
    /// Two of its keys cannot stand beside each other.
    pub fn of(tree: Table, origin: Option<&str>) -> Result<Layer, ConfigError> {
        Layer::read(&Layer::new(tree), origin, Underscore::Itself)
    }

    /// Reads a source. `origin` is the file or environment name that faults in its values name.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn read(source: &dyn Source, origin: Option<&str>, underscore: Underscore) -> Result<Layer, ConfigError> {
        let mut root = Value::from(Table::new());
        source.collect_to(&mut root)?;
        clean(&mut root, origin.map(str::to_owned).as_ref());
        let mut table = root.into_table()?;
        flatten_properties(&mut table, underscore);
        Ok(Layer { table })
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Table, ConfigError> {
        Ok(self.table.clone())
    }
}

/// Removes keys without a value (`dead_letter_topic:` must not hide a default) and notes the origin.
fn clean(value: &mut Value, origin: Option<&String>) {
    if origin.is_some() {
        *value = Value::new(origin, std::mem::take(&mut value.kind));
    }
    match &mut value.kind {
        ValueKind::Table(table) => {
            table.retain(|_, inner| inner.kind != ValueKind::Nil);
            table.values_mut().for_each(|inner| clean(inner, origin));
        }
        ValueKind::Array(items) => items.iter_mut().for_each(|inner| clean(inner, origin)),
        _ => {}
    }
}

/// `security.protocol: SSL` and `security: {protocol: SSL}` are the same property, in whichever layer.
fn flatten_properties(table: &mut Table, underscore: Underscore) {
    if let Some(properties) = get_mut(table, top::PROPERTIES.name)
        && let ValueKind::Table(nested) = &mut properties.kind
    {
        let mut flat = Table::new();
        flatten("", std::mem::take(nested), underscore, &mut flat);
        *nested = flat;
    }
}

fn flatten(prefix: &str, nested: Table, underscore: Underscore, flat: &mut Table) {
    for (name, value) in nested {
        let name = if underscore == Underscore::Dot {
            name.replace('_', ".")
        } else {
            name
        };
        let name = keys::join(prefix, &name);
        match value.kind {
            ValueKind::Table(inner) => flatten(&name, inner, underscore, flat),
            _ => {
                flat.insert(name, value);
            }
        }
    }
}

/// A parser's error without the lines that it quotes: they may hold a secret.
pub fn one_line(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    let lines = text
        .lines()
        .filter(|line| !line.contains(" |") && !line.contains("| "))
        .map(str::trim);
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(": ")
}

/// The value at a dotted path.
pub fn get<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, rest)) => match &table.get(section)?.kind {
            ValueKind::Table(inner) => get(inner, rest),
            _ => None,
        },
    }
}

/// Sets the value at a path, or takes it away.
pub fn set(table: &mut Table, path: &str, value: Option<Value>) {
    match path.split_once('.') {
        None => put(table, path, value),
        Some((section, rest)) => {
            let inner = table.entry(section.to_owned()).or_insert_with(no_entries);
            if let ValueKind::Table(inner) = &mut inner.kind {
                set(inner, rest, value);
            }
        }
    }
}

/// The same of one key, which may hold dots, in the mapping at a path.
pub fn set_in(table: &mut Table, path: &str, key: &str, value: Option<Value>) {
    if get(table, path).is_none() {
        set(table, path, Some(no_entries()));
    }
    if let Some(ValueKind::Table(inner)) = get_mut(table, path).map(|mapping| &mut mapping.kind) {
        put(inner, key, value);
    }
}

fn put(table: &mut Table, key: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(table.insert(key.to_owned(), value)),
        None => drop(table.remove(key)),
    }
}

fn no_entries() -> Value {
    Value::new(None, ValueKind::Table(Table::new()))
}

fn get_mut<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Value> {
    match path.split_once('.') {
        None => table.get_mut(path),
        Some((section, rest)) => match &mut table.get_mut(section)?.kind {
            ValueKind::Table(inner) => get_mut(inner, rest),
            _ => None,
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::settings::sources::yaml;
    use config::Config;

    fn layer(text: &str) -> Layer {
        Layer::of(yaml::parse(text).unwrap(), Some("a.yaml")).unwrap()
    }

    #[test]
    fn every_spelling_of_a_property_is_the_same() {
        for yaml in [
            "kafka: {properties: {security.protocol: SSL}}",
            "kafka: {properties: {security: {protocol: SSL}}}",
            "kafka.properties: {security.protocol: SSL}",
            "kafka.properties.security.protocol: SSL",
        ] {
            let table = layer(yaml).collect().unwrap();
            let properties = get(&table, "kafka.properties").unwrap().clone().into_table().unwrap();
            assert_eq!(properties.keys().collect::<Vec<_>>(), ["security.protocol"], "{yaml}");
            assert_eq!(properties["security.protocol"].origin(), Some("a.yaml"));
        }
    }

    #[test]
    fn a_later_spelling_replaces_an_earlier_one() {
        let merged = Config::builder()
            .add_source(layer("kafka: {properties: {security.protocol: SSL, a.b: 1}}"))
            .add_source(layer("kafka: {properties: {security: {protocol: PLAINTEXT}}}"))
            .build()
            .unwrap();
        let table = merged.cache.into_table().unwrap();
        let properties = get(&table, "kafka.properties").unwrap().clone().into_table().unwrap();
        assert_eq!(properties.len(), 2);
        assert_eq!(properties["security.protocol"].to_string(), "PLAINTEXT");
    }

    #[test]
    fn a_key_without_a_value_says_nothing() {
        let table = layer("port:\ntopics: [{name: , timeout: 1}]").collect().unwrap();
        assert!(!table.contains_key("port"));
        let topics = table["topics"].clone().into_array().unwrap();
        assert_eq!(topics[0].clone().into_table().unwrap().len(), 1);
    }
}
