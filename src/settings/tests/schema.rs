//! `config/schema.json`, by which editors check and complete configuration files: made of the keys, the reference, and what the
//! program takes.

use config::{Config, File, FileFormat};
use regex_lite::Regex;

use super::allowed::{Allowed, allowed, takes};
use super::documented::{Documented, documented};
use super::json_schema::{problems, satisfies};
use super::*;
use crate::doc_tests::files::{assert_generated, pages, root};

#[test]
fn the_schema_is_as_generated() {
    let text = serde_json::to_string_pretty(&schema()).unwrap();
    assert_generated("config/schema.json", &format!("{text}\n"));
}

/// The schema of a whole file.
fn schema() -> Value {
    let all = documented();
    let of =
        |list: Option<&str>| -> Vec<&Documented> { all.iter().filter(|entry| entry.list.as_deref() == list).collect() };
    let mut schema = mapping(&of(None));
    for list in ["topics", "routes"] {
        schema["properties"][list]["type"] = json!("array");
        schema["properties"][list]["items"] = mapping(&of(Some(list)));
    }
    let keys = &mut schema["properties"]["sealing"]["properties"]["keys"];
    keys["type"] = json!("array");
    keys["items"] = mapping(&of(Some("sealing.keys")));
    schema["properties"]["kafka"]["properties"]["properties"]["type"] = json!("object");
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Settings of actix-khp");
    schema["$defs"] = json!({
        "duration": {"anyOf": [
            {"type": "number", "minimum": 0, "maximum": YEAR},
            {"type": "string", "pattern": DURATION},
            {"$ref": "#/$defs/reference"},
        ]},
        "positiveDuration": {"anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": YEAR},
            {"type": "string", "pattern": DURATION},
            {"$ref": "#/$defs/reference"},
        ]},
        "reference": {"type": "string", "pattern": r"\$\{(env|file):[^}]+\}"},
    });
    schema
}

/// The longest duration, in seconds.
const YEAR: u64 = 365 * 24 * 3600;
const DURATION: &str = "^([0-9]+ ?(ms|s|m|h|d) ?)+$";

/// The schema of a mapping with these keys; those with a dot are in sections.
fn mapping(entries: &[&Documented]) -> Value {
    // As in compose files: `x-` keys are the operator's own, and `<<` merges a mapping.
    let own = json!({"^x-": {}, "^<<$": {}});
    let empty = || json!({"type": "object", "additionalProperties": false, "properties": {}, "patternProperties": own});
    let mut mapping = empty();
    for entry in entries {
        let (section, name) = entry.name.rsplit_once('.').unwrap_or(("", &entry.name));
        let mut place = &mut mapping;
        if !section.is_empty() {
            place = &mut place["properties"][section];
            if place.is_null() {
                *place = empty();
            }
        }
        place["properties"][name] = key(entry);
        if entry.default.as_deref() == Some("required") {
            let required = &mut place["required"];
            match required.as_array_mut() {
                Some(names) => names.push(json!(name)),
                None => *required = json!([name]),
            }
        }
    }
    mapping
}

/// The schema of one key's value.
fn key(entry: &Documented) -> Value {
    let list = entry.list.as_deref();
    let mut schema = match (list, &*entry.name) {
        (None, "kafka.properties" | "topics" | "routes" | "sealing.keys") => json!({}),
        (Some("topics"), "set_headers") => json!({"type": "object"}),
        (_, name) => {
            let Allowed { words, is_list } = allowed(list, name);
            let one = of_words(&words);
            if is_list {
                json!({"type": "array", "items": one})
            } else {
                one
            }
        }
    };
    schema["description"] = json!(entry.text);
    if entry.default.is_none() {
        schema["default"] = yaml(&format!("value: {}", entry.value))["value"].clone();
    }
    schema
}

