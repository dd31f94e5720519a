//! What the commands take on the command line.

use clap::{Args, Subcommand};

use crate::dlq::filter::{self, Filter};
use crate::dlq::letter::Place;
use crate::settings;

/// What is to be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the letters that were not redriven yet
    List(List),
    /// Show one letter: its headers and its body
    Show(Show),
    /// Send letters back to the topics they came from
    Redrive(Redrive),
}

/// What `list` takes.
#[derive(Debug, Args)]
pub struct List {
    /// Only letters that pass; several must all hold. FIELD=VALUE, or FIELD~GLOB
    #[arg(long, value_name = "FILTER", long_help = filter::HELP)]
    pub filter: Vec<Filter>,
    /// How many letters at most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max: usize,
    /// Letters that were redriven, too
    #[arg(long)]
    pub all: bool,
}

/// What `show` takes.
#[derive(Debug, Args)]
pub struct Show {
    /// Where the letter is, as `list` names it
    #[arg(value_name = "PARTITION:OFFSET")]
    pub place: Place,
    /// Print the key, the query and every header, which are masked otherwise unless they are known to be harmless
    #[arg(long)]
    pub reveal: bool,
    /// Print the whole body, not only its first 4 KiB
    #[arg(long)]
    pub full: bool,
}

/// What `redrive` takes.
#[derive(Debug, Args)]
pub struct Redrive {
    /// Only letters that pass; several must all hold. FIELD=VALUE, or FIELD~GLOB
    #[arg(long, value_name = "FILTER", long_help = filter::HELP)]
    pub filter: Vec<Filter>,
    /// How many letters at most
    #[arg(long, value_name = "N")]
    pub max: Option<usize>,
    /// Letters per second at most
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Send them all to this topic instead of the one each came from
    #[arg(long, value_name = "TOPIC")]
    pub to: Option<String>,
    /// Topics that may be written to besides the request topics of the configuration
    #[arg(long, value_name = "TOPIC")]
    pub allow: Vec<String>,
}

fn rate(text: &str) -> Result<f64, String> {
    settings::rate(text).map_err(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_above_nothing() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "inf", "NaN", "fast"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
