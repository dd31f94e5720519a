//! The bench works: a short run of everything, on the Kafka of the tests.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// Runs the bench with these arguments besides, and returns where it wrote its figures.
fn run(name: &str, arguments: &[&str]) -> PathBuf {
    let out = std::env::temp_dir().join(format!("khp-bench-{name}-{}", std::process::id()));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.args(["--smoke", "--out"]).arg(&out).args(arguments);
    // The tests of the workspace build the service beside the bench. Otherwise the bench builds it.
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("actix-khp");
    if binary.exists() {
        bench.arg("--binary").arg(&binary);
    }
    if let Ok(brokers) = std::env::var("KHP_TEST_BROKERS") {
        bench.args(["--brokers", &brokers]);
    }
    let ran = bench.output().expect("the bench starts");
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{printed}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    out
}

#[test]
fn a_short_run_measures_every_system() {
    let out = run("systems", &[]);
    let json = std::fs::read_to_string(out.join("bench.json")).unwrap();
    let run: Value = serde_json::from_str(&json).unwrap();
    let rows = run["rows"].as_array().unwrap();
    // Three systems with two numbers of connections each.
    assert_eq!(rows.len(), 6, "{json}");
    for row in rows {
        assert!(row["per_second"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["errors"], 0, "{row}");
        let used = row["used"].as_array().unwrap();
        assert!(
            used.iter()
                .all(|used| used["cpu_us_per_request"].as_f64().unwrap() > 0.0),
            "{row}"
        );
        assert!(
            used.iter()
                .any(|used| used["switches_per_request"].as_f64().unwrap() > 0.0),
            "{row}"
        );
    }
    let limits = rows
        .iter()
        .filter(|row| row["limit"]["ratio"].as_f64().is_some_and(|ratio| ratio > 0.0));
    assert_eq!(limits.count(), 2, "{json}");
    assert!(run["memory"]["proxy_idle_mib"].as_f64().unwrap() > 0.0, "{json}");
    let svg = std::fs::read_to_string(out.join("bench.svg")).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 4, "{svg}");
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn settings_are_compared_in_one_run_of_an_open_loop() {
    let arguments = [
        "--systems=raw,khp,khp-other",
        "--rate=20,40",
        "--property=linger.ms=100",
        "--other-env=KHP__KAFKA__PROPERTIES__LINGER_MS=0",
    ];
    let out = run("variants", &arguments);
    let json = std::fs::read_to_string(out.join("bench.json")).unwrap();
    let run: Value = serde_json::from_str(&json).unwrap();
    let rows = run["rows"].as_array().unwrap();
    // Two systems with two rates and two numbers of connections. raw has no pace.
    assert_eq!(rows.len(), 8, "{json}");
    let p50 = |system: &str| {
        let row = rows.iter().find(|row| {
            (&row["system"], &row["connections"], &row["rate"]) == (&system.into(), &16.into(), &20.0.into())
        });
        row.unwrap_or_else(|| panic!("{json}"))["p50"].as_f64().unwrap()
    };
    // A request and its reply linger, for 100 ms where they open a batch; those of the other environment do not.
    assert!(p50("khp") >= 100e3, "{json}");
    assert!(p50("khp-other") < 100e3, "{json}");
    let ratios = run["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 4, "{json}");
    for ratio in ratios {
        assert_eq!(ratio["than"], "khp-other", "{ratio}");
        assert!(ratio["proxy_cpu"].as_f64().unwrap() > 0.0, "{ratio}");
        assert!(ratio["processor_cpu"].as_f64().unwrap() > 0.0, "{ratio}");
    }
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn a_short_run_measures_every_scenario_of_streams() {
    let out = run("streams", &["--streams"]);
    let json = std::fs::read_to_string(out.join("streams.json")).unwrap();
    let run: Value = serde_json::from_str(&json).unwrap();
    let rows = run["rows"].as_array().unwrap();
    // first-byte, down and up with three systems, tokens with two, beside twice with two, leave with one and with two.
    assert_eq!(rows.len(), 3 * 3 + 2 + 2 * 2 + 1 + 2, "{json}");
    for row in rows {
        assert!(row["row"]["p50"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["row"]["errors"], 0, "{row}");
    }
    // Delay, speed and memory of two roles twice, tokens twice, beside, leaving twice.
    assert_eq!(run["bounds"].as_array().unwrap().len(), 1 + 2 * 3 + 2 + 1 + 2, "{json}");
    assert!(
        std::fs::read_to_string(out.join("streams.md"))
            .unwrap()
            .contains("| down |")
    );
    std::fs::remove_dir_all(out).unwrap();
}
