//! Tells systemd how the process is: `sd_notify(3)`, over the socket that `NOTIFY_SOCKET` names. Without one, nobody is told.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// The socket's name in the environment.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Whoever started this process, if it wants to know. Clones share the socket.
#[derive(Clone, Default)]
pub struct ServiceManager(Option<Arc<UnixDatagram>>);

impl ServiceManager {
    /// The one that the environment names. A socket that cannot be used is logged, and nobody is told.
    pub fn of_environment() -> Self {
        let Some(name) = std::env::var_os(SOCKET) else {
            return ServiceManager::default();
        };
        match connect(&name) {
            Ok(socket) => ServiceManager(Some(Arc::new(socket))),
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told of readiness: NOTIFY_SOCKET cannot be used");
                ServiceManager::default()
            }
        }
    }

    /// Somebody wants to know.
    pub fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// The process has started, and can be used.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// A line for `systemctl status`.
    pub fn status(&self, text: &str) {
        // A line's end would begin another assignment.
        self.tell(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// The process ends, within this time.
    pub fn stopping(&self, within: Duration) {
        self.tell(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", within.as_micros()));
    }

    /// The process turns. To be told more often than twice in `WatchdogSec`.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.0
            && let Err(error) = socket.send(text.as_bytes())
        {
            tracing::debug!(%error, text, "the service manager was not told");
        }
    }
}

/// A path, or with `@` in front a name of Linux's abstract ones. Sending never blocks.
fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abstract_name_is_reached_and_no_line_is_made_up() {
        let name = format!("khp-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixDatagram::bind_addr(&address).unwrap();
        let socket = connect(OsStr::new(&format!("@{name}"))).unwrap();
        let manager = ServiceManager(Some(Arc::new(socket)));
        manager.status("a\nREADY=1");
        let mut buffer = [0; 100];
        let length = listener.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STATUS=a READY=1");
        drop(listener);
        // Nobody listens any more: that ends nothing.
        manager.ready();
        assert!(connect(OsStr::new("/nowhere/notify")).is_err());
    }
}
