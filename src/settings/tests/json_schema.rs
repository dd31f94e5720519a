//! As much of JSON Schema 2020-12 as the schema of the settings uses. An unknown keyword is a panic: it would check nothing.

use regex_lite::Regex;

use super::*;

/// What is wrong with a value: its place and the keyword; empty = nothing.
pub fn problems(root: &Value, value: &Value) -> Vec<String> {
    check(root, root, value, "")
}

/// Whether `value` satisfies `schema`, a part of `root`.
pub fn satisfies(root: &Value, schema: &Value, value: &Value) -> bool {
    check(root, schema, value, "").is_empty()
}

fn check(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        let holds = match &**keyword {
            "$schema" | "$defs" | "title" | "description" | "default" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                found.extend(check(root, target, value, place));
                true
            }
            "anyOf" => rule.as_array().unwrap().iter().any(|one| satisfies(root, one, value)),
            "type" => is_of_type(rule.as_str().unwrap(), value),
            "enum" => rule.as_array().unwrap().contains(value),
            "pattern" => {
                let pattern = Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > rule.as_f64().unwrap()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(check(root, rule, item, &format!("{place}[{index}]")));
                }
                true
            }
            "required" => {
                let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                !value.is_object() || rule.as_array().unwrap().iter().all(has)
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        found.extend(check(root, rule, value, &format!("{place}.{name}")));
                    }
                }
                true
            }
            "patternProperties" => {
                for (pattern, rule) in rule.as_object().unwrap() {
                    let pattern = Regex::new(pattern).unwrap();
                    for (name, value) in value.as_object().into_iter().flatten() {
                        if pattern.is_match(name) {
                            found.extend(check(root, rule, value, &format!("{place}.{name}")));
                        }
                    }
                }
                true
            }
            "additionalProperties" => {
                let patterns = schema["patternProperties"].as_object().into_iter().flatten();
                let patterns: Vec<Regex> = patterns.map(|(pattern, _)| Regex::new(pattern).unwrap()).collect();
                let known = |name: &str| {
                    schema["properties"].get(name).is_some() || patterns.iter().any(|pattern| pattern.is_match(name))
                };
                let names = value.as_object().into_iter().flat_map(|object| object.keys());
                let unknown: Vec<&String> = names.filter(|name| !known(name)).collect();
                found.extend(
                    unknown
                        .iter()
                        .filter(|_| !rule.as_bool().unwrap())
                        .map(|name| format!("{place}.{name}: unknown")),
                );
                true
            }
            other => panic!("{other} is not checked"),
        };
        if !holds {
            found.push(format!("{place}: {keyword} {rule} does not hold for {value}"));
        }
    }
    found
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("{other} is no type"),
    }
}

#[test]
fn a_schema_is_held_against_a_value() {
    let schema = json!({
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/small"}, "b": {"type": "array", "items": {"enum": ["x"]}}},
        "required": ["a"],
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
        "$defs": {"small": {"anyOf": [{"type": "integer", "maximum": 3}, {"type": "string", "pattern": "^s"}]}},
    });
    for good in [
        json!({"a": 3}),
        json!({"a": "s", "b": ["x"]}),
        json!({"a": 1, "x-c": 1}),
    ] {
        assert_eq!(problems(&schema, &good), Vec::<String>::new());
    }
    for bad in [
        json!({}),
        json!([]),
        json!({"a": 4}),
        json!({"a": "t"}),
        json!({"a": 1, "b": ["y"]}),
        json!({"a": 1, "c": 1}),
    ] {
        assert!(!problems(&schema, &bad).is_empty(), "{bad}");
    }
}
