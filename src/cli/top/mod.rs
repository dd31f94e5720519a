//! `top`: what a running process does, at a glance in a terminal. It asks the management port, as the console does.
//!
//! - [`client`]: asks; what it reads are the console's own documents.
//! - [`view`]: what is shown of them, as lines. Pure. [`tables`]: the topics, and [`order`]: what they are sorted by.
//! - [`mod@line`]: a line and its parts. [`figures`]: how numbers are written.
//! - [`screen`]: lines as text for a terminal. Pure.
//! - [`terminal`]: the terminal itself, and its keys.

mod client;
mod figures;
mod line;
mod order;
mod screen;
mod tables;
mod terminal;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::top::client::{AskError, Client};
use crate::cli::top::line::Line;
use crate::cli::top::order::Order;
use crate::cli::top::screen::{Colours, text};
use crate::cli::top::terminal::{Key, Terminal};
use crate::cli::top::view::{footer, trouble};
use crate::process::signals::Signals;
use crate::process::{exit, output};
use crate::settings::{Env, Secret, resolve};

/// What is looked at, and how.
#[derive(Debug, clap::Args)]
pub struct Top {
    /// Where the process's management port is
    #[arg(long, default_value = "http://127.0.0.1:8081")]
    url: String,
    /// Its management_token; better in the environment, since everybody on a machine can read the arguments of its processes
    #[arg(long, env = "KHP__MANAGEMENT_TOKEN", hide_env_values = true, value_parser = secret)]
    token: Option<Secret>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Print it once, and end; so it is where the output is no terminal
    #[arg(long)]
    once: bool,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

/// The token, its references followed: it may be written as the settings of the process write it.
fn token(written: Option<&Secret>, env: &Env) -> Result<Option<Secret>, AskError> {
    let follow = |written: &Secret| resolve(written.reveal(), env, &mut Vec::new());
    let token = written.map(follow).transpose().map_err(AskError::NoToken)?;
    let given = token.as_deref().map(str::trim).filter(|token| !token.is_empty());
    Ok(given.map(|token| Secret::new(token.to_owned())))
}

/// Shows it until somebody ends it. Returns the exit code: `UNAVAILABLE` where it was to be shown once, and there was no answer; and where
/// there will be none.
pub fn run(top: &Top, env: &Env) -> u8 {
    let client = token(top.token.as_ref(), env).and_then(|token| Client::new(&top.url, token.as_ref()));
    let client = match client {
        Ok(client) => client,
        Err(error) => {
            output::complain(error);
            return exit::USAGE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    let is_live = !top.once && !is_dumb && io::stdout().is_terminal();
    let shown = runtime.and_then(|runtime| {
        let shown = match is_live {
            false => runtime.block_on(once(&client, top)),
            true => runtime.block_on(live(client, top)),
        };
        // A name that is being looked up blocks its thread, and nobody waits for it any more.
        runtime.shutdown_background();
        shown
    });
    match shown {
        Err(error) => output::exit_code(Err(error)),
        Ok(code) => code,
    }
}

async fn once(client: &Client, top: &Top) -> io::Result<u8> {
    match client.look().await {
        Ok(seen) => {
            output::print(text(
                &view::lines(&seen, &top.url, Order::default()),
                None,
                Colours::of_output(),
            ))?;
            Ok(exit::OK)
        }
        Err(error) => Ok(unavailable(top, &error)),
    }
}

fn unavailable(top: &Top, error: &AskError) -> u8 {
    output::complain(format_args!("{}: {error}", top.url));
    exit::UNAVAILABLE
}

/// Draws at each look, at each key, and when the terminal has another size. A process that does not answer is asked again.
async fn live(client: Client, top: &Top) -> io::Result<u8> {
    let mut signals = Signals::install()?;
    // Of ctrl-\: its default would leave the terminal as it is now.
    let mut quit = signal(SignalKind::quit())?;
    let mut resized = signal(SignalKind::window_change())?;
    let (looks, mut looked) = watch::channel(None);
    let every = Duration::from_secs(top.every);
    // Beside the keys: a process that hangs must not hold them up.
    tokio::spawn(async move {
        while looks.send(Some(client.look().await)).is_ok() {
            tokio::time::sleep(every).await;
        }
    });
    let terminal = Terminal::open()?;
    let mut keys = terminal::keys()?;
    let (mut order, mut skipped) = (Order::default(), 0_usize);
    loop {
        let lines = match &*looked.borrow_and_update() {
            Some(Ok(seen)) => view::lines(seen, &top.url, order),
            Some(Err(error)) if error.is_final() => {
                drop(terminal);
                return Ok(unavailable(top, error));
            }
            Some(Err(error)) => trouble(&top.url, &error.to_string()),
            None => Vec::new(),
        };
        let size = terminal.size();
        // One line is the footer's.
        let page = size.rows.saturating_sub(1).max(1);
        skipped = skipped.min(lines.len().saturating_sub(page));
        let shown: Vec<Line> = lines.into_iter().skip(skipped).take(page).collect();
        let drawn = text(&shown, Some(size.columns), Colours::of_output());
        let foot = text(&[footer(order)], Some(size.columns), Colours::of_output());
        terminal.draw(&drawn, foot.trim_end())?;
        tokio::select! {
            changed = looked.changed() => changed.map_err(io::Error::other)?,
            _ = resized.recv() => {}
            _ = signals.next() => return Ok(exit::OK),
            _ = quit.recv() => return Ok(exit::OK),
            Some(key) = keys.recv() => match key {
                Key::Quit => return Ok(exit::OK),
                Key::Sort => order = order.next(),
                Key::Up => skipped = skipped.saturating_sub(1),
                Key::Down => skipped += 1,
                Key::PageUp => skipped = skipped.saturating_sub(page),
                Key::PageDown => skipped += page,
            },
        }
    }
}
