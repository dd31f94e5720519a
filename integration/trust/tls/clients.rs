//! Clients of other languages, in each version of HTTP that they speak over TLS.

use tokio::process::Command;

use super::{start, url};
use crate::harness::tls::Authority;

/// What a client prints for an answer in this version, twenty times.
fn answers(version: &str) -> Vec<String> {
    vec![format!("{version} 200 true"); 20]
}

async fn assert_served(program: &[&str], versions: &[&str]) {
    let authority = Authority::new();
    let pair = start(&authority, |spec| spec).await;
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/trust/tls/clients");
    let output = Command::new(program[0])
        .args(&program[1..])
        .args([format!("{}/orders", url(&pair)).as_ref(), authority.file().as_os_str()])
        .current_dir(clients)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program:?}: {error}; integration/install installs it"));
    let (printed, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let printed: Vec<&str> = printed.lines().collect();
    let expected: Vec<String> = versions.iter().flat_map(|version| answers(version)).collect();
    assert_eq!(printed, expected, "{err}");
}

#[tokio::test]
async fn javas_client_is_served_in_both_versions() {
    assert_served(&["java", "Client.java"], &["HTTP_1_1", "HTTP_2"]).await;
}

#[tokio::test]
async fn nodes_client_is_served_in_both_versions() {
    assert_served(&["node", "client.mjs"], &["HTTP_1_1", "HTTP_2"]).await;
}

#[tokio::test]
async fn pythons_client_is_served() {
    assert_served(&["python3", "client.py"], &["HTTP_1_1"]).await;
}
