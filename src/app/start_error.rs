//! Why a process cannot start.

use std::net::IpAddr;

use crate::process::assemble_error::AssembleError;

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Assemble(#[from] AssembleError),
    #[error(
        "cannot listen on {bind}:{port}: {source}; free the port, or set another (port or PROXY_PORT, management_port or MANAGEMENT_PORT)"
    )]
    Listen {
        bind: IpAddr,
        port: u16,
        source: std::io::Error,
    },
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the supervisor's thread is gone")]
    Supervisor,
}
