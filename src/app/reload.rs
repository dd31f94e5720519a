//! Takes over another configuration in one go. What cannot be used changes nothing.

use crate::app::App;
use crate::app::prepare::Prepared;
use crate::kafka::client::oauth;
use crate::process::telemetry;
use crate::settings::{Change, Fault};

impl App {
    /// Takes a configuration over, or says why not.
    pub(super) fn reload(&mut self, prepared: Result<Prepared, Vec<Fault>>) {
        match prepared {
            Ok(prepared) => self.apply(prepared),
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(event = "reload", %fault, "the configuration is refused, and the old one goes on");
                }
                self.board.configuration.refused(&faults);
            }
        }
    }

    /// From here on nothing can fail.
    fn apply(&mut self, prepared: Prepared) {
        let Change {
            next,
            applied,
            mut needs_restart,
        } = prepared.change;
        next.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        if let (Some(reloader), Some(prepared)) = (&mut self.reloader, prepared.proxy) {
            reloader.apply(prepared);
        }
        if let (Some(topics), Some(prepared), Some(supervisor)) =
            (&mut self.topics, prepared.topics, self.board.supervisor.get())
        {
            let give_up = self.give_up.clone();
            // Err: the process is past listening, at its end.
            topics.apply(prepared, supervisor, move |why| drop(give_up.send(why)));
        }
        let settings = &next.settings;
        if let Some(traces) = &self.traces {
            traces.configure(settings);
        }
        oauth::replace(&settings.kafka.properties);
        match (&settings.management.token, self.board.access.has_token()) {
            (Some(token), _) => self.board.access.replace_token(token.clone()),
            // Whoever may not ask today must not be let in by a file that lost a line.
            (None, true) => needs_restart.push("management_token".into()),
            (None, false) => {}
        }
        // One that an operator has set since stays, until another one is configured.
        if settings.log.level != self.running.settings.log.level {
            // Err: never, the settings are checked. False: RUST_LOG wins, as at the start.
            let _ = telemetry::set_level(&settings.log.level);
        }
        if !needs_restart.is_empty() {
            tracing::warn!(
                event = "reload",
                settings = needs_restart.join(", "),
                "changed settings need a restart"
            );
        }
        tracing::info!(
            event = "reload",
            digest = next.digest(),
            changed = applied.join(", "),
            "the configuration was read again and runs"
        );
        self.board.configuration.applied(&next, needs_restart);
        self.running = next;
    }
}
