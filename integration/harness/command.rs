//! Commands of the binary that end by themselves.

use std::process::{Output, Stdio};

use tokio::process::{Child, Command};

use super::binary;
use super::spec::Spec;
use super::temp_dir::TempDir;
use super::wait::PATIENCE;

/// The exit code and the output of a command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Both outputs together.
    pub fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }

    /// Asserts that the output contains all of these words.
    #[track_caller]
    pub fn assert_shows(&self, words: &[&str]) {
        let text = self.text();
        for word in words {
            assert!(text.contains(word), "{word:?} in:\n{text}");
        }
    }

    /// Asserts that the exit code is 0.
    #[track_caller]
    pub fn assert_accepted(&self) {
        assert_eq!(self.code, Some(0), "{}", self.text());
    }
}

/// A command under way. Dropped, it is killed.
pub struct Running {
    child: Child,
    _dir: TempDir,
}

impl Running {
    /// Starts a command with the configuration of `spec`.
    pub fn start(spec: &Spec, args: &[&str]) -> Self {
        let mut command = binary::command();
        command.args(args);
        Self::with_config(command, &spec.config())
    }

    fn with_config(mut command: Command, config: &str) -> Self {
        let dir = TempDir::new();
        if !config.is_empty() {
            command.arg("--config").arg(dir.write("config.yaml", config));
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary runs");
        Running { child, _dir: dir }
    }

    /// Sends a signal: INT, KILL.
    pub fn signal(&self, name: &str) {
        binary::signal(name, self.child.id().expect("it still runs"));
    }

    /// Waits for the end of the command.
    pub async fn end(self) -> Ended {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait_with_output()).await;
        let Output { status, stdout, stderr } = ended.expect("it ends by itself").expect("it can be waited for");
        Ended {
            code: status.code(),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

/// Runs a command with the configuration of `spec`, to its end.
pub async fn run(spec: &Spec, args: &[&str]) -> Ended {
    Running::start(spec, args).end().await
}

/// Runs the binary with these arguments, a configuration file (unless `config` is empty) and this environment, to its end.
pub async fn run_with(args: &[&str], config: &str, env: &[(&str, &str)]) -> Ended {
    let mut command = binary::command();
    command.args(args).envs(env.iter().copied());
    Running::with_config(command, config).end().await
}

/// Runs `actix-khp check` in a mode, with a configuration file (unless `config` is empty) and this environment.
pub async fn check(mode: &str, config: &str, env: &[(&str, &str)]) -> Ended {
    run_with(&["check", "--mode", mode], config, env).await
}
