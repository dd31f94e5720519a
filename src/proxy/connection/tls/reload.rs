//! Certificates that change while the process runs. Connections that are open keep what they began with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::process::periodic;
use crate::process::tls::{TlsFault, TlsFiles};
use crate::proxy::connection::tls::Tls;

/// How often the files are read. By their content, not by their times: what a cluster mounts is swapped below a link.
const EVERY: Duration = Duration::from_secs(2);

/// Reads the files again and again on a thread of its own. `loaded`: what is served now.
///
/// # Errors
/// The operating system has no thread left.
pub fn watch(tls: &Arc<Tls>, loaded: TlsFiles) -> io::Result<()> {
    let mut watched = Watched {
        seen: Ok(loaded.clone()),
        tried: Ok(loaded),
    };
    periodic::while_alive("khp-tls", EVERY, tls, move |tls| watched.turn(tls)).map(drop)
}

/// What the files held.
struct Watched {
    /// At the last turn.
    seen: Result<TlsFiles, TlsFault>,
    /// When they were last taken or refused.
    tried: Result<TlsFiles, TlsFault>,
}

impl Watched {
    /// Takes the files once they have changed, and stood still for a turn: a certificate and its key are not written at once.
    fn turn(&mut self, tls: &Tls) {
        let now = tls.settings.read();
        let stands_still = now == self.seen;
        self.seen = now;
        if !stands_still || self.seen == self.tried {
            return;
        }
        self.tried.clone_from(&self.seen);
        let config = self
            .seen
            .as_ref()
            .map_err(TlsFault::clone)
            .and_then(|files| Ok((files, tls.settings.server_config(files)?)));
        match config {
            Ok((files, config)) => {
                tls.config.store(Arc::new(config));
                tls.metrics.certificate(files.expires());
                tracing::info!("certificates read again");
            }
            Err(error) => {
                tracing::error!(%error, "changed certificates are refused, and the old ones stay");
            }
        }
    }
}
