//! The bench works: a short run of everything, on the Kafka of the tests.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_short_run_measures_every_system() {
    let out = std::env::temp_dir().join(format!("khp-bench-{}", std::process::id()));
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.args(["--smoke", "--out"]).arg(&out);
    // The tests of the workspace build the service beside the bench. Otherwise the bench builds it.
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("actix-khp");
    if binary.exists() {
        bench.arg("--binary").arg(&binary);
    }
    if let Ok(brokers) = std::env::var("KHP_TEST_BROKERS") {
        bench.args(["--brokers", &brokers]);
    }
    let ran = bench.output().unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{printed}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );

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
