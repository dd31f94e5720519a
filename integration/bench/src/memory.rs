//! Memory and start-up: what an idle process takes, what a waiting connection adds, how long until it is ready.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::options::Options;
use crate::process::rss_mib;
use crate::role::request;
use crate::service::{self, Service};
use crate::stage::{Base, Khp};

/// A process that has just become ready, or taken a thousand requests, is done with it well within this.
pub const SETTLE: Duration = Duration::from_secs(1);

/// Of the first proxy and the first processor.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Memory {
    pub proxy_idle_mib: f64,
    pub processor_idle_mib: f64,
    /// Its topics were there.
    pub proxy_ready_seconds: f64,
    /// Its group was new.
    pub processor_ready_seconds: f64,
    pub waiting: usize,
    /// Resident memory of a proxy, for each of that many connections whose requests wait for a reply; their bodies are in Kafka.
    pub kib_per_waiting: f64,
}

pub fn measure(base: &Base, khp: &Khp, options: &Options) -> Result<Memory> {
    let (Some(proxy), Some(processor)) = (khp.proxies.first(), khp.processors.first()) else {
        return Err("at least one proxy and one processor are needed".into());
    };
    Ok(Memory {
        proxy_idle_mib: proxy.idle_mib,
        processor_idle_mib: processor.idle_mib,
        proxy_ready_seconds: proxy.ready_after.as_secs_f64(),
        processor_ready_seconds: processor.ready_after.as_secs_f64(),
        waiting: options.waiting,
        kib_per_waiting: match options.waiting {
            0 => 0.0,
            count => kib_per_waiting(base, count, options.body)?,
        },
    })
}

/// A proxy of its own, whose requests nobody answers.
fn kib_per_waiting(base: &Base, count: usize, body: usize) -> Result<f64> {
    let mut env = base.env.clone();
    env.insert("KHP__REQUEST_TOPIC".into(), service::topic("waiting"));
    let proxy = Service::proxy(&base.binary, &env, 0)?;
    let request = request(proxy.address, body);
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = TcpStream::connect(proxy.address)?;
        connection.write_all(&request)?;
        connections.push(connection);
    }
    thread::sleep(SETTLE);
    let waiting_mib = rss_mib(proxy.process.watched().pid)?;
    Ok((waiting_mib - proxy.idle_mib) * 1024.0 / count as f64)
}
