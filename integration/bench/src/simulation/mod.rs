//! Hundreds of proxies and processors in simulated time, through restarts and the loss of a broker.
//!
//! What decides what becomes of a request is the service's own code: which partition a proxy reads, whether it admits a request, and which
//! request a reply belongs to. Kafka, the backends and the clients are scripts with the figures of `script`. Time is tokio's, and paused: it
//! passes as fast as the events are worked off. The same seed gives the same run.

/// What happens when: the events of a run, in their order.
mod agenda;
/// The group that consumes the requests.
mod group;
/// A processor, as a script.
mod processor;
/// A proxy: the service's own code.
mod proxy;
/// The run itself.
mod run;
/// How large it is.
mod scale;
/// How long Kafka and the others take.
mod script;
/// What came of a run.
mod tally;

use clap::Args;

use self::run::Run;
use self::scale::Scale;
use self::script::Scenario;
use crate::error::Result;

/// The command.
#[derive(Debug, Clone, Args)]
pub struct Simulate {
    #[command(flatten)]
    scale: Scale,
}

impl Simulate {
    /// Runs every scenario and prints a row for each.
    pub fn run(&self) -> Result<()> {
        println!("{}", tally::HEAD);
        for scenario in Scenario::ALL {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()?;
            let tally = runtime.block_on(async { Run::new(&self.scale, scenario)?.finish().await })?;
            println!("{}", tally.row(scenario));
        }
        Ok(())
    }
}
