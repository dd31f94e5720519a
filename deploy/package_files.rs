//! Writes what packages hold besides the program: man pages and shell completions, made from the command line itself.
//!
//!     cargo run --example package_files -- DIR

use std::fs::{File, create_dir_all};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("package_files DIR");
        std::process::exit(64);
    };
    let mut command = actix_khp::cli::command();
    command.build();
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    create_dir_all(&man)?;
    create_dir_all(&completions)?;
    pages(&command, "", &man)?;
    let name = command.get_name().to_owned();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut command, &name, &completions)?;
    }
    Ok(())
}

/// One page for each command, as git has them: `actix-khp-topics-create.1`.
fn pages(command: &Command, of: &str, dir: &Path) -> std::io::Result<()> {
    let name = match of {
        "" => command.get_name().to_owned(),
        of => format!("{of}-{}", command.get_name()),
    };
    // clap takes names that live as long as the program, and there are about ten.
    let titled = command.clone().name(&*name.clone().leak()).display_name(name.clone());
    clap_mangen::Man::new(titled).render(&mut File::create(dir.join(format!("{name}.1")))?)?;
    let others = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    for sub in others {
        pages(sub, &name, dir)?;
    }
    Ok(())
}