/// The schema of a value that the program describes so.
fn of_words(words: &str) -> Value {
    let integer = |minimum: i64| json!({"type": "integer", "minimum": minimum});
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let begins = |with: &str| words.starts_with(with);
    let one_of: Vec<&str> = words.split(", ").flat_map(|part| part.split(" or ")).collect();
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let schema = if begins("a duration above 0") {
        return json!({"$ref": "#/$defs/positiveDuration"});
    } else if begins("a duration") {
        return json!({"$ref": "#/$defs/duration"});
    } else if words == "true or false" {
        vec![json!({"type": "boolean"})]
    } else if one_of.len() > 1 && one_of.iter().all(is_word) {
        vec![json!({"enum": one_of})]
    } else if begins("a size above 0") {
        vec![integer(1), text("^[0-9]+ ?([kKMG]i?)?[bB]$")]
    } else if begins("a size, 0 or more") {
        vec![integer(0), text("^[0-9]+ ?([kKMG]i?)?[bB]$")]
    } else if begins("a port") {
        vec![json!({"type": "integer", "minimum": 0, "maximum": 65535})]
    } else if begins("a whole number, 1 or more, or -1") {
        vec![integer(1), json!({"enum": [-1]})]
    } else if begins("a whole number, 1 or more") {
        vec![integer(1)]
    } else if begins("a whole number, 0 or more") {
        vec![integer(0)]
    } else if begins("a number from ") {
        let bounds: Vec<f64> = words.split(' ').filter_map(|word| word.parse().ok()).collect();
        vec![json!({"type": "number", "minimum": bounds[0], "maximum": bounds[1]})]
    } else if begins("auto, all, or a partition's number") {
        vec![json!({"enum": ["auto", "all"]}), integer(0)]
    } else if begins("timeout, reset, or a status") {
        let status = json!({"type": "integer", "minimum": 400, "maximum": 599});
        vec![json!({"enum": ["timeout", "reset"]}), status]
    } else if begins("off, errors, all or a number") {
        let lines = json!({"type": "number", "minimum": 0.001, "maximum": 1_000_000});
        vec![json!({"enum": ["off", "errors", "all"]}), lines]
    } else if begins("address, header:NAME or everybody") {
        vec![
            json!({"enum": ["address", "everybody"]}),
            text("^header:[A-Za-z0-9-]+$"),
        ]
    } else if words == "1.2 or 1.3" {
        vec![json!({"enum": ["1.2", "1.3", 1.2, 1.3]})]
    } else if begins("NAME:SHA256") {
        vec![text("^.+: *[0-9A-Fa-f]{64}$")]
    } else if let Some(names) = words.strip_prefix("an algorithm: ") {
        let names: Vec<&str> = names.split(", ").flat_map(|part| part.split(" or ")).collect();
        vec![json!({"enum": names})]
    } else if begins("a header's name") {
        vec![text("^[!#$%&'*+.^_|~0-9A-Za-z-]+$")]
    } else if begins("header:NAME, query:NAME or segment:NAME") {
        vec![text("^(header:[A-Za-z0-9-]+|(query|segment):.+)$")]
    } else if begins("error, warn, info") {
        vec![
            json!({"enum": ["error", "warn", "info", "debug", "trace", "off"]}),
            text("=(error|warn|info|debug|trace|off)(,|$)"),
        ]
    } else if begins("a topic name") {
        vec![text("^(_?[A-Za-z0-9.-][A-Za-z0-9._-]{0,247}|_)$")]
    } else if begins("an instance id") {
        vec![text("^[A-Za-z0-9._-]{1,249}$")]
    } else if begins("private_ranges, an address") {
        vec![
            json!({"enum": ["private_ranges"]}),
            text("^([0-9]{1,3}([.][0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]+)(/[0-9]{1,3})?$"),
        ]
    } else if begins("an IP address") {
        vec![text("^([0-9]{1,3}([.][0-9]{1,3}){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]+)$")]
    } else if begins("an http:// or https:// URL") {
        vec![text("^https?://[A-Za-z0-9]")]
    } else if begins("a path that begins and ends") {
        vec![text("^/[^{}*?# ]*/$")]
    } else if begins("a path") || begins("the beginning of a path") {
        vec![text("^/.*")]
    } else if begins("a method") {
        vec![text("^[!#$%&'*+.^_|~0-9A-Za-z-]+$")]
    } else if begins("a text of one line of at least 32 characters") {
        vec![text("^.{32,}$")]
    } else if begins("the name of a server") {
        vec![text("^([A-Za-z0-9._-]+|[0-9a-fA-F]*:[0-9a-fA-F:.]+)$")]
    } else if begins("a glob of host names") {
        vec![text("^[^ :/]+$")]
    } else if begins("a token") {
        vec![text("^[!-~]{16,}$")]
    } else if begins("a glob") || begins("a text") || begins("host:port") {
        vec![text("[^ ]")]
    } else {
        panic!("no schema for {words:?}")
    };
    let any = [schema, vec![json!({"$ref": "#/$defs/reference"})]].concat();
    json!({ "anyOf": any })
}

