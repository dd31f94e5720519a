//! The console: a page on the management port that shows what this process does, and the API behind it.
//!
//! - [`routes`]: its paths. [`page`]: the page's files. [`openapi`]: the description of the whole management API.
//! - [`reading`]: what can be asked. [`letters`], [`redrives`], [`trial`]: dead letters, their redrive, and a request to try.
//!   [`readers`]: how many read dead letters at a time.
//! - [`documents`]: what is told of a process and its topics, as types, which `top` reads too. [`peers`]: the other instances.
//! - [`answer`]: how bodies are taken, and what is wrong with them.
//! - [`keeper`]: the thread that remembers what [`recorder`] takes in: [`requests`] that ended, and the [`history`] of the last 15 minutes, from [`sample`]s of
//!   the metrics. [`state`] judges, [`bounds`] lists what is bounded, [`topics`] and [`shown`] are how it is told.
//! - [`live`]: tells it as it happens.

mod answer;
mod bounds;
pub mod documents;
mod history;
mod keeper;
mod letters;
mod live;
mod openapi;
mod page;
mod peers;
mod readers;
mod reading;
mod recorder;
mod redrives;
mod requests;
pub mod routes;
mod sample;
mod shown;
mod state;
mod topics;
mod trial;

use std::io;
use std::sync::Arc;

use prometheus::Registry;

use crate::console::keeper::Keeper;
use crate::console::live::Live;
use crate::console::readers::Readers;
use crate::console::recorder::Inbox;
use crate::console::redrives::Redrives;
use crate::exchange::Watcher;
use crate::management::board::Board;
use crate::management::configuration::Configuration;
use crate::settings::Settings;
use crate::wire::now_ms;

/// What the console's handlers share.
pub struct Console {
    configuration: Configuration,
    keeper: Keeper,
    live: Live,
    redrives: Redrives,
    readers: Readers,
    /// In ms since 1970.
    began: i64,
}

/// A console that takes in requests already, and shows nothing yet.
pub struct Beginning {
    live: Live,
    inbox: Inbox,
}

/// Begins to take in requests: the watcher is for whoever makes them.
///
/// # Errors
/// A metric's name is taken.
pub fn begin(registry: &Registry) -> prometheus::Result<(Arc<dyn Watcher>, Beginning)> {
    let live = Live::new(registry)?;
    let (recorder, inbox) = recorder::recorder(registry)?;
    Ok((Arc::new(recorder), Beginning { live, inbox }))
}

impl Beginning {
    /// The console of the process that `board` shows.
    ///
    /// # Errors
    /// The operating system has no thread left.
    pub fn console(self, board: &Arc<Board>, settings: &Settings) -> io::Result<Console> {
        let keeper = Keeper::start(self.inbox, board, settings.mode, self.live.clone())?;
        Ok(Console {
            configuration: board.configuration.clone(),
            keeper,
            redrives: Redrives::new(self.live.clone(), board.phase.clone()),
            live: self.live,
            readers: Readers::default(),
            began: now_ms(),
        })
    }
}

impl Console {
    /// The settings of now.
    fn settings(&self) -> Arc<Settings> {
        self.configuration.settings()
    }

    /// Does this process keep dead letters?
    fn has_dead_letters(&self) -> bool {
        let settings = self.settings();
        settings.mode.is_processor() && settings.processor.dead_letter_topic.is_some()
    }
}
