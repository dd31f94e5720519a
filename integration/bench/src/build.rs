//! Programs that a run builds.

use std::path::PathBuf;
use std::process::Command;

use crate::error::Result;

/// `cargo build` with the profile that this program was built with, so that no system is compiled better than another.
pub fn command() -> Result<Command> {
    // Cargo sets this variable for the programs that it runs.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--profile"]).arg(profile()?);
    Ok(command)
}

/// The name of that profile, and of the directory with its programs.
pub fn profile() -> Result<std::ffi::OsString> {
    let dir = dir()?;
    Ok(dir.file_name().ok_or("a program is in a directory")?.to_owned())
}

/// Where peers are built: beside the programs of the workspace.
pub fn peers_dir() -> Result<PathBuf> {
    Ok(dir()?.with_file_name("peers"))
}

fn dir() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    Ok(exe.parent().ok_or("a program is in a directory")?.to_owned())
}
