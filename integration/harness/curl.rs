//! curl, as a user calls it.

use tokio::process::Command;

/// What a call of curl came to.
#[derive(Debug)]
pub struct Curl {
    pub code: Option<i32>,
    /// What it printed: the answer's head and body with `-i`.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

/// Calls curl with these arguments. It does not verify certificates more than they say.
pub async fn curl(args: &[&str]) -> Curl {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60"])
        .args(args)
        .env_remove("https_proxy")
        .env_remove("http_proxy")
        .env("OPENSSL_CONF", "/dev/null")
        .output()
        .await
        .unwrap_or_else(|error| panic!("curl: {error}; integration/install installs it"));
    Curl {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
