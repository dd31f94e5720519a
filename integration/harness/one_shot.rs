//! Commands of the real binary that end by themselves.

use std::process::{Output, Stdio};

use tokio::process::Child;

use super::TempDir;
use super::app::{Spec, command};
use super::wait::PATIENCE;

/// What a command left behind.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A command under way. Dropped, it is killed.
pub struct Begun {
    child: Child,
    _dir: TempDir,
}

impl Begun {
    /// Starts a command with the configuration of `spec`.
    pub fn start(spec: &Spec, args: &[&str]) -> Self {
        let dir = TempDir::new();
        let config = dir.write("config.yaml", &format!("{:#}", spec.config));
        let child = command()
            .args(args)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        Begun { child, _dir: dir }
    }

    /// Sends a signal: INT, KILL.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it still runs");
        let kill = format!("kill -{name} {pid}");
        let sent = tokio::process::Command::new("sh").args(["-c", &kill]).status().await;
        assert!(sent.as_ref().is_ok_and(|status| status.success()), "{kill}: {sent:?}");
    }

    /// Waits for its end.
    pub async fn end(self) -> Said {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let Output { status, stdout, stderr } = ended.expect("it ends by itself").expect("it can be waited for");
        Said {
            code: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

/// Runs a command with the configuration of `spec`, to its end.
pub async fn run(spec: &Spec, args: &[&str]) -> Said {
    Begun::start(spec, args).end().await
}
