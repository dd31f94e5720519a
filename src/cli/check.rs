//! `check`: prints the effective settings, and what they need.

use crate::cli::{memory, open_files};
use crate::process::open_files::OpenFiles;
use crate::process::output;
use crate::settings::Loaded;

/// Prints the settings as YAML, and as a comment behind them what they need; warnings go to standard error. Returns the exit code.
pub fn run(loaded: &Loaded) -> u8 {
    let needed = open_files::needed(&loaded.settings);
    let settings = &loaded.settings;
    let memory = settings
        .mode
        .is_proxy()
        .then(|| memory::worst_case(settings).to_string());
    let mut memory = memory.unwrap_or_default();
    if settings.mode.is_processor() {
        memory += &memory::streams(settings).to_string();
    }
    let printed = output::print(format_args!("{}{needed}{memory}", loaded.to_yaml()));
    for warning in &loaded.warnings {
        output::complain(format_args!("warning: {warning}"));
    }
    // Err: there is no limit to compare with.
    if let Ok(OpenFiles { hard, .. }) = OpenFiles::of_this_process()
        && hard < needed.total()
    {
        output::complain(format_args!(
            "warning: this configuration needs {} open files, and the hard limit here is {hard}; raise it (ulimit -Hn, LimitNOFILE=)",
            needed.total()
        ));
    }
    output::exit_code(printed)
}
