//! Debian's nginx, in front of the service.

use std::process::Stdio;

use tokio::process::{Child, Command};

use super::client::Connection;
use super::kafka::free_port;
use super::temp_dir::TempDir;
use super::wait::eventually;

/// A running nginx. Dropped, it is killed.
pub struct Nginx {
    port: u16,
    _child: Child,
    _dir: TempDir,
}

impl Nginx {
    /// Starts nginx with these `upstream` and `server` blocks. A free port takes the place of `listen 80;`.
    pub async fn start(blocks: &str) -> Self {
        let (port, dir) = (free_port(), TempDir::new());
        assert!(blocks.contains("listen 80;"), "{blocks}");
        let blocks = blocks.replace("listen 80;", &format!("listen 127.0.0.1:{port};"));
        let at = dir.path().display();
        // nginx is one process, so that killing it ends all of it. It writes nothing outside the directory.
        let conf = dir.write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{\n access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;\n \
                 fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;\n{blocks}\n}}\n"
            ),
        );
        let child = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .arg("-c")
            .arg(&conf)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("nginx (Debian: apt-get install nginx): {error}"));
        let nginx = Nginx {
            port,
            _child: child,
            _dir: dir,
        };
        eventually("nginx listens", async || {
            Connection::open(&nginx.address())
                .await
                .map(drop)
                .map_err(|e| e.to_string())
        })
        .await;
        nginx
    }

    /// `host:port` where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
