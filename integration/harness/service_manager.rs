//! What systemd is to a service: a socket that hears how it is.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::spec::Spec;
use super::temp_dir::TempDir;
use super::wait::PATIENCE;

/// Hears what a service tells.
pub struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
    _dir: TempDir,
}

impl ServiceManager {
    pub fn new() -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a free path");
        ServiceManager {
            socket,
            path,
            _dir: dir,
        }
    }

    /// The process that is started of this tells us.
    pub fn of(&self, spec: Spec) -> Spec {
        spec.env("NOTIFY_SOCKET", self.path.to_str().expect("text"))
    }

    /// What is told next, within `patience`.
    pub fn hears(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).expect("a time limit");
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Everything up to what begins with `wanted`.
    pub fn hears_until(&self, wanted: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let text = self
                .hears(PATIENCE)
                .unwrap_or_else(|| panic!("no {wanted} after {heard:?}"));
            let is_it = text.starts_with(wanted);
            heard.push(text);
            if is_it {
                return heard;
            }
        }
    }
}
