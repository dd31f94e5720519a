//! The binary that is tested: where it is, its environment, signals and limits.

use std::path::{Path, PathBuf};
use std::process::{Command as SystemCommand, Stdio};
use std::sync::Once;

use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_actix-khp");

/// The binary with an environment of its own. Of the developer's environment it has only the paths and the log filter.
pub fn command() -> Command {
    command_of(Path::new(BINARY))
}

/// The same for another binary.
pub fn command_of(binary: &Path) -> Command {
    raise_file_limit();
    let mut command = Command::new(binary);
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

/// The same under a limit of open files, which a shell sets.
pub fn limited(open_files: u32) -> Command {
    let mut shell = command();
    let binary = std::mem::replace(&mut shell, Command::new("sh"));
    let script = format!("ulimit -Sn {open_files} && ulimit -Hn {open_files} && exec \"$0\" \"$@\"");
    shell
        .args(["-c", &script])
        .arg(binary.as_std().get_program())
        .env_clear();
    for (name, value) in binary.as_std().get_envs() {
        shell.envs(value.map(|value| (name, value)));
    }
    shell
}

/// The binary of the last commit without streams: the one that `KHP_OLD_BINARY` names, or one that is built for it.
pub fn without_streams() -> PathBuf {
    let named = std::env::var_os("KHP_OLD_BINARY").map(PathBuf::from);
    named.unwrap_or_else(build_without_streams)
}

fn build_without_streams() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/old-binary");
    let built = SystemCommand::new(script).stderr(Stdio::inherit()).output();
    let built = built.expect("the script is there");
    assert!(built.status.success(), "integration/old-binary: its errors stand above");
    PathBuf::from(String::from_utf8_lossy(&built.stdout).trim())
}

/// Sends a signal to a process: TERM, INT, KILL.
pub fn signal(name: &str, pid: u32) {
    shell(&format!("kill -{name} {pid}"));
}

/// Sends a signal to every process of the group that this one leads.
pub fn signal_group(name: &str, leader: u32) {
    shell(&format!("kill -{name} -{leader}"));
}

/// How many files this process and its children may open.
pub fn open_files() -> usize {
    raise_file_limit();
    let limits = std::fs::read_to_string("/proc/self/limits").expect("the system has limits");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    soft.expect("a number")
}

/// Lets this process and its children open as many files as the system allows, and 65,536 where that may be set. The usual limit of
/// 1,024 is not enough for a thousand clients.
fn raise_file_limit() {
    static ONCE: Once = Once::new();
    // The shell's parent is this process.
    ONCE.call_once(|| {
        shell(
            "prlimit --pid $PPID --nofile=65536:65536 2>/dev/null \
             || prlimit --pid $PPID --nofile=$(ulimit -Hn):",
        );
    });
}

fn shell(script: &str) {
    let done = SystemCommand::new("sh").args(["-c", script]).status();
    assert!(done.as_ref().is_ok_and(|status| status.success()), "{script}: {done:?}");
}
