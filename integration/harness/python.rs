//! Python with the packages of `integration/python-packages.txt`.

use std::path::Path;

use tokio::process::Command;

/// The interpreter that finds them. The first test installs them.
pub async fn python() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/python-fetch");
    let fetched = Command::new(script).output().await.expect("the script is there");
    assert!(fetched.status.success(), "{fetched:?}");
    String::from_utf8_lossy(&fetched.stdout).trim().to_owned()
}
