//! Certificates that change while the process runs. Connections that are open keep what they began with.

use std::sync::Arc;
use std::time::Duration;

use crate::process::periodic;
use crate::process::tls::{ServerTls, TlsFault, TlsFiles};
use crate::proxy::connection::tls::Tls;
use crate::proxy::metrics::TlsMetrics;

/// How often the files are read. By their content, not by their times: what a cluster mounts is swapped below a link.
const EVERY: Duration = Duration::from_secs(2);

/// Reads the files, and from then on again and again on a thread of its own.
///
/// # Errors
/// The files cannot be used.
pub fn start(settings: ServerTls, metrics: TlsMetrics) -> Result<Arc<Tls>, TlsFault> {
    let files = settings.read()?;
    metrics.certificate(files.expires());
    let tls = Arc::new(Tls::new(settings.server_config(&files)?, metrics));
    let mut watched = Watched {
        settings,
        seen: Ok(files.clone()),
        tried: Ok(files),
    };
    if let Err(error) = periodic::while_alive("khp-tls", EVERY, &tls, move |tls| watched.turn(tls)) {
        tracing::error!(%error, "certificates are not read again when they change");
    }
    Ok(tls)
}

/// What the files held.
struct Watched {
    settings: ServerTls,
    /// At the last turn.
    seen: Result<TlsFiles, TlsFault>,
    /// When they were last taken or refused.
    tried: Result<TlsFiles, TlsFault>,
}

impl Watched {
    /// Takes the files once they have changed, and stood still for a turn: a certificate and its key are not written at once.
    fn turn(&mut self, tls: &Tls) {
        let now = self.settings.read();
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
            .and_then(|files| Ok((files, self.settings.server_config(files)?)));
        match config {
            Ok((files, config)) => {
                tls.replace(config);
                tls.metrics.certificate(files.expires());
                tracing::info!(event = "reload", "certificates read again");
            }
            Err(error) => {
                tracing::error!(%error, "changed certificates are refused, and the old ones stay");
            }
        }
    }
}
