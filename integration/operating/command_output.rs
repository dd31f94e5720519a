//! Commands whose output nobody reads, or cannot be written.

use std::fs::File;
use std::process::Stdio;

use crate::harness::binary::command;
use crate::harness::temp_dir::TempDir;
use crate::harness::wait::PATIENCE;

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (_, writer) = std::io::pipe().expect("a pipe");
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

/// The exit code, and what was written to standard error where that is a pipe.
async fn run(args: &[&str], stdout: Stdio, stderr: Stdio) -> (Option<i32>, String) {
    let mut command = command();
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .kill_on_drop(true);
    let child = command.spawn().expect("the binary runs");
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = ended.expect("it ends").expect("it is waited for");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test]
async fn a_command_whose_reader_has_ended_ends_quietly() {
    for args in [
        &["check", "--mode", "proxy"][..],
        &["--help"],
        &["check", "--help"],
        &["--version"],
    ] {
        let (code, stderr) = run(args, closed(), Stdio::piped()).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    for args in [&["check", "--mode", "proxy"][..], &["--help"]] {
        let (code, stderr) = run(args, full(), Stdio::piped()).await;
        assert_eq!(code, Some(74), "{args:?}: {stderr}");
        assert!(
            stderr.contains("standard output") && stderr.contains("No space left"),
            "{args:?}: {stderr}"
        );
    }
}

#[tokio::test]
async fn many_faults_and_no_reader_are_still_exit_code_64() {
    let dir = TempDir::new();
    let faults: String = (0..500).map(|number| format!("prot{number}: 1\n")).collect();
    let file = dir.write("config.yaml", &faults);
    let file = file.to_str().expect("a path");
    for args in [
        &["--mode", "proxy", "--config", file][..],
        &["check", "--mode", "proxy", "--config", file],
        &["check"],
        &["--no-such-flag"],
    ] {
        for stderr in [closed(), full()] {
            let (code, _) = run(args, Stdio::piped(), stderr).await;
            assert_eq!(code, Some(64), "{args:?}");
        }
    }
}
