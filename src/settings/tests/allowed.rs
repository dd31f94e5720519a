//! Which values a key takes, asked of the program itself: a fault says what is allowed.

use super::*;

/// No parser takes it: no text of one line, no name, no pattern.
const IMPOSSIBLE: &str = "[\u{7}";

/// What a key takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// One value, or each of a list, in the words of the fault: `a port, 0 to 65535`.
    pub words: String,
    /// It is a list of such values.
    pub is_list: bool,
}

/// What the key `name` of the top level, or of an item of `list`, takes. Not for those that hold mappings.
pub fn allowed(list: Option<&str>, name: &str) -> Allowed {
    let yaml = with_value(list, name, &json!(IMPOSSIBLE));
    let path = path(list, name);
    let error = try_load(Mode::All, &yaml, &[]).expect_err(&path);
    let faults: Vec<&Fault> = error
        .faults
        .iter()
        .filter(|fault| fault.key.starts_with(&path))
        .collect();
    let [fault] = &faults[..] else {
        panic!("{path}: {faults:?}")
    };
    let (_, words) = fault
        .problem
        .split_once(" is not ")
        .unwrap_or_else(|| panic!("{fault}"));
    Allowed {
        words: words.to_owned(),
        is_list: fault.key == format!("{path}[0]"),
    }
}

/// Whether the program takes this value for the key, whatever it says of others.
pub fn takes(list: Option<&str>, name: &str, value: &Value) -> bool {
    let path = path(list, name);
    let of_value = |fault: &Fault| {
        // A rule between settings quotes no value before its "is not".
        let problems = [
            "\" is not ",
            "is a single value",
            "is a list",
            "is a mapping",
            "is required",
        ];
        fault.key.starts_with(&path) && problems.iter().any(|problem| fault.problem.contains(problem))
    };
    match try_load(Mode::All, &with_value(list, name, value), &[]) {
        Ok(_) => true,
        Err(error) => !error.faults.iter().any(of_value),
    }
}

/// A configuration with this value; JSON is YAML.
fn with_value(list: Option<&str>, name: &str, value: &Value) -> String {
    let mut root = json!({
        "topics": [{"request_topic": "orders-requests", "backend_url": "http://orders:8080"}],
        "routes": [{"path": "/orders"}],
        "sealing": {"keys": [{"id": "a", "secret": "0123456789abcdef0123456789abcdef"}]},
    });
    let mut place = &mut root;
    if let Some(list) = list {
        for part in list.split('.') {
            place = &mut place[part];
        }
        place = &mut place[0];
    }
    for part in name.split('.') {
        place = &mut place[part];
    }
    *place = value.clone();
    root.to_string()
}

fn path(list: Option<&str>, name: &str) -> String {
    match list {
        Some(list) => format!("{list}[0].{name}"),
        None => name.to_owned(),
    }
}
