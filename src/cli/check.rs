//! `check`: prints the effective settings and what they need, or what is wrong around them.

use crate::cli::connect::{self, Form};
use crate::cli::{memory, open_files};
use crate::process::open_files::OpenFiles;
use crate::process::output;
use crate::settings::Loaded;

/// Prints the settings as YAML, and as a comment behind them what they need; with `connect`, what is wrong around them instead. Warnings go to
/// standard error. Returns the exit code.
pub fn run(loaded: &Loaded, connect: Option<Form>) -> u8 {
    let needed = open_files::needed(&loaded.settings);
    warn(loaded, needed.total());
    if let Some(form) = connect {
        return connect::run(&loaded.settings, form);
    }
    let settings = &loaded.settings;
    let memory = settings
        .mode
        .is_proxy()
        .then(|| memory::worst_case(settings).to_string());
    let mut memory = memory.unwrap_or_default();
    if settings.mode.is_processor() {
        memory += &memory::streams(settings).to_string();
    }
    output::exit_code(output::print(format_args!("{}{needed}{memory}", loaded.to_yaml())))
}

fn warn(loaded: &Loaded, open_files: u64) {
    for warning in &loaded.warnings {
        output::complain(format_args!("warning: {warning}"));
    }
    // Err: there is no limit to compare with.
    if let Ok(OpenFiles { hard, .. }) = OpenFiles::of_this_process()
        && hard < open_files
    {
        output::complain(format_args!(
            "warning: this configuration needs {open_files} open files, and the hard limit here is {hard}; raise it (ulimit -Hn, LimitNOFILE=)"
        ));
    }
}