/// A YAML text as JSON.
fn yaml(text: &str) -> Value {
    let built = Config::builder()
        .add_source(File::from_str(text, FileFormat::Yaml))
        .build();
    built
        .and_then(Config::try_deserialize)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn every_configuration_of_ours_satisfies_the_schema() {
    let schema = schema();
    let files = [
        "config/reference.yaml",
        "config/proxy.yaml",
        "config/processor.yaml",
        "examples/routes/proxy.yaml",
        "examples/routes/processor.yaml",
        "examples/nginx/proxy.yaml",
        "examples/nginx/processor.yaml",
        "examples/spring-replier/proxy.yaml",
    ];
    let texts = files.map(|name| (name.to_owned(), std::fs::read_to_string(root().join(name)).unwrap()));
    let fences = pages().into_iter().flat_map(|page| {
        let yaml = page.fences().into_iter().filter(|fence| fence.language == "yaml");
        yaml.map(|fence| (format!("{}:{}", page.name, fence.line), fence.text))
            .collect::<Vec<_>>()
    });
    for (name, text) in texts.into_iter().chain(fences) {
        assert_eq!(problems(&schema, &yaml(&text)), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_is_unknown_or_missing_does_not_satisfy_it() {
    let schema = schema();
    for text in [
        "prot: 8080",
        "kafka: {bootstrap_server: 'a:1'}",
        "topics: [{request_topic: a}]",
        "topics: [{request_topic: a, backend_url: 'http://a', ordring: key}]",
        "topics: [{request_topic: a, backend_url: 'http://a', retry: {budged: 1}}]",
        "routes: [{methods: [GET]}]",
    ] {
        assert!(!problems(&schema, &yaml(text)).is_empty(), "{text}");
    }
}

/// Editors mark nothing that the program takes as it is written in the reference, and pass nothing that it refuses.
#[test]
fn the_schema_and_the_program_agree_on_values() {
    let schema = schema();
    let samples = [
        json!(-1),
        json!(0),
        json!(1),
        json!(0.5),
        json!(2.5),
        json!(450),
        json!(8080),
        json!(70_000),
        json!(true),
        json!("x"),
        json!(""),
        json!("auto"),
        json!("native"),
        json!("native, json"),
        json!("30s"),
        json!("5 parsecs"),
        json!("900KiB"),
        json!("9 lives"),
        json!("header:X-Id"),
        json!("header:"),
        json!("query:a b"),
        json!("/a"),
        json!("http://a:1/b"),
        json!("ftp://a"),
        json!("127.0.0.1"),
        json!("__x"),
        json!("a b"),
        json!("debug"),
        json!("actix_khp=debug,info"),
        json!("actix_khp=loud"),
        json!("timeout"),
        json!({"a": 1}),
    ];
    let number = Regex::new("^-?[0-9.]+$").unwrap();
    let mut agreed = 0;
    for entry in documented() {
        let (list, name) = (entry.list.as_deref(), &*entry.name);
        let mappings = ["kafka.properties", "topics", "routes", "sealing.keys", "set_headers"];
        if mappings.contains(&name) {
            continue;
        }
        let is_list = allowed(list, name).is_list;
        let part = match list {
            Some(list) => {
                let list = list.split('.').fold(&schema, |part, name| &part["properties"][name]);
                &list["items"]
            }
            None => &schema,
        };
        let part = name.split('.').fold(part, |part, name| &part["properties"][name]);
        for sample in &samples {
            let value = if is_list { json!([sample]) } else { sample.clone() };
            let (marked, taken) = (!satisfies(&schema, part, &value), takes(list, name, &value));
            // A pattern says less than the program where text is free: a path, a URL, a regex, a method's case.
            let is_loose = [
                "path",
                "health_path",
                "strip_prefix",
                "backend_url",
                "auth.jwks",
                // Some names are reserved.
                "auth.api_key_header",
                "auth.principal_header",
                "kafka.bootstrap_servers",
                "management_peers",
            ]
            .contains(&name);
            assert!(marked || taken || is_loose, "{name}: {value} passes, and is refused");
            // The program takes any scalar as the text that it is, and an empty one as none.
            let text = sample.to_string();
            let is_other_spelling = !sample.is_string() || sample == "" || number.is_match(&text);
            assert!(
                !marked || !taken || is_other_spelling,
                "{name}: {value} is marked, and is taken"
            );
            agreed += usize::from(marked != taken);
        }
    }
    assert!(agreed > 1000, "{agreed}");
}
