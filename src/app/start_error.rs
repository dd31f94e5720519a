//! Why a process cannot start.

use std::net::IpAddr;

use crate::process::assemble_error::AssembleError;
use crate::traces::environment::EnvironmentError;
use crate::traces::exporter::ExportError;

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
    #[error("metrics of the management port: {0}")]
    ManagementMetrics(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Traces(#[from] ExportError),
    #[error("{0}")]
    TracesEnvironment(#[from] EnvironmentError),
    #[error("the supervisor's thread is gone")]
    Supervisor,
}
